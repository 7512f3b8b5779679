"""Label Studio: its JSON export, one file with the tasks of a project (labelstud.io/guide/export).

    DATA/project-1-at-2026.json    [{"data": {"image": "/data/upload/1/1a2b3c4d-NAME.png"}, "annotations": [{"result":
    DATA/images/NAME.png             [{"id", "type", "original_width", "original_height", "value": {...}}, ...]}]}, ...]
    or beside the JSON file

Polygons, rectangles, ellipses (in hundredths of width and height) and brush masks cover pixels, later ones over earlier
ones; key points and lines cover none and are left out. A region's label may stand in a result of its own, with the same
id. Of several annotations of a task the first that was not cancelled is read; tasks without one are left out. Images
are found by the last part of their address, with or without the eight digits that an upload puts before it.

Pixels of no region are background (raw value 0); labels are 1, 2, ... in order of their names. JSON-MIN, which Label
Studio offers too, is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from maskwright.datasets.formats.drawn.annotations import (
    DrawnHere,
    Entry,
    Folders,
    class_table,
    damaged,
    noting,
    samples_of,
    table_file,
    unused_notes,
)
from maskwright.datasets.formats.drawn.left_out import LeftOut
from maskwright.datasets.formats.drawn.rle import counts_of
from maskwright.datasets.formats.drawn.shapes import Ellipse, Polygon, Runs, Shape
from maskwright.datasets.formats.layout import Layout, counted, found, has_masks
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Source, natural
from maskwright.imaging.memory import require_room

_EXPECTED = 'Label Studio: [{"data": {"image": ...}, "annotations": [{"result": [...]}]}, ...]'
_UPLOAD = re.compile(r"\A[0-9a-f]{8}-")
_STARTS = re.compile(rb"\s*\[\s*\{")
_COVERING = ("polygon", "rectangle", "ellipse", "brush")
_MOST_FILES = 8


@dataclass(frozen=True)
class _Task:
    file: Path
    image: str
    """The address as the file has it."""
    result: list[dict[str, Any]]
    others: int
    """Annotations that are not read."""


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read an export; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        A file is damaged, or nothing of it can be drawn.
    PairingError
        Images are not there, or described twice.
    """
    paths = _files(root)
    if not paths or (root.is_dir() and has_masks(root)):
        return None
    at = root if root.is_dir() else root.parent
    left = LeftOut()
    tasks = [task for path in paths for task in _tasks(path, left)]
    regions = [(task, _regions(task.result)) for task in tasks]
    names = sorted({name for _, parts in regions for part in parts if (name := _label(part))}, key=natural)
    values = {name: value for value, name in enumerate(names, 1)}
    folders = Folders([at / "images", at])
    entries: list[Entry] = []
    for task, parts in regions:
        with noting(problems, task.file):
            entries.append(_entry(task, parts, values, folders, left, masks=masks))
    samples = samples_of(entries, problems)
    others = sum(task.others for task in tasks)
    notes = left.notes(root, problems) if masks else []
    notes += (
        [f"{counted(others, 'further annotation')} of the same tasks left out: the first is read"] if others else []
    )
    notes += unused_notes(folders, [sample.image.path for sample in samples], f"an annotation in {paths[0].name}")
    notes += ["pixels of no region are the class 'background' (raw value 0)"] if masks else []
    return Layout(
        format="Label Studio",
        samples=samples,
        masks_folder=at,
        home=at,
        table=table_file(at),
        classes=class_table([(name, values[name], None) for name in names], background=0) if masks else None,
        notes=(found(root, "Label Studio", samples, masks=masks), *notes),
    )


def _files(root: Path) -> list[Path]:
    if root.is_file():
        paths = [root] if root.suffix.lower() == ".json" else []
    else:
        paths = sorted(root.glob("*.json")) if root.is_dir() else []
    return [path for path in paths if _is_export(path)] if len(paths) <= _MOST_FILES else []


