"""Supervisely: a project with datasets of images and of one JSON file for each (developer.supervisely.com).

    DATA/meta.json                 {"classes": [{"title", "color": "#rrggbb", "shape"}], ...}
    DATA/DATASET/img/NAME.jpg
    DATA/DATASET/ann/NAME.jpg.json {"size": {"height", "width"}, "tags", "objects": [{"classTitle", "geometryType",
                                    "points": {"exterior", "interior"}, "bitmap": {"data", "origin"}}]}

A dataset's name, or a tag "train", "val" or "test" of an image, gives the split. Later objects lie over earlier ones.
Pixels of no object are background (raw value 0); the classes of `meta.json` are 1, 2, ... in their order.

Whole numbers are pixels, as Supervisely's SDK writes them: a rectangle has its last row and column, and a polygon its
outline, drawn by the SDK's own rule (OpenCV's `fillPoly`). Fractions, which the labelling tool works with, are places
between pixels, and follow the rule of `data/shapes.py`. A bitmap is a PNG, compressed again by zlib, in base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

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
from maskwright.datasets.formats.drawn.shapes import PixelPolygon, Polygon, Shape
from maskwright.datasets.formats.layout import Layout, found
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Source, natural
from maskwright.errors import EmptyDataError
from maskwright.imaging.colors import color_rgb

LONGEST = 2**26
"""Bytes of a bitmap, unpacked once."""

META = "meta.json"
_COVERING = ("polygon", "bitmap", "rectangle")
_EXPECTED = 'Supervisely: {"size": {"height", "width"}, "objects": [{"classTitle", "geometryType", ...}]}'


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read a Supervisely project, or one of its datasets; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        A file is damaged.
    PairingError
        Images are not there, or described twice.
    """
    meta = _meta(root)
    if meta is None:
        return None
    project, declared = meta
    datasets = (
        [root] if _is_dataset(root) else sorted(ann.parent for ann in root.rglob("ann") if _is_dataset(ann.parent))
    )
    if not datasets:
        raise EmptyDataError(
            f"{root} has a {META} of Supervisely and no datasets. Expected folders with img/ and ann/ in them. Was the "
            "project copied whole?"
        )
    left = LeftOut()
    areal = [c for c in declared if c.get("shape", "any") in (*_COVERING, "any")]
    labels = [(c["title"], place + 1, _color(c)) for place, c in enumerate(areal)]
    values = {name: value for name, value, _ in labels}
    unknown = {c["title"] for c in declared} - set(values)
    entries: list[Entry] = []
    for dataset in datasets:
        for path in sorted((dataset / "ann").glob("*.json"), key=lambda path: natural(path.name)):
            with noting(problems, path):
                entries.append(_entry(path, dataset, root, values, unknown, masks, left))
    samples = samples_of(entries, problems)
    notes = left.notes(root, problems)
    notes += unused_notes(Folders([]), [sample.image.path for sample in samples], "a JSON file")
    notes += ["pixels of no object are the class 'background' (raw value 0)"] if masks else []
    return Layout(
        format="Supervisely",
        samples=samples,
        masks_folder=datasets[0] / "ann",
        home=root,
        table=table_file(root, project),
        classes=class_table(labels, background=0) if masks else None,
        notes=(found(root, "Supervisely", samples, masks=masks), *notes),
    )


