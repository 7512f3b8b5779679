"""YOLO segmentation: text files of polygons, and `data.yaml` (docs.ultralytics.com/datasets/segment).

    DATA/data.yaml                     names of the classes, and where the images of train, val and test lie
    DATA/images/train/NAME.jpg         or train/images/NAME.jpg (Roboflow)
    DATA/labels/train/NAME.txt         the same path with labels for images: a line for each object,
                                       "class x y x y ...", in parts of the image's width and height

Instead of `data.yaml` there may be `classes.txt`, with a name in each line; `images/` and `labels/` are then taken as
they lie, with or without splits. Polygons have no holes; where they overlap, larger ones are painted first, as
Ultralytics does. Pixels of no polygon are background, and an image without a text file is background only.
Raw values: 0 for background, and class + 1. A folder that has `masks/` too is not read as YOLO.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskwright.datasets import plain_yaml
from maskwright.datasets.classes import MAX_CLASSES
from maskwright.datasets.formats.drawn.annotations import (
    Drawing,
    Drawn,
    Entry,
    class_table,
    damaged,
    samples_of,
    split_of,
    table_file,
)
from maskwright.datasets.formats.drawn.left_out import LeftOut
from maskwright.datasets.formats.drawn.shapes import Polygon
from maskwright.datasets.formats.layout import Layout, counted, found
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.sources import Source, natural
from maskwright.datasets.texts import may_be_path, read_text
from maskwright.errors import DataError, PairingError, listed
from maskwright.imaging.images import IMAGE_SUFFIXES

NAMES = "classes.txt"
_IS_YOLO = re.compile(r"\A(?=.*^names\s*:)(?=.*^(?:train|val)\s*:)", re.MULTILINE | re.DOTALL)
_LINE = 'lines "class x1 y1 x2 y2 x3 y3 ...", in parts of width and height'
_EXPECTED = "names: a list, or numbers with names; train, val, test: folders"


@dataclass(frozen=True, kw_only=True)
class YoloMask(Drawn):
    """The polygons of a text file."""

    image: Source
    """Its size is theirs."""
    names: int
    """How many classes there are."""
    empty: bool
    """Whether there is no text file, so that `path` is the image."""

    def whole(self) -> tuple[int, int]:
        """As `Drawn.whole`."""
        return self.image.header().shape

    def identity(self) -> str:
        """As `Source.identity`; the image's place does not matter."""
        return f"{self.window}/{self.names}/{self.empty}"

    def drawing(self) -> Drawing:
        """As `Drawn.drawing`."""
        if self.empty:
            return ()
        height, width = self.whole()
        polygons = [
            (number, Polygon.of(corners * (width, height))) for number, corners in _lines(self.path, self.names)
        ]
        polygons.sort(key=lambda item: -item[1].area)
        return tuple((number + 1, polygon) for number, polygon in polygons)


