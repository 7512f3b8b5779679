"""Where the files of a COCO data set lie: its annotations, and the images that they name."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskwright.datasets.formats.drawn.annotations import Folders, split_of

_FIRST_KEY = re.compile(rb'\s*\{\s*"\w+"\s*:')
_MOST_FILES = 64
"""A folder with more JSON files has one for each image, which is another format."""


def annotation_files(root: Path) -> list[Path]:
    """The COCO files of a folder, or the file itself; those of splits where the folder has none of its own."""
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" and _is_coco(root) else []
    if not root.is_dir():
        return []
    places = [root / "annotations", root, *(child for child in sorted(root.iterdir()) if split_of(child.name))]
    for some in (places[:1], places[1:2], places[2:]):
        listed = [sorted(place.glob("*.json")) for place in some if place.is_dir()]
        paths = [path for paths in listed if len(paths) <= _MOST_FILES for path in paths if _is_coco(path)]
        names = {path.name for path in paths}
        # Keypoint files repeat the persons of the instance files.
        paths = [p for p in paths if p.name.replace("person_keypoints", "instances") not in names - {p.name}]
        if paths:
            return paths
    return []


def _is_coco(path: Path) -> bool:
    """By the keys somewhere in it (JSON gives them no order): images and categories, and no panoptic segments."""
    with path.open("rb") as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf")
        if not _FIRST_KEY.match(start):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if not all(re.search(rb'"%s"\s*:\s*\[' % key, content) for key in (b"images", b"categories")):
                return False
            return content.find(b'"segments_info"') < 0


def split_of_file(path: Path, root: Path) -> str | None:
    """What the file's name says; else the name of its folder, if that is within what was given."""
    return split_of(path.stem) or (split_of(path.parent.name) if path.parent not in (root, root.parent) else None)


def image_folders(root: Path, splits: Iterable[str | None], paths: Sequence[Path]) -> dict[str | None, Folders]:
    """Where the images of every split lie: beside the file, in the root, in `images/`, in the split's own folders."""
    at = root if root.is_dir() else root.parent
    at = at.parent if root.is_file() and at.name == "annotations" else at
    inner = [child for child in sorted(at.iterdir()) if child.is_dir() and child.name != "annotations"]
    images = at / "images"
    inner += [child for child in sorted(images.iterdir()) if child.is_dir()] if images.is_dir() else []
    return {
        split: Folders(
            [child for child in inner if split and split_of(child.name) == split]
            + [at, images, *(path.parent for path in paths)]
            + [child for child in inner if split is None or split_of(child.name) is None]
        )
        for split in splits
    }
