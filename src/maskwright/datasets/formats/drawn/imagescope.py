"""Aperio ImageScope: an XML file for each slide or tile, as MoNuSeg and many sets of histology have them.

    DATA/Annotations/TCGA-18-5592.xml     <Annotations><Annotation Name="tumour" LineColor="65280">
                                            <Regions><Region NegativeROA="0"><Vertices><Vertex X="1.5" Y="20"/>...
    DATA/Tissue Images/TCGA-18-5592.tif   the image of the same stem, in any folder

Each layer (Annotation) is a class, later ones over earlier ones; layers without a name are one class, `foreground`. A
region with NegativeROA is cut out of what was drawn before. Pixels of no region are background (raw value 0).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from maskwright.datasets.formats.drawn.annotations import (
    DrawnHere,
    Entry,
    class_table,
    damaged,
    noting,
    samples_of,
    split_of,
    table_file,
)
from maskwright.datasets.formats.drawn.left_out import LeftOut, Size
from maskwright.datasets.formats.drawn.shapes import Polygon, Shape
from maskwright.datasets.formats.layout import Layout, found
from maskwright.datasets.formats.pairing import is_image, stem_of
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Source, natural
from maskwright.errors import DataError

_EXPECTED = "annotations of Aperio ImageScope"
_START = 4096
_UNNAMED = "foreground"
Label = tuple[str, int, tuple[int, int, int] | None]


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read annotations of ImageScope; see `layout.Reader` and the module.

    Raises
    ------
    DataError
        A file is damaged.
    PairingError
        An image is not there.
    """
    if not root.is_dir():
        return None
    first = next((path for path in root.rglob("*.xml") if path.name[0] != "."), None)
    if first is None or not _is_imagescope(first):
        return None
    files = sorted((path for path in root.rglob("*.xml") if path.name[0] != "."), key=lambda path: natural(str(path)))
    files = [path for path in files if _is_imagescope(path)]
    pictures: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if is_image(path) and "__MACOSX" not in path.parts:
            pictures[stem_of(path)].append(path)
    labels: dict[str, Label] = {}
    left = LeftOut()
    entries: list[Entry] = []
    for path in files:
        with noting(problems, path):
            entries.append(_entry(path, pictures.get(path.stem, []), labels, left, masks=masks))
    samples = samples_of(entries, problems)
    used = {path.stem for path in files}
    without = [name for name in pictures if name not in used]
    notes = [f"{len(without)} images without an XML file left out (first {without[0]})"] if without else []
    return Layout(
        format="ImageScope",
        samples=samples,
        masks_folder=files[0].parent,
        home=root,
        table=table_file(root),
        classes=class_table(list(labels.values()), background=0) if masks else None,
        notes=(
            found(root, "ImageScope", samples, masks=masks),
            *left.notes(root, problems),
            *notes,
            *(["pixels of no region are the class 'background' (raw value 0)"] if masks else []),
        ),
    )


def _is_imagescope(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return b"<Annotations" in start and b"<Annotation " in start


def _entry(path: Path, images: list[Path], labels: dict[str, Label], left: LeftOut, *, masks: bool) -> Entry:
    image = Source(path=images[0]) if len(images) == 1 else None
    if len(images) > 1:
        raise DataError(
            f"{path} may describe {images[0]} or {images[1]}.",
            expected="Expected one image of its stem.",
            remedy="Move the other elsewhere.",
            file=path,
        )
    mask = None
    if masks and image is not None:
        size = image.header().shape
        mask = DrawnHere(path=path, size=size, shapes=_shapes(path, labels, size, left))
    split = next((split for part in path.parts[::-1] if (split := split_of(part)) is not None), None)
    return Entry(name=path.stem, image=image, mask=mask, split=split, file=path)


def _shapes(path: Path, labels: dict[str, Label], size: Size, left: LeftOut) -> tuple[tuple[int, Shape], ...]:
    shapes: list[tuple[int, Shape]] = []
    try:
        for _, layer in ElementTree.iterparse(path):
            if layer.tag != "Annotation":
                continue
            name = (layer.get("Name") or "").strip() or _UNNAMED
            value = labels.setdefault(name, (name, len(labels) + 1, _color(layer.get("LineColor"))))[1]
            for region in layer.iter("Region"):
                corners = [(float(v.get("X", "")), float(v.get("Y", ""))) for v in region.iter("Vertex")]
                where = f"region {region.get('Id')} of {path.name}"
                try:
                    shape = Polygon.of([number for corner in corners for number in corner])
                except ValueError:
                    left.lose("regions without an area", where)
                    continue
                if left.draw((shape,), size, where):
                    shapes.append((0 if region.get("NegativeROA") == "1" else value, shape))
            layer.clear()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise damaged(path, str(error), _EXPECTED) from None
    return tuple(shapes)


def _color(text: str | None) -> tuple[int, int, int] | None:
    """The colour of a layer, which ImageScope writes as blue, green and red in one number."""
    if text is None or not text.isdecimal() or int(text) > 0xFFFFFF:
        return None
    number = int(text)
    return number & 255, number >> 8 & 255, number >> 16
