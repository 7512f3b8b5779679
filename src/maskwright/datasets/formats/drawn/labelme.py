"""Labelme: a JSON file for each image, beside it (github.com/wkentaro/labelme; X-AnyLabeling writes the same).

    DATA/NAME.json    {"shapes": [{"label", "points": [[x, y], ...], "shape_type", "mask"}], "imagePath",
    DATA/NAME.jpg      "imageData", "imageHeight", "imageWidth"}
    DATA/labels.txt   optional: the labels in their order, one in a line

or the same in folders within DATA, whose names may be splits. `imagePath` is relative to the JSON file; where that
image is not there, one of the JSON file's name will do, and at last the picture in `imageData` (base64).

Polygons, rectangles, circles and masks (a base64 PNG; `points` are its first and last pixel) cover pixels, later ones
over earlier ones, as in Labelme. Points and lines cover none and are left out. By Labelme's conventions, pixels of no
shape are the class `_background_`, named "background" here, and `__ignore__` is unlabelled. Raw values: 0 where nothing
is drawn, then 1, 2, ... for the labels in order of `labels.txt`, or else of their names.

A folder that has `masks/` too is not read as Labelme. Labelme's own export covers outlines too, so that its objects are
up to a pixel larger than here; see `data/shapes.py`.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.datasets.formats.drawn.annotations import (
    DrawnHere,
    Entry,
    Folders,
    bitmap_of,
    class_table,
    damaged,
    noting,
    samples_of,
    split_of,
    table_file,
    unused_notes,
)
from maskwright.datasets.formats.drawn.checks import is_size, is_text
from maskwright.datasets.formats.drawn.left_out import LeftOut
from maskwright.datasets.formats.drawn.shapes import Ellipse, Polygon, Shape
from maskwright.datasets.formats.layout import Layout, found, has_masks
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Source, natural
from maskwright.datasets.texts import read_text
from maskwright.errors import UnreadableFileError
from maskwright.imaging import images
from maskwright.imaging.decoders import Header, Raster, decode, read_header, sniff

LABELS = "labels.txt"
IGNORE, BACKGROUND = "__ignore__", "_background_"
_EXPECTED = 'Labelme: {"shapes": [{"label", "points", "shape_type"}, ...], "imagePath", "imageHeight", "imageWidth"}'
_JUDGED = 3
"""JSON files of a folder that are looked at: settings of another tool may come first by name."""
_WITHOUT_AREA = ("point", "points", "line", "linestrip")


@dataclass(frozen=True, kw_only=True)
class EmbeddedImage(Source):
    """The picture that a Labelme file carries in itself."""

    def header(self) -> Header:
        """As `Source.header`."""
        content, kind = self._content()
        try:
            header = read_header(io.BytesIO(content), kind)
        except Exception as error:
            raise self._unreadable(str(error)) from None
        return header if self.window is None else images.windowed(header, self.path, self.window)

    def read_image(self) -> images.Image:
        """As `Source.read_image`."""
        content, kind = self._content()
        try:
            raster: Raster = decode(content, kind, indices=False).oriented()
        except Exception as error:
            raise self._unreadable(str(error)) from None
        alpha = raster.alpha
        valid = None if alpha is None or alpha.min() == alpha.max() else alpha != 0
        pixels = raster.pixels if valid is None else np.where(valid[..., None], raster.pixels, 0)
        if self.window is not None:
            pixels = images.crop(pixels, self.path, self.window)
            valid = None if valid is None else images.crop(valid, self.path, self.window)
        return images.Image(np.ascontiguousarray(pixels), valid)

    def _content(self) -> tuple[bytes, str]:
        try:
            content = base64.b64decode(json.loads(self.path.read_bytes())["imageData"])
            kind = sniff(content[:16])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._unreadable(str(error)) from None
        if kind is None or kind == "tiff":
            raise self._unreadable("it is no PNG, JPEG, BMP or WebP")
        return content, kind

    def _unreadable(self, found: str) -> UnreadableFileError:
        return UnreadableFileError(
            f"The picture in {self.path} (imageData) cannot be read: {found}.",
            remedy="Put the image beside the file, under the name in imagePath.",
        )


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read Labelme files; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        A file is damaged.
    PairingError
        Images are not there, or described twice.
    """
    places = _places(root)
    if not places:
        return None
    left = LeftOut()
    contents: list[tuple[Path, dict[str, Any]]] = []
    for path in (path for place in places for path in _files(place)):
        with noting(problems, path):
            content = _load(path)
            if content is not None:
                contents.append((path, content))
            else:
                left.add("JSON files that are not of Labelme", str(path))
    lists = [path for place in (root, *places) if (path := place / LABELS).is_file()]
    names = _labels(lists, [content for _, content in contents])
    values = {name: place + 1 for place, name in enumerate(names)} | {BACKGROUND: 0, IGNORE: len(names) + 1}
    entries: list[Entry] = []
    for path, content in contents:
        with noting(problems, path):
            entries.append(_entry(path, root, content, values, masks, left))
    samples = samples_of(entries, problems)
    labels = [(name, values[name], None) for name in names]
    ignored = any(shape["label"] == IGNORE for _, content in contents for shape in content["shapes"])
    classes = class_table(labels, background=0, unlabelled=(values[IGNORE],) if ignored else ())
    folders = Folders([])
    used = [sample.image.path for sample in samples if not isinstance(sample.image, EmbeddedImage)]
    notes = [*left.notes(root, problems), *unused_notes(folders, used, "a JSON file")]
    embedded = sum(isinstance(sample.image, EmbeddedImage) for sample in samples)
    notes += [f"{embedded} images are taken from imageData of their JSON files"] if embedded else []
    notes += ["pixels of no shape are the class 'background' (raw value 0)"] if masks else []
    return Layout(
        format="Labelme",
        samples=samples,
        masks_folder=places[0],
        home=root,
        table=table_file(root, *places),
        classes=classes if masks else None,
        notes=(found(root, "Labelme", samples, masks=masks), *notes),
    )