def _meta(root: Path) -> tuple[Path, list[dict[str, Any]]] | None:
    """The project's folder and its classes, if `root` is a project or one of its datasets."""
    if not root.is_dir():
        return None
    project = next((p for p in (root, root.resolve().parent) if (p / META).is_file()), None)
    if project is None or (project != root and not _is_dataset(root)):
        return None
    try:
        classes = json.loads((project / META).read_bytes())["classes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    known = isinstance(classes, list) and all(isinstance(c, dict) and is_text(c.get("title")) for c in classes)
    return (project, classes) if known else None


def _is_dataset(folder: Path) -> bool:
    return (folder / "ann").is_dir() and (folder / "img").is_dir()


def _color(item: dict[str, Any]) -> tuple[int, int, int] | None:
    try:
        return color_rgb(str(item.get("color", "")).lower())
    except ValueError:
        return None


def _entry(
    path: Path, dataset: Path, root: Path, values: dict[str, int], unknown: set[str], masks: bool, left: LeftOut
) -> Entry:
    try:
        content = json.loads(path.read_bytes())
        objects, tags = content["objects"], content.get("tags", [])
        size = int(content["size"]["height"]), int(content["size"]["width"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}", _EXPECTED) from None
    if not isinstance(objects, list) or not is_size(*size):
        raise damaged(path, "it has no list of objects, or no size", _EXPECTED)
    tags = tags if isinstance(tags, list) else []
    for place, entry in enumerate(objects):
        if (
            not isinstance(entry, dict)
            or not is_text(entry.get("classTitle"))
            or not is_text(entry.get("geometryType"))
        ):
            raise damaged(path, f"object {place} has no class or type: {str(entry)[:100]}", _EXPECTED)
    tagged = {split_of(str(tag.get("name", ""))) for tag in tags if isinstance(tag, dict)} - {None}
    split = split_of(dataset.name) if dataset != root else None
    split = split or (tagged.pop() if len(tagged) == 1 else None)
    shapes: list[tuple[int, Shape]] = []
    for entry in objects if masks else ():
        kind, label = entry.get("geometryType"), entry.get("classTitle")
        if kind not in _COVERING:
            left.add(f"objects of type {kind}, which cover no pixels here", str(path))
        elif not label:
            left.lose("it has no class", str(path))
        elif label not in values and label not in unknown:
            raise damaged(path, f"it has an object of class {label!r}", f"one of {META}: {', '.join(values)}")
        elif label in unknown:
            left.lose("its class is declared to be of another shape", f"{path} ({label!r})")
        else:
            try:
                shape = _shape(kind, entry)
            except (ValueError, TypeError, LookupError, AttributeError, OverflowError, zlib.error) as error:
                left.lose(f"its {kind} is damaged", f"{path} ({label!r}: {error})")
                continue
            if left.draw((shape,), size, str(path)):
                shapes.append((values[label], shape))
    image = _image(path, dataset)
    mask = DrawnHere(path=path, size=size, shapes=tuple(shapes)) if masks else None
    name = path.with_suffix("") if image is None else image.path
    shown = name.name if dataset == root else f"{dataset.relative_to(root).as_posix()}/{name.name}"
    return Entry(name=shown, image=image, mask=mask, split=split, file=path)


def _image(path: Path, dataset: Path) -> Source | None:
    """`NAME.jpg.json` describes `NAME.jpg`; older projects wrote `NAME.json`."""
    whole = dataset / "img" / path.stem
    if whole.is_file():
        return Source(path=whole)
    others = [other for other in sorted((dataset / "img").glob("*")) if other.stem == path.stem]
    return Source(path=others[0]) if len(others) == 1 else None


def _inflated(content: bytes) -> bytes:
    """What zlib yields, as far as a picture's file may be long: ten bytes may stand for ten thousand."""
    stream = zlib.decompressobj()
    found = stream.decompress(content, LONGEST)
    if stream.unconsumed_tail:
        raise ValueError(f"its bitmap yields more than {LONGEST} bytes")
    return found


def _shape(kind: str, entry: dict[str, Any]) -> Shape:
    if kind == "bitmap":
        left, top = entry["bitmap"]["origin"]
        return bitmap_of(_inflated(base64.b64decode(entry["bitmap"]["data"])), int(top), int(left))
    exterior, interior = entry["points"]["exterior"], entry["points"].get("interior") or []
    whole = all(float(part).is_integer() for ring in (exterior, *interior) for corner in ring for part in corner)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = exterior
        last = 1 if whole else 0
        return Polygon.box(min(x0, x1), min(y0, y1), max(x0, x1) + last, max(y0, y1) + last)
    return PixelPolygon.of(exterior, *interior) if whole else Polygon.of(exterior, *interior)
