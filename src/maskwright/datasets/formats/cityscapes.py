"""Cityscapes (Cordts et al., The Cityscapes dataset for semantic urban scene understanding, arXiv 1604.01685).

    DATA/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png      2,975 in train, 500 in val, 1,525 in test
    DATA/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png       34 labels, of which 19 are evaluated
    DATA/gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png  or, where cityscapesScripts made them, these

The class table is that of cityscapesScripts (helpers/labels.py): labels become the 19 trainIds, in their order; all
others are unlabelled. A frame's group is its city, which the published splits do not divide either. The published test
masks hold no labels, so that test is left out where masks are needed.
"""

from __future__ import annotations

from pathlib import Path

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.folder import child
from maskwright.datasets.formats.layout import SPLITS, Layout, counted, found, not_read, table_in
from maskwright.datasets.formats.pairing import is_image
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample, Source
from maskwright.datasets.sources import natural
from maskwright.errors import EmptyDataError, PairingError, listed

_LABELS = {
    "road": (7, (128, 64, 128)), "sidewalk": (8, (244, 35, 232)), "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)), "fence": (13, (190, 153, 153)), "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)), "traffic sign": (20, (220, 220, 0)), "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)), "sky": (23, (70, 130, 180)), "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)), "car": (26, (0, 0, 142)), "truck": (27, (0, 0, 70)), "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)), "motorcycle": (32, (0, 0, 230)), "bicycle": (33, (119, 11, 32)),
}  # fmt: skip
"""Names, label ids and colours, in the order of trainIds 0..18."""

_NOT_EVALUATED = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, -1)
_IMAGE = "_leftImg8bit"


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read Cityscapes; see `layout.Reader`.

    Raises
    ------
    PairingError
        A frame has no mask (noted in `problems`, if it is a list).
    EmptyDataError
        There are no frames in the published folders.
    """
    frames_folder, truth_folder = child(root, "leftimg8bit"), child(root, "gtfine")
    if frames_folder is None or (masks and truth_folder is None):
        return None
    ending = _ending(truth_folder) if masks and truth_folder else ""
    samples: list[Sample] = []
    notes: list[str] = []
    for split in SPLITS:
        frames = _frames(frames_folder / split)
        if masks and split == "test" and frames:
            notes.append(f"test: {counted(len(frames), 'image')} without published labels left out")
            continue
        for path in frames:
            name, city = path.stem.removesuffix(_IMAGE), path.parent.name
            mask = truth_folder / split / city / f"{name}_gtFine_{ending}.png" if masks and truth_folder else None
            if mask is not None and not mask.is_file():
                _report(problems, path, mask)
                continue
            source = Source(path=mask) if mask else None
            samples.append(Sample(id=f"{split}/{name}", image=Source(path=path), mask=source, group=city, split=split))
    if not samples and not problems:
        raise EmptyDataError(
            f"{frames_folder} holds no frame that can be used.",
            expected=f"Expected {frames_folder / 'train' / 'CITY'}/*{_IMAGE}.png.",
        )
    cities = sorted({str(sample.group) for sample in samples})
    notes.append(f"group: the city, {counted(len(cities), 'group')} ({listed(cities)})")
    notes += [f"masks are *_gtFine_{ending}.png"] if masks else []
    return Layout(
        format="Cityscapes",
        samples=tuple(samples),
        masks_folder=truth_folder or frames_folder,
        table=table_in(root),
        classes=_table(ending),
        notes=(
            found(root, "Cityscapes", samples, masks=masks),
            *notes,
            *not_read(root, [path for path in (frames_folder, truth_folder) if path]),
        ),
    )


def _frames(folder: Path) -> list[Path]:
    """The frames of a split, by city and name."""
    if not folder.is_dir():
        return []
    cities = [city for city in folder.iterdir() if city.is_dir()]
    frames = [path for city in cities for path in city.iterdir() if is_image(path) and path.stem.endswith(_IMAGE)]
    return sorted(frames, key=lambda path: natural(path.name))


def _ending(truth: Path) -> str:
    """Which masks there are: "labelIds" as published, or "labelTrainIds"."""
    published = any(True for _ in truth.glob("*/*/*_gtFine_labelIds.png"))
    converted = any(True for _ in truth.glob("*/*/*_gtFine_labelTrainIds.png"))
    return "labelTrainIds" if converted and not published else "labelIds"


def _report(problems: list[Problem] | None, path: Path, mask: Path) -> None:
    problem = Problem(
        level="error",
        kind="unpaired",
        files=(path,),
        what=f"{path} has no mask {mask}.",
        remedy="Unpack gtFine_trainvaltest.zip beside leftImg8bit, or remove the frame.",
    )
    report(problems, problem, PairingError)


def _table(ending: str) -> ClassTable:
    converted = ending == "labelTrainIds"
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=color, values=(index if converted else label,))
            for index, (name, (label, color)) in enumerate(_LABELS.items())
        ),
        unlabelled=() if converted else _NOT_EVALUATED,
    )
