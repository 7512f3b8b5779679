"""CVAT for images 1.1: one XML file with the shapes of all images (docs.cvat.ai/docs/other/xml_format).

    DATA/annotations.xml     <annotations><meta>... <label><name>, <color>...</meta>
                               <image name="a.jpg" subset="train" width="640" height="480">
                                 <polygon label="car" points="x,y;x,y;..." z_order="0"/>
                                 <box xtl ytl xbr ybr rotation/> <ellipse cx cy rx ry rotation/>
                                 <mask rle="3, 5, ..." left top width height/>
    DATA/images/a.jpg        or beside the XML file, or in folders of subsets

Polygons, boxes, ellipses and masks cover pixels: those of a higher `z_order` over those of a lower, and of the same,
later ones over earlier ones. A mask's run lengths go along the rows of its own rectangle. Polylines, points, skeletons
and cuboids are left out. Pixels of no shape are background (raw value 0); the labels are 1, 2, ... in their order.
A folder that has `masks/` too is not read as CVAT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from maskwright.datasets.formats.drawn.annotations import (
    DrawnHere,
    Entry,
    Folders,
    class_table,
    damaged,
    noting,
    samples_of,
    split_of,
    table_file,
    unused_notes,
)
from maskwright.datasets.formats.drawn.left_out import LeftOut
from maskwright.datasets.formats.drawn.shapes import Ellipse, Polygon, Runs, Shape
from maskwright.datasets.formats.layout import Layout, found
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Source
from maskwright.errors import DataError
from maskwright.imaging.colors import color_rgb

_EXPECTED = "CVAT for images 1.1"
_START = 4096
Label = tuple[str, int, tuple[int, int, int] | None]


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read a CVAT export; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        The file is damaged, or of CVAT for video.
    PairingError
        Images are not there, or described twice.
    """
    path = _annotation_file(root)
    if path is None:
        return None
    at = path.parent
    inner = [child for folder in (at / "images", at) if folder.is_dir() for child in sorted(folder.iterdir())]
    folders = Folders([at / "images", at, *(child for child in inner if child.is_dir())])
    left = LeftOut()
    labels, entries = _parse(path, folders, left, problems, masks=masks)
    samples = samples_of(entries, problems)
    notes = left.notes(root, problems)
    notes += unused_notes(folders, [sample.image.path for sample in samples], f"an entry in {path.name}")
    notes += ["pixels of no shape are the class 'background' (raw value 0)"] if masks else []
    return Layout(
        format="CVAT",
        samples=samples,
        masks_folder=at,
        home=at,
        table=table_file(at),
        classes=class_table(labels, background=0) if masks else None,
        notes=(found(root, "CVAT", samples, masks=masks), *notes),
    )


def _annotation_file(root: Path) -> Path | None:
    if root.is_file():
        paths = [root] if root.suffix.lower() == ".xml" else []
    else:
        paths = sorted(root.glob("*.xml"))[:2] if root.is_dir() and not (root / "masks").is_dir() else []
    if len(paths) != 1:
        return None
    with paths[0].open("rb") as file:
        start = file.read(_START)
    return paths[0] if b"<annotations" in start and (b"<meta" in start or b"<image " in start) else None


def _parse(
    path: Path, folders: Folders, left: LeftOut, problems: list[Problem] | None, *, masks: bool
) -> tuple[list[Label], list[Entry]]:
    labels: dict[str, Label] = {}
    entries: list[Entry] = []
    tracks = 0
    try:
        for _, element in ElementTree.iterparse(path):
            if element.tag == "label" and element.find("parent") is None and (name := element.findtext("name")):
                labels.setdefault(name, (name, len(labels) + 1, _color(element.findtext("color") or "")))
            elif element.tag == "image":
                with noting(problems, path):
                    entries.append(_entry(path, element, labels, folders, left, masks=masks))
                element.clear()
            tracks += element.tag == "track"
    except (ElementTree.ParseError, OSError) as error:
        raise damaged(path, str(error), _EXPECTED) from None
    if tracks:
        raise DataError(
            f"{path} has {tracks} tracks: it is of CVAT for video.",
            expected="Expected CVAT for images 1.1, with every frame's shapes.",
            remedy="Export the task again in that format.",
            file=path,
        )
    return list(labels.values()), entries


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        return color_rgb(text.strip().lower())
    except ValueError:
        return None


def _entry(
    path: Path,
    image: ElementTree.Element,
    labels: dict[str, Label],
    folders: Folders,
    left: LeftOut,
    *,
    masks: bool,
) -> Entry:
    name = image.get("name", "")
    subset = image.get("subset", "")
    found_at = (folders.find(f"{subset}/{name}") if subset else None) or folders.find(name)
    try:
        size = int(image.attrib["height"]), int(image.attrib["width"])
    except (ValueError, KeyError):
        raise damaged(path, f"the image {name!r} has no width and height", _EXPECTED) from None
    layers: list[tuple[int, int, Shape]] = []
    for element in image if masks else ():
        label = element.get("label", "")
        reader = _READERS.get(element.tag)
        if reader is None:
            if element.tag != "tag":
                left.add(f"shapes of type {element.tag}, which cover no pixels", f"{name} in {path}")
            continue
        where = f"{name} in {path}"
        if not label.strip():
            left.lose("it has no label", where)
            continue
        labels.setdefault(label, (label, len(labels) + 1, None))
        try:
            order, shape = int(element.get("z_order", "0")), reader(element.attrib)
        except (ValueError, KeyError, OverflowError) as error:
            left.lose(f"its {element.tag} is damaged", f"{where} ({label!r}: {error})")
            continue
        if left.draw((shape,), size, where):
            layers.append((order, labels[label][1], shape))
    layers.sort(key=lambda layer: layer[0])
    mask = DrawnHere(path=path, size=size, shapes=tuple((value, shape) for _, value, shape in layers))
    return Entry(
        name=name,
        image=None if found_at is None else Source(path=found_at),
        mask=mask if masks else None,
        split=split_of(subset) or (split_of(name.split("/")[0]) if "/" in name else None),
        file=path,
    )


def _polygon(given: Mapping[str, str]) -> Shape:
    corners = [corner.split(",") for corner in given["points"].split(";") if corner.strip()]
    return Polygon.of([[float(part) for part in corner] for corner in corners])


def _box(given: Mapping[str, str]) -> Shape:
    left, top, right, bottom = (float(given[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    return Polygon.box(left, top, right, bottom, degrees=float(given.get("rotation", 0)))


def _ellipse(given: Mapping[str, str]) -> Shape:
    x, y, across, down = (float(given[name]) for name in ("cx", "cy", "rx", "ry"))
    return Ellipse.of(x, y, across, down, float(given.get("rotation", 0)))


def _mask(given: Mapping[str, str]) -> Shape:
    left, top, width, height = (int(float(given[name])) for name in ("left", "top", "width", "height"))
    counts = np.array([int(part) for part in given["rle"].split(",")], np.int64)
    return Runs.of(counts, top, left, height, width, by_columns=False)


_READERS: dict[str, Callable[[Mapping[str, str]], Shape]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}
