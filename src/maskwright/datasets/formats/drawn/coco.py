"""COCO: JSON files with images, categories, and outlines or run lengths of objects (cocodataset.org/#format-data).

    DATA/annotations/instances_train2017.json    objects: {"images": [{"id", "file_name", "width", "height"}],
    DATA/annotations/stuff_train2017.json          "categories": [{"id", "name"}], "annotations": [{"image_id",
    DATA/train2017/NAME.jpg  or  images/...        "category_id", "iscrowd", "segmentation"}]}

A segmentation is a list of polygons [x, y, x, y, ...], all of which belong to the object; or {"size": [height, width],
"counts"} with run lengths down the columns, as a list or compressed as text. Also read are one JSON file beside its
images, or beside `images/` (as CVAT, Label Studio and FiftyOne export); `train/_annotations.coco.json` (Roboflow); and
the path of one such file. A word of the file's name, or of its folder's, gives the split.

Raw values are category ids. Objects become regions so: in every image, larger ones are painted first, so that smaller
ones stay visible. Crowds count as what they are a crowd of. Pixels of no object are the class "background"; in files
whose name has "stuff" in it, where everything was to be labelled, they are unlabelled. Where a split has both files,
objects are painted over stuff; its category "other", which only says that an object is there, is then unlabelled.
Panoptic, keypoint and caption files are left out. A folder that has `masks/` too is not read as COCO.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.datasets.classes import ClassTable, check_count
from maskwright.datasets.formats.drawn import rle
from maskwright.datasets.formats.drawn.annotations import (
    DrawnHere,
    Entry,
    Folders,
    class_table,
    damaged,
    free_value,
    is_background,
    noting,
    samples_of,
    table_file,
    unused_notes,
)
from maskwright.datasets.formats.drawn.checks import is_id, is_size, is_text
from maskwright.datasets.formats.drawn.coco_files import annotation_files, image_folders, split_of_file
from maskwright.datasets.formats.drawn.left_out import LeftOut
from maskwright.datasets.formats.drawn.shapes import Polygon, Runs, Shape
from maskwright.datasets.formats.layout import Layout, counted, found, has_masks
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Source
from maskwright.errors import ClassTableError, DataError


@dataclass(frozen=True)
class _Annotation:
    image: Any
    category: Any
    shapes: tuple[Shape, ...]
    broken: tuple[str, ...] = ()
    """Why parts of it have no shape."""


@dataclass(frozen=True)
class _File:
    path: Path
    split: str | None
    stuff: bool
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: list[_Annotation] | None
    values: dict[str | None, int] = field(default_factory=dict)
    """Of each category's id, the raw value."""


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read COCO annotations; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        A file is damaged, or has boxes only.
    PairingError
        Images are not there, or described twice.
    ClassTableError
        Files do not agree on a category.
    """
    paths = annotation_files(root)
    if not paths or (root.is_dir() and has_masks(root)):
        return None
    files = _numbered([_parse(path, split_of_file(path, root)) for path in paths])
    notes = []
    if masks:
        without = [str(file.path) for file in files if file.annotations is None]
        notes += [f"{name}: left out, having no annotations" for name in without]
        files = [file for file in files if file.annotations is not None]
        if not files:
            raise DataError(
                f"{without[0]} has images and no annotations.",
                expected="Expected masks.",
                remedy="Give a folder that has some.",
            )
    categories = _categories(files)
    merged = {file.split for file in files if file.stuff} & {file.split for file in files if not file.stuff}
    nothing = free_value(int(item["id"]) for item in categories)
    folders = image_folders(root, {file.split for file in files}, paths)
    left = LeftOut()
    entries = [
        entry
        for split in dict.fromkeys(file.split for file in files)
        for entry in _entries([f for f in files if f.split == split], masks, nothing, folders[split], left, problems)
    ]
    samples = samples_of(entries, problems)
    dropped = [item["name"] for item in categories if merged and item["name"] == "other" and item["stuff"]]
    labels = [(c["name"], int(c["id"]), c["color"]) for c in categories if c["name"] not in dropped]
    stuff = any(file.stuff for file in files)
    used = [sample.image.path for sample in samples]
    for split, folder in folders.items():
        within = [path for path, sample in zip(used, samples, strict=True) if sample.split == split]
        listed_in = next((str(file.path) for file in files if file.split == split), "")
        notes += unused_notes(folder, within, f"an entry in {listed_in}") if listed_in else []
    if masks:
        notes += left.notes(root, problems) + _remarks(labels, samples, nothing, stuff=stuff, merged=bool(merged))
    at = root if root.is_dir() else root.parent
    return Layout(
        format="COCO",
        samples=samples,
        masks_folder=paths[0].parent,
        home=at,
        table=table_file(at, at.parent) if root.is_file() else table_file(at),
        classes=_table(labels, nothing, stuff=stuff) if masks else None,
        notes=(found(root, "COCO", samples, masks=masks), *notes),
    )


def _parse(path: Path, split: str | None) -> _File:
    expected = 'COCO: {"images": [...], "categories": [...], "annotations": [...]}'
    try:
        content = json.loads(path.read_bytes(), object_hook=_compact)
    except (ValueError, OSError, RecursionError) as error:
        raise damaged(path, str(error), expected) from None
    parts = [content.get(key) for key in ("images", "categories")]
    annotations = content.get("annotations")
    if not all(isinstance(part, list) and all(isinstance(item, dict) for item in part) for part in parts):
        raise damaged(path, "its images or categories are no lists of entries", expected)
    for item in parts[0]:
        if not is_text(item.get("file_name")) or not is_id(item.get("id")):
            raise damaged(path, f"an image has no id or file_name: {str(item)[:100]}", expected)
    names = {item["id"]: item["file_name"] for item in reversed(parts[0])}
    twice = [item for item in parts[0] if item["file_name"] != names[item["id"]]]
    if twice:
        raise damaged(path, f"two images have the id {twice[0]['id']!r}, one is {twice[0]['file_name']}", expected)
    for item in parts[1]:
        number = item.get("id")
        whole = type(number) is not int or 0 <= number < 2**31
        if _key(number) is None or not whole or not is_text(item.get("name")):
            raise damaged(path, f"a category has no id, or no name: {str(item)[:100]}", expected)
        if not isinstance(item.get("supercategory"), str | None):
            raise damaged(path, f"the supercategory of {item['name']!r} is no name", expected)
    if annotations is not None:
        wrong = _broken(annotations)
        if wrong is not None:
            raise damaged(path, f"annotations have the entry {str(wrong)[:100]}", expected)
        plain = [item for item in annotations if not isinstance(item, _Annotation)]
        if plain and len(plain) == len(annotations):
            raise DataError(
                f"{path} has boxes and no outlines: its annotations have no segmentation. Expected polygons or run "
                "lengths. Boxes do not say which pixels belong to an object; draw outlines."
            )
        annotations = [
            item if isinstance(item, _Annotation) else _Annotation(item.get("image_id"), item.get("category_id"), ())
            for item in annotations
        ]
    stuff = "stuff" in path.stem.lower()
    images, categories = ([item | {"id": _key(item["id"])} for item in part] for part in parts)
    return _File(path, split, stuff, images, categories, annotations)


def _key(given: Any) -> str | None:
    """An id as text: writers disagree on whether 7, "7" and 7.0 are one id, and nothing else can be meant."""
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    return str(given) if isinstance(given, str | int) and not isinstance(given, bool) else None


def _numbered(files: list[_File]) -> list[_File]:
    """The files with raw values as ids of categories: the numbers that the ids are, or 1, 2, ... where one is none."""
    keys = list(dict.fromkeys(item["id"] for file in files for item in file.categories))
    numbers = all(re.fullmatch(r"\d{1,10}", key) and int(key) < 2**31 for key in keys)
    values = {key: int(key) if numbers else place for place, key in enumerate(keys, 1)}
    for file in files:
        for item in file.categories:
            item["id"] = values[item["id"]]
        file.values.update(values)
    return files


def _broken(annotations: Any) -> Any:
    """The first entry that is no annotation, or the whole that is no list; None where all is well."""
    if not isinstance(annotations, list):
        return annotations or "null"
    for item in annotations:
        if isinstance(item, _Annotation):
            ids = item.image, item.category
        elif isinstance(item, dict):
            ids = item.get("image_id", 0), item.get("category_id", 0)
        else:
            return item or "null"
        if not all(value is None or is_id(value) for value in ids):
            return f"with the image_id {ids[0]!r} and the category_id {ids[1]!r}"
    return None


def _compact(entry: dict[str, Any]) -> Any:
    """Turn annotations into shapes as they are parsed: as numbers of Python, those of COCO take gigabytes."""
    if "segmentation" not in entry:
        return entry
    segmentation = entry["segmentation"]
    whole = not (isinstance(segmentation, list) and segmentation and isinstance(segmentation[0], list | dict))
    shapes: list[Shape] = []
    broken: list[str] = []
    # Each part by itself: a line of two points among rings costs that part, not the object.
    for part in [segmentation] if whole else segmentation:
        try:
            if part:
                shapes.append(_shape(part))
        except (ValueError, KeyError, TypeError, OverflowError, SyntaxError) as error:
            broken.append(str(error) or type(error).__name__)
    return _Annotation(entry.get("image_id"), entry.get("category_id"), tuple(shapes), tuple(broken))


def _shape(part: Any) -> Shape:
    if isinstance(part, dict):
        height, width = part["size"]
        counts = part["counts"]
        if isinstance(counts, str) and counts.startswith(("b'", 'b"')):
            counts = ast.literal_eval(counts).decode("ascii")  # str() of the bytes that pycocotools gives
        lengths = rle.decompress(counts) if isinstance(counts, str) else np.array(counts, np.int64)
        return Runs.of(lengths, 0, 0, int(height), int(width), by_columns=True)
    return Polygon.of(part)


def _categories(files: Sequence[_File]) -> list[dict[str, Any]]:
    """All categories by id, with name, colour, and whether they are stuff; without a name for groups of others."""
    by_id: dict[int, dict[str, Any]] = {}
    for file in files:
        for item in file.categories:
            color = item.get("color")
            valid = isinstance(color, list) and len(color) == 3 and all(type(v) is int and 0 <= v < 256 for v in color)
            new = {"id": item["id"], "name": item["name"], "color": tuple(color or ()) if valid else None}
            before = by_id.setdefault(item["id"], new | {"stuff": file.stuff, "file": file.path})
            if before["name"] != item["name"]:
                raise ClassTableError(
                    f"The category {item['id']} is {before['name']!r} in {before['file']} and "
                    f"{item['name']!r} in {file.path}.",
                    expected="Expected one name for each id in all files.",
                    remedy="Export them together.",
                )
    check_count(len(by_id) - 1)  # one may be the name of the whole
    # Roboflow declares the name of the whole as category 0, and the others as its members.
    groups = {item.get("supercategory") for file in files for item in file.categories}
    used = {file.values.get(_key(a.category)) for file in files for a in file.annotations or ()}
    return [c for _, c in sorted(by_id.items()) if c["name"] not in groups or c["id"] in used or c["id"] != 0]


def _entries(
    files: Sequence[_File],
    masks: bool,
    nothing: int,
    folders: Folders,
    left: LeftOut,
    problems: list[Problem] | None,
) -> list[Entry]:
    """The images of one split; those of several files with one name are one image."""
    merged = any(file.stuff for file in files) and not all(file.stuff for file in files)
    images: dict[str, tuple[_File, dict[str, Any]]] = {}
    layers: defaultdict[str, list[tuple[bool, float, int, Shape]]] = defaultdict(list)
    entries = []
    for file in files:
        names = {item["id"]: item["file_name"] for item in file.images}
        categories = {item["id"]: item["name"] for item in file.categories}
        sizes: dict[str, tuple[int, int] | None] = {}
        for item in file.images:
            if item["file_name"] in images and images[item["file_name"]][0].stuff == file.stuff:
                entries.append(_entry(file, item, None, folders))
            images.setdefault(item["file_name"], (file, item))
            with noting(problems, file.path):
                sizes[item["file_name"]] = _size(item, folders)
        for annotation in file.annotations or () if masks else ():
            name = names.get(_key(annotation.image))
            value = file.values.get(_key(annotation.category))
            if annotation.category is not None and value not in categories:
                raise damaged(
                    file.path, f"an annotation has the category {annotation.category}", "a category that is declared"
                )
            if name is None:
                left.lose("its image is not listed", f"{file.path} (image {annotation.image})")
            elif value is None:
                left.lose("it has no category", f"{name} in {file.path}")
            elif not annotation.shapes:
                why = f" ({annotation.broken[0]})" if annotation.broken else ""
                where = f"{name} in {file.path}{why}"
                left.lose("it has no outline" if not why else "its outline is broken", where)
            elif not (merged and file.stuff and categories[value] == "other"):
                if unfit := _unfit(annotation.shapes, sizes.get(name)):
                    left.lose("its run lengths are of another size than its image", f"{name} in {file.path} ({unfit})")
                    continue
                if not left.draw(annotation.shapes, sizes.get(name), f"{name} in {file.path}"):
                    continue
                for why in annotation.broken:
                    left.add("parts of objects (rings) that cannot be drawn", f"{name} ({why})")
                area = sum(shape.area for shape in annotation.shapes)
                layers[name] += [(file.stuff, area, value, shape) for shape in annotation.shapes]
    for name, (file, item) in images.items():
        ordered = sorted(layers[name], key=lambda layer: (not layer[0], -layer[1]))
        with noting(problems, file.path):
            entries.append(_entry(file, item, [(layer[2], layer[3]) for layer in ordered], folders, nothing))
    return entries if masks else [replace(entry, mask=None) for entry in entries]


def _size(item: dict[str, Any], folders: Folders) -> tuple[int, int] | None:
    """Height and width of an image, as its entry says, or else itself; None if it is not there."""
    height: Any = item.get("height")
    width: Any = item.get("width")
    if is_size(height, width):
        return height, width
    path = folders.find(item["file_name"])
    return None if path is None else Source(path=path).header().shape


def _unfit(shapes: Sequence[Shape], size: tuple[int, int] | None) -> str:
    """What differs where run lengths are of another size than their image; "" where none does."""
    for shape in shapes:
        if isinstance(shape, Runs) and size is not None and (shape.height, shape.width) != size:
            return f"of {shape.width} x {shape.height} pixels, and it is {size[1]} x {size[0]}"
    return ""


def _entry(
    file: _File, item: dict[str, Any], shapes: Sequence[tuple[int, Shape]] | None, folders: Folders, nothing: int = 0
) -> Entry:
    name = item["file_name"]
    path = folders.find(name)
    image = None if path is None else Source(path=path)
    mask = None
    size = _size(item, folders)
    if image is not None and size is not None and shapes is not None:
        mask = DrawnHere(path=file.path, size=size, background=nothing, shapes=tuple(shapes))
    return Entry(name=name, image=image, mask=mask, split=file.split, file=file.path)


def _table(labels: Sequence[tuple[str, int, Any]], nothing: int, *, stuff: bool) -> ClassTable:
    return class_table(labels, background=None if stuff else nothing, unlabelled=(nothing,) if stuff else ())


def _remarks(
    labels: Sequence[tuple[str, int, Any]], samples: Sequence[Any], nothing: int, *, stuff: bool, merged: bool
) -> list[str]:
    named = [name for name, _, _ in labels if is_background(name)]
    rest = "unlabelled" if stuff else f"the class {named[0] if named else 'background'!r}"
    notes = [
        ("things are drawn over stuff, and larger ones first" if merged else "larger objects are drawn first")
        + f", so that smaller ones stay visible; pixels of no object are {rest} (raw value {nothing})"
    ]
    empty = sum(isinstance(sample.mask, DrawnHere) and not sample.mask.shapes for sample in samples)
    if empty:
        notes.append(f"{counted(empty, 'image')} without annotations: all {rest}")
    return notes