@dataclass(frozen=True)
class _Set:
    """Where images lie, and what they are called."""

    file: Path
    """`data.yaml` or `classes.txt`, or the folder of labels."""
    names: list[str] | None
    images: list[tuple[str | None, Path]]
    """Split and path of every image."""


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read YOLO labels; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        A file is damaged, or has boxes only; or nothing is labelled.
    PairingError
        Label files without an image.
    """
    if (root / "masks").is_dir():
        return None
    found_set = _described(root) or _plain(root)
    if found_set is None:
        return None
    labels = {path: _label_path(path) for _, path in found_set.images}
    there = [label for label in labels.values() if label.is_file()]
    if masks and not there and found_set.images:
        first = found_set.images[0][1]
        raise DataError(
            f"{found_set.file} is of YOLO, and no image has a label file.",
            expected=f"Expected one for {first} at {labels[first]}.",
        )
    names = found_set.names
    left = LeftOut()
    highest = -1
    for label in dict.fromkeys(there) if masks or names is None else ():
        # With a list of problems, every file is read again, and what is wrong with it is noted then.
        with nullcontext() if problems is None else suppress(DataError):
            for number, corners in _lines(label, None if names is None else len(names), left if masks else None):
                highest = max(highest, number)
                left.drawn += 1
                left.boxes += Polygon.of(corners).is_box
    if names is None:
        names = [f"class {number}" for number in range(highest + 1)]
    entries = [_entry(path, split, labels[path], len(names), root, masks=masks) for split, path in found_set.images]
    if masks:
        _check_alone(labels, problems)
    samples = samples_of(entries, problems)
    empty = len(labels) - len(there)
    notes = ["pixels of no polygon are the class 'background' (raw value 0); larger polygons are drawn first"]
    notes += [f"{counted(empty, 'image')} without a label file: background only"] if empty else []
    notes += left.notes(root, problems) if masks else []
    if found_set.names is None:
        notes.append(f"no data.yaml or {NAMES} names the {len(names)} classes that {found_set.file} uses")
    table = [(name, number + 1, None) for number, name in enumerate(names)]
    return Layout(
        format="YOLO",
        samples=samples,
        masks_folder=next(iter(labels.values())).parent if labels else root,
        home=root if root.is_dir() else root.parent,
        table=table_file(root if root.is_dir() else root.parent),
        classes=class_table(table, background=0) if masks else None,
        notes=(found(root, "YOLO", samples, masks=masks), *(notes if masks else ())),
    )


def _entry(path: Path, split: str | None, label: Path, names: int, root: Path, *, masks: bool) -> Entry:
    image = Source(path=path) if path.is_file() else None
    mask = None
    if image is not None and masks:
        empty = not label.is_file()
        mask = YoloMask(path=path if empty else label, image=image, names=names, empty=empty)
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return Entry(name=name, image=image, mask=mask, split=split, file=label)


def _described(root: Path) -> _Set | None:
    """What a `data.yaml` says."""
    if root.is_dir():
        paths = sorted((*root.glob("*.yaml"), *root.glob("*.yml")), key=lambda path: (path.stem != "data", path.name))
    else:
        paths = [root] if root.suffix.lower() in (".yaml", ".yml") and root.is_file() else []
    for path in paths:
        try:
            text = read_text(path)
        except (OSError, ValueError):
            continue
        if not _IS_YOLO.search(text):
            continue
        content = _parsed(path, text)
        if "masks_dir" in content:
            return None
        if "kpt_shape" in content:
            raise DataError(
                f"{path} is of YOLO for poses: its lines are boxes and key points (kpt_shape).",
                expected="Expected outlines.",
                remedy="Key points do not say which pixels belong to an object; draw outlines.",
                file=path,
            )
        images: list[tuple[str | None, Path]] = [
            (split, image) for split in ("train", "val", "test") for image in _images(path, content, split)
        ]
        return _Set(path, _names(path, content.get("names", "")), images)
    return None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    """The keys of a `data.yaml`. The base loader builds no objects, and leaves classes named `no` or `1` text."""
    try:
        content = plain_yaml.parsed(text, texts=True)
    except (yaml.YAMLError, RecursionError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = f"line {mark.line + 1}: " if mark else ""
        raise damaged(path, f"{where}{getattr(error, 'problem', None) or error}", _EXPECTED) from None
    if not isinstance(content, dict):
        raise damaged(path, f"it holds {str(content)[:60]!r}", _EXPECTED)
    for key in ("path", "train", "val", "test"):
        given = content.get(key, "")
        texts = given if isinstance(given, list) and key != "path" else [given]
        if not all(isinstance(item, str) and may_be_path(item) for item in texts):
            raise damaged(path, f"{key} is {str(given)[:60]!r}", _EXPECTED)
    return content


def _names(path: Path, given: Any) -> list[str]:
    names = list(given.values()) if isinstance(given, dict) else given
    if not all(isinstance(name, str) for name in names):
        raise damaged(path, f"names has {str(given)[:60]!r}", _EXPECTED)
    if isinstance(given, dict):
        if sorted(given) != sorted(map(str, range(len(given)))):
            raise damaged(path, f"names has the keys {', '.join(given)}", "0, 1, 2, ... without a gap")
        return [given[str(number)] for number in range(len(given))]
    if isinstance(given, str) or not given:
        raise damaged(path, f"names is {given!r}", "a list of names")
    return list(given)


def _images(path: Path, content: dict[str, Any], split: str) -> list[Path]:
    """The images of a split: of folders, or of text files that list them."""
    given = content.get(split, [])
    places = [given] if isinstance(given, str) else list(given)
    base = content.get("path", "")
    found_images: list[Path] = []
    for place in places:
        if not place:
            continue
        # Roboflow writes ../train/images into a file that lies beside train/.
        candidates = [path.parent / str(base) / place, path.parent / place, path.parent / place.removeprefix("../")]
        there = next((Path(os.path.normpath(c)) for c in candidates if c.exists()), None)
        if there is None and split == "test":
            continue
        if there is None:
            raise DataError(
                f"{path} says that the images of {split} lie in {place}, and there is nothing at "
                f"{os.path.normpath(candidates[0])}.",
                expected="Expected that folder.",
                remedy=f"Correct path or {split} in {path.name}.",
                file=path,
            )
        if there.is_file():
            lines = [line.strip() for line in read_text(there).splitlines()]
            if not all(map(may_be_path, lines)):
                raise damaged(there, "a line is longer than any path", "names of images")
            found_images += [Path(os.path.normpath(there.parent / line)) for line in lines if line]
        else:
            found_images += _images_in(there)
    return found_images


def _images_in(folder: Path) -> list[Path]:
    paths = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")
    return sorted(paths, key=lambda path: natural(str(path)))


def _plain(root: Path) -> _Set | None:
    """`images/` and `labels/` with text files, within the root or within splits, without a `data.yaml`."""
    if not root.is_dir():
        return None
    homes = [home for home in (root, *sorted(root.iterdir())) if _has_labels(home)]
    if not homes:
        return None
    lists = [path for place in (root, *homes, homes[0] / "labels") if (path := place / NAMES).is_file()]
    names = [line.strip() for path in lists[:1] for line in read_text(path).splitlines() if line.strip()]
    images: list[tuple[str | None, Path]] = []
    for home in homes:
        within = _images_in(home / "images")
        for path in within:
            inner = path.relative_to(home / "images").parts
            split = split_of(home.name) if home != root else split_of(inner[0]) if len(inner) > 1 else None
            images.append((split, path))
    return _Set(lists[0] if lists else homes[0] / "labels", names or None, images)


def _has_labels(home: Path) -> bool:
    """Whether there are images, and label files that look like those of YOLO and nothing else."""
    if not (home / "images").is_dir() or not (home / "labels").is_dir():
        return False
    seen = False
    for path in (home / "labels").rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return False
        if path.suffix == ".txt" and path.name != NAMES and not seen:
            with path.open("rb") as file:
                words = file.readline(4096).split()
            seen = len(words) >= 5 and all(word.replace(b".", b"").replace(b"-", b"").isalnum() for word in words)
            if words and not seen:
                return False
    return seen


def _label_path(image: Path) -> Path:
    """Where the label file of an image lies: in `labels` for the last `images` of its path, or else beside it."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _check_alone(labels: dict[Path, Path], problems: list[Problem] | None) -> None:
    """Label files without an image."""
    known = set(labels.values())
    folders = dict.fromkeys(label.parent for label in known)
    alone = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.glob("*.txt"))
        if path not in known and path.name not in (NAMES, "train.txt", "val.txt", "test.txt")
    ]
    if not alone:
        return
    names = listed([path.name for path in alone])
    what = f"{counted(len(alone), 'label file')} in {alone[0].parent} without an image: {names}."
    remedy = "Add the images, or move these files elsewhere."
    report(
        problems,
        Problem(level="error", kind="unpaired", files=tuple(alone), what=what, remedy=remedy),
        PairingError,
    )