def _places(root: Path) -> list[Path]:
    """The folders of Labelme files: the root, or else those in it."""
    if not root.is_dir() or has_masks(root):
        return []
    if _holds_labelme(root):
        return [root]
    return [child for child in sorted(root.iterdir()) if child.is_dir() and _holds_labelme(child)]


def _files(place: Path) -> list[Path]:
    paths = (path for path in place.iterdir() if path.suffix.lower() == ".json" and path.name[0] != ".")
    return sorted(paths, key=lambda path: natural(path.name))


def _holds_labelme(place: Path) -> bool:
    """Whether one of its first JSON files, by name, is of Labelme."""
    return any(_is_labelme(path) for path in _files(place)[:_JUDGED])


def _is_labelme(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
            return False
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _load(path: Path) -> dict[str, Any] | None:
    """A file without its picture, its entries checked; None if it is of something else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, str(error), _EXPECTED) from None
    if not isinstance(content, dict) or not {"shapes", "imagePath"} & content.keys():
        return None
    if not isinstance(content.get("shapes"), list):
        raise damaged(path, "it has no list of shapes", _EXPECTED)
    for shape in content["shapes"]:
        if not isinstance(shape, dict) or "points" not in shape:
            raise damaged(path, f"a shape has no points: {str(shape)[:100]}", _EXPECTED)
        label = shape.get("label")
        if not (label is None or type(label) in (int, float) or is_text(label)):
            raise damaged(path, f"a shape has the label {str(label)[:100]}", _EXPECTED)
        shape["label"] = "" if label is None else str(label).strip()
    content["imageData"] = bool(content.get("imageData"))
    return content


def _labels(lists: list[Path], contents: list[dict[str, Any]]) -> list[str]:
    """Labels in the order of the first list; those it lacks follow, by name."""
    written = [line.strip() for path in lists[:1] for line in read_text(path).splitlines()]
    used = {shape["label"] for content in contents for shape in content["shapes"]}
    names = list(dict.fromkeys([*written, *sorted(used, key=natural)]))
    return [name for name in names if name.strip() and name not in (IGNORE, BACKGROUND)]


def _entry(
    path: Path, root: Path, content: dict[str, Any], values: dict[str, int], masks: bool, left: LeftOut
) -> Entry:
    image = _image(path, root, content)
    mask = None
    if image is not None and masks:
        declared: Any = content.get("imageHeight"), content.get("imageWidth")
        height, width = declared if is_size(*declared) else image.header().shape
        shapes: list[tuple[int, Shape]] = []
        for entry in content["shapes"]:
            kind = entry.get("shape_type") or "polygon"
            if not entry["label"]:
                left.lose("it has no label", str(path))
                continue
            if kind in _WITHOUT_AREA:
                left.add("points and lines, which cover no pixels", str(path))
                continue
            try:
                shape = _shape(kind, entry)
            except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
                left.lose(f"its {kind} is damaged", f"{path} ({entry['label']!r}: {error})")
                continue
            if left.draw((shape,), (height, width), str(path)):
                shapes.append((values[entry["label"]], shape))
        mask = DrawnHere(path=path, size=(height, width), shapes=tuple(shapes))
    split = split_of(path.parent.name) if path.parent != root else None
    return Entry(name=path.relative_to(root).as_posix(), image=image, mask=mask, split=split, file=path)


def _image(path: Path, root: Path, content: dict[str, Any]) -> Source | None:
    name = content.get("imagePath")
    names = [name] if isinstance(name, str) and name else []
    names += [path.with_suffix(suffix).name for suffix in sorted(images.IMAGE_SUFFIXES)]
    folders = Folders([path.parent])
    beside = next((found for name in names if (found := folders.find(name))), None)
    if beside is None and path.parent != root:  # JSON files in a folder of their own, beside one of the images
        others = [Folders([folder]) for folder in (root, *sorted(root.iterdir())) if folder.is_dir()]
        places = {found for name in names for folder in others if (found := folder.find(name))}
        beside = places.pop() if len(places) == 1 else None
    if beside is not None:
        return Source(path=beside)
    return EmbeddedImage(path=path) if content["imageData"] else None


def _shape(kind: str, entry: dict[str, Any]) -> Shape:
    points = entry["points"]
    readers: dict[str, Callable[[], Shape]] = {
        "polygon": lambda: Polygon.of(points),
        "rectangle": lambda: Polygon.box(*_corners(points)) if len(points) == 2 else Polygon.of(points),
        "rotation": lambda: Polygon.of(points),
        "oriented_rectangle": lambda: Polygon.of(points),
        "circle": lambda: _circle(points),
        "mask": lambda: _bitmap(entry.get("mask"), points),
    }
    if kind not in readers:
        raise ValueError(f"shapes of this type are unknown (known: {', '.join(readers)})")
    return readers[kind]()


def _bitmap(png: Any, points: Any) -> Shape:
    if not isinstance(png, str) or not points:
        raise ValueError("it has no picture, or no place")
    return bitmap_of(base64.b64decode(png), round(points[0][1]), round(points[0][0]))


def _circle(points: Any) -> Shape:
    if len(points) != 2:
        raise ValueError(f"it has {len(points)} points, and a circle has its centre and one on its edge")
    centre, edge = points
    radius = math.dist(centre, edge)
    return Ellipse.of(float(centre[0]), float(centre[1]), radius, radius)


def _corners(points: Any) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = points
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
