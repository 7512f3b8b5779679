"""Pascal VOC 2012 (Everingham et al., The Pascal Visual Object Classes challenge, IJCV 2015).

    DATA/JPEGImages/2007_000032.jpg
    DATA/SegmentationClass/2007_000032.png         palette PNG: 0 background, 1..20 objects, 255 border and "difficult"
    DATA/ImageSets/Segmentation/train.txt  val.txt  trainval.txt  test.txt

DATA is VOCdevkit/VOC2012, or one of the folders above it. Only images that a list names are read (2,913 of 17,125);
trainval.txt is train.txt and val.txt together and not read beside them. A labelmap.txt of other classes, as CVAT and
Datumaro export it ("label:red,green,blue:parts:actions"), takes the place of the published 21, and masks may be colours
too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.layout import SPLITS, Layout, counted, found, not_read, table_in
from maskwright.datasets.formats.pairing import files_in
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample, Source
from maskwright.datasets.texts import read_text
from maskwright.errors import ClassTableError, EmptyDataError, PairingError, UnreadableFileError, listed
from maskwright.imaging.colors import color_codes, color_name

NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

BORDER = "#e0e0c0"
"""Entry 255 of the palette."""


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read Pascal VOC, or another set in its layout; see `layout.Reader`.

    Raises
    ------
    PairingError
        A listed image has no file or no mask (noted in `problems`, if it is a list).
    ClassTableError
        labelmap.txt has lines that are no label.
    """
    home = _home(root)
    if home is None:
        return None
    images, notes = files_in(home / "JPEGImages", problems)
    truth, more = files_in(home / "SegmentationClass", problems)
    notes += more
    samples: list[Sample] = []
    listed_names: set[str] = set()
    for split, path in _lists(home):
        names = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
        listed_names |= set(names)
        if masks and split == "test" and not any(name in truth for name in names):
            notes.append(f"{path.name}: {counted(len(names), 'image')} without published masks left out")
            continue
        for name in dict.fromkeys(names):
            place = _missing(name, images, truth if masks else None)
            if place is not None:
                _report(problems, path, name, home / place)
                continue
            samples.append(
                Sample(
                    id=f"{split}/{name}" if split else name,
                    image=Source(path=images[name]),
                    mask=Source(path=truth[name]) if masks else None,
                    split=split,
                )
            )
    if not samples and not problems:
        raise EmptyDataError(
            f"{home / 'ImageSets'} names no image that is there.", expected="Expected lists of images."
        )
    unused = len(images.keys() - listed_names)
    notes += [f"{counted(unused, 'image')} of JPEGImages are in no list for segmentation"] if unused else []
    return Layout(
        format="Pascal VOC",
        samples=tuple(samples),
        masks_folder=home / "SegmentationClass",
        table=table_in(root) or table_in(home),
        classes=_table(home, colored=masks and _colored([sample.mask for sample in samples if sample.mask])),
        notes=(
            found(root, "Pascal VOC", samples, masks=masks),
            *notes,
            *not_read(home, [home / name for name in ("JPEGImages", "SegmentationClass", "ImageSets")]),
        ),
    )


def colormap(index: int) -> tuple[int, int, int]:
    """The colour of an entry of VOC's palette: the index's bits, spread over red, green and blue (VOCcolormap.m)."""
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (index & 1) << place
        green |= (index >> 1 & 1) << place
        blue |= (index >> 2 & 1) << place
        index >>= 3
    return red, green, blue


def _home(root: Path) -> Path | None:
    for place in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if all((place / name).is_dir() for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")):
            return place
    return None


def _lists(home: Path) -> list[tuple[str | None, Path]]:
    """The lists with their splits; of a set that has none of train, val and test, all lists, without splits."""
    files = sorted((home / "ImageSets" / "Segmentation").glob("*.txt"))
    splits: list[tuple[str | None, Path]] = [(name, path) for name in SPLITS for path in files if path.stem == name]
    return splits or [(None, path) for path in files]


def _missing(name: str, images: Mapping[str, Path], truth: Mapping[str, Path] | None) -> str | None:
    """The folder that lacks the file of a listed name."""
    if name not in images:
        return "JPEGImages"
    return "SegmentationClass" if truth is not None and name not in truth else None


def _report(problems: list[Problem] | None, path: Path, name: str, place: Path) -> None:
    problem = Problem(
        level="error",
        kind="unpaired",
        files=(path,),
        what=f"{path} names {name}, and {place} has no file of that name.",
        remedy="Add the file, or remove the line.",
    )
    report(problems, problem, PairingError)


def _colored(masks: Sequence[Source]) -> bool:
    """Whether masks are stored as colours: then they are read by colours, also those that happen to be grey."""
    for mask in masks[:3]:
        try:
            header = mask.header()
        except UnreadableFileError:
            continue
        if header.channels == 3 and not header.palette:
            return True
    return False


def _table(home: Path, *, colored: bool) -> ClassTable:
    file = home / "labelmap.txt"
    labels = _labelmap(file) if file.is_file() else {name: colormap(index) for index, name in enumerate(NAMES)}
    unlabelled = [BORDER, *[_hex(color) for name, color in labels.items() if name == "void"]]
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=color, values=(_hex(color),) if colored else (index, _hex(color)))
            for index, (name, color) in enumerate(labels.items())
            if name != "void"
        ),
        unlabelled=tuple(dict.fromkeys(unlabelled)),
    )


def _labelmap(path: Path) -> dict[str, tuple[int, int, int]]:
    labels: dict[str, tuple[int, int, int]] = {}
    for line in read_text(path).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = rest.split(":")[0].split(",")
        if rest.split(":")[0].strip() == "":
            labels[name] = colormap(len(labels))
        elif len(numbers) == 3 and all(number.strip().isdecimal() and int(number) < 256 for number in numbers):
            labels[name] = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
        else:
            raise ClassTableError(
                f"{path} has the line {line!r}.",
                expected="Expected label:red,green,blue:parts:actions, such as car:128,0,0::.",
                remedy="Correct the line.",
                file=path,
            )
    if len(labels) < 2:
        raise ClassTableError(
            f"{path} has the labels {listed(list(labels)) or 'none'}.", expected="Expected two or more.", file=path
        )
    return labels


def _hex(color: tuple[int, int, int]) -> str:
    return color_name(int(color_codes(np.array(color, np.uint8))))