def _lines(path: Path, names: int | None, left: LeftOut | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Class and corners (`N x 2`, in parts of width and height) of every line of a label file that is a polygon.

    Other lines are counted in `left`. Raises DataError for a file that cannot be read, or a class that has no name.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise damaged(path, str(error), _LINE) from None
    for place, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            number, corners = _polygon(words)
        except _NoPolygon as error:
            if left is not None:
                left.lose(f"its line is {error.what}", f"{path}, line {place} ({error})")
            continue
        if number < 0 or number >= (MAX_CLASSES if names is None else names):
            last = (MAX_CLASSES if names is None else names) - 1
            raise damaged(path, f"line {place} has the class {number}", f"0 to {last}, as they are named")
        yield number, corners


class _NoPolygon(ValueError):
    """Words of a line that are no polygon."""

    def __init__(self, what: str, found: str) -> None:
        super().__init__(found)
        self.what = what


def _polygon(words: list[str]) -> tuple[int, np.ndarray]:
    """Class and corners; raises _NoPolygon."""
    if len(words) == 5:
        raise _NoPolygon("a box and no outline", "5 numbers")
    try:
        number, flat = int(float(words[0])), np.array(words[1:], np.float64)
    except (ValueError, OverflowError):
        raise _NoPolygon("no numbers", " ".join(words)[:60]) from None
    if len(words) < 7 or len(words) % 2 == 0 or not np.isfinite(flat).all():
        raise _NoPolygon('not "class x1 y1 x2 y2 x3 y3 ..."', f"{len(words)} numbers")
    if np.abs(flat).max() > _BEYOND:
        raise _NoPolygon("not in parts of width and height", f"coordinate {flat[np.abs(flat).argmax()]:g}")
    corners = flat.reshape(-1, 2)
    if (corners.max(axis=0) <= 0).any() or (corners.min(axis=0) >= 1).any():
        raise _NoPolygon("outside of its image", f"corners from {corners.min(axis=0)} to {corners.max(axis=0)}")
    if Polygon.of(corners).area <= _NOTHING:
        raise _NoPolygon("a polygon without area", f"{len(corners)} corners")
    return number, corners


_BEYOND = 2.0
"""Corners may lie a little outside of the image; further out, they are in pixels."""

_NOTHING = 1e-12
"""Area, as part of an image's, that is none."""