def _is_export(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(64)
    if not _STARTS.match(start.removeprefix(b"\xef\xbb\xbf")):
        return False
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return all(isinstance(task, dict) and {"data", "annotations"} <= task.keys() for task in content)


def _tasks(path: Path, left: LeftOut) -> list[_Task]:
    """The tasks of a file that a person has finished."""
    tasks = []
    for task in json.loads(path.read_bytes()):
        data, annotations = task["data"], task["annotations"]
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise damaged(path, f"the task {task.get('id')} has no data or annotations", _EXPECTED)
        done = [item for item in annotations if isinstance(item, dict) and not item.get("was_cancelled")]
        if not done:
            left.add("tasks without an annotation", f"{path} (task {task.get('id')})")
            continue
        result = done[0].get("result")
        image = data.get("image") or next((value for value in data.values() if isinstance(value, str)), None)
        if not isinstance(image, str) or not isinstance(result, list):
            raise damaged(path, f"the task {task.get('id')} has no image or no result", _EXPECTED)
        tasks.append(_Task(path, image, [item for item in result if isinstance(item, dict)], len(done) - 1))
    return tasks


def _regions(result: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of a region as one: its shape, and the label that may be apart from it."""
    regions: dict[object, dict[str, Any]] = {}
    for place, item in enumerate(result):
        value = item.get("value")
        key = item.get("id") or place
        before = regions.setdefault(key, item | {"value": {}, "types": []})
        before["value"] |= value if isinstance(value, dict) else {}
        before["types"].append(str(item.get("type", "")))
    return list(regions.values())


def _kind(region: dict[str, Any]) -> str:
    """What shape it has, without the "labels" of a type such as "polygonlabels"."""
    kinds = [kind.removesuffix("labels") for kind in region["types"]]
    first: str = next((kind for kind in kinds if kind in _COVERING), kinds[0])
    return first


def _label(region: dict[str, Any]) -> str:
    """Its label; "" if it has none, or is of no image."""
    for key, value in region["value"].items():
        if key.endswith("labels") and isinstance(value, list) and value:
            return str(value[0]).strip()
    return ""


def _entry(
    task: _Task, regions: list[dict[str, Any]], values: dict[str, int], folders: Folders, left: LeftOut, *, masks: bool
) -> Entry:
    path = _image(task.image, folders)
    image = None if path is None else Source(path=path)
    mask = None
    if image is not None and masks:
        size: tuple[int, int] | None = None
        shapes: list[tuple[int, Shape]] = []
        for region in regions:
            kind, label = _kind(region), _label(region)
            where = f"{image.path.name} in {task.file}"
            if kind not in _COVERING:
                left.add(f"regions of type {kind}, which cover no pixels", where)
                continue
            try:
                own = int(region["original_height"]), int(region["original_width"])
                if region.get("image_rotation"):
                    raise ValueError("the image was turned while it was labelled")
                shape = _shape(kind, region["value"], own)
            except (ValueError, KeyError, TypeError, OverflowError, IndexError) as error:
                left.lose(f"its {kind} is damaged", f"{where} ({error})")
                continue
            size = size or own
            if not label:
                left.lose("it has no label", where)
            elif left.draw((shape,), size, where):
                shapes.append((values[label], shape))
        mask = DrawnHere(path=task.file, size=size or image.header().shape, shapes=tuple(shapes))
    return Entry(name=path.name if path else task.image, image=image, mask=mask, split=None, file=task.file)


def _image(address: str, folders: Folders) -> Path | None:
    """The image of an address: an upload, an URL, or a file that was served from a disk (`?d=folder/NAME.png`)."""
    parts = urlsplit(address)
    name = unquote(parse_qs(parts.query).get("d", [parts.path])[0]).replace("\\", "/").rpartition("/")[2]
    names = (name, _UPLOAD.sub("", name))
    return next((path for name in names if name and (path := folders.find(name))), None)


def _shape(kind: str, value: dict[str, Any], size: tuple[int, int]) -> Shape:
    height, width = size
    if kind == "brush":
        if value.get("format") != "rle":
            raise ValueError(f"its format is {value.get('format')!r}, and not 'rle'")
        opacity = unpacked(bytes(value["rle"]), 4 * height * width)[3::4].reshape(height, width)
        return Runs.of(counts_of(opacity > 0, by_columns=False), 0, 0, height, width, by_columns=False)
    across, down = width / 100, height / 100
    if kind == "polygon":
        return Polygon.of(np.asarray(value["points"], np.float64) * (across, down))
    x, y, degrees = value["x"] * across, value["y"] * down, float(value.get("rotation") or 0)
    if kind == "ellipse":
        return Ellipse(x, y, value["radiusX"] * across, value["radiusY"] * down, degrees)
    # A rectangle is turned about its first corner.
    turn = np.exp(1j * np.radians(degrees))
    corners = np.array([0, 1, 1 + 1j, 1j])
    places = (corners.real * value["width"] * across + 1j * corners.imag * value["height"] * down) * turn + (x + 1j * y)
    return Polygon.of(np.stack([places.real, places.imag], 1))


def unpacked(content: bytes, length: int) -> np.ndarray:
    """The uint8 values (1-D) in the run lengths that the brush is stored in; raises ValueError if there are others.

    Of github.com/thi-ng/umbrella's rle-pack: 32 bits of length, 5 of word size less 1, four times 4 of run sizes less
    1; then, until the end, a bit "repeated", 2 bits that choose a run size, the run less 1 in so many bits, and one
    word, or as many as the run is long.
    """
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    at = 0

    def number(width: int) -> int:
        nonlocal at
        if at + width > len(bits):
            raise ValueError("its run lengths are cut off")
        at += width
        return int(bits[at - width : at] @ _POWERS[-width:])

    if number(32) != length:
        raise ValueError(f"its mask is not of the image's size ({length // 4} pixels)")
    require_room(length)
    word = number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    values = np.zeros(length, np.uint8)
    place = 0
    while place < length:
        repeated = number(1)
        run = number(sizes[number(2)]) + 1
        words = 1 if repeated else run
        if at + words * word > len(bits) or place + run > length:
            raise ValueError("its run lengths are cut off")
        values[place : place + run] = bits[at : at + words * word].reshape(words, word) @ _POWERS[-word:]
        at += words * word
        place += run
    return values


_POWERS = 2 ** np.arange(31, -1, -1, dtype=np.int64)
