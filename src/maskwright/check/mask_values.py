"""The values of masks: those that no class stands for, with their likely cause, and signs of smoothing and JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from maskwright.check.edges import seems_smoothed
from maskwright.check.scan_result import MOST_VALUES, TRAINING, Count, Labels, ScanResult
from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable
from maskwright.datasets.problems import Problem
from maskwright.errors import listed
from maskwright.imaging.colors import color_codes, color_name, color_rgb

__all__ = [
    "Diagnosis",
    "diagnose",
    "everything_unlabelled",
    "interpolated_masks",
    "jpeg_masks",
    "seems_interpolated",
    "undeclared_values",
]

Cause = Literal["color", "color-off", "jpeg", "off-by-one", "binary", "interpolated", "lossy", "stray", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong with the values of a mask."""

    cause: Cause
    text: str
    """The likely cause, in words."""
    remedy: str
    pixels: int
    """Pixels that cannot be read as they are meant."""
    certain: bool = False
    """Whether the meant classes can be told from the values alone."""


def undeclared_values(scanned: ScanResult) -> list[Problem]:
    """Masks with values that no class stands for: training refuses them."""
    if not scanned.settled.certain:
        return []
    problems = []
    for sample, labels in scanned.labels:
        found = diagnose(labels, scanned)
        if found is None:
            continue
        path = scanned.mask_path(sample)
        strange = _strange(labels, scanned)
        values = listed([f"{count.value} ({count.pixels} pixels)" for count in strange], 6)
        held = f"{path.name} holds {_values(len(strange), labels)} that no class stands for: {values}."
        what = f"{held} Likely cause: {found.text}." if strange else f"{path.name}: {found.text}."
        problems.append(
            Problem(
                level="error",
                kind="undeclared-values",
                files=(path,),
                what=what,
                remedy=found.remedy,
                sample=sample.id,
                numbers={"pixels": found.pixels, "share": found.pixels / (labels.shape[0] * labels.shape[1])},
            )
        )
    return problems


def diagnose(labels: Labels, scanned: ScanResult) -> Diagnosis | None:
    """Why a mask holds values that no class stands for; None if it holds none."""
    table = scanned.table
    strange = _strange(labels, scanned)
    pixels = sum(count.pixels for count in strange)
    integers = sorted(v for item in table.classes for v in item.values if isinstance(v, int))
    if not strange:
        return _zero_255(labels, scanned)
    if labels.colored and integers:
        return _colors(table, labels, pixels)
    if labels.colored and not labels.jpeg:
        off = _colors_off(table, strange, pixels)
        if off is not None:
            return off
    values = [count.value for count in labels.counts if isinstance(count.value, int) and count.value != UNLABELLED]
    if labels.jpeg:
        return Diagnosis(
            cause="jpeg",
            text="it is a JPEG, whose compression changes values",
            remedy="Export the mask again as PNG, from what it was drawn in; saving the JPEG as PNG changes nothing"
            + ("; check --fix takes the nearer class." if _gap(integers) >= 32 else "."),
            pixels=pixels,
            certain=_gap(integers) >= 32,
        )
    if _is_off_by_one(values, integers):
        return Diagnosis(
            cause="off-by-one",
            text=f"off by one, classes counted from 1: it holds {min(values)} to {max(values)}, the classes are "
            f"{integers[0]} to {integers[-1]}",
            remedy="Subtract 1 from the mask (check --fix does where it is certain).",
            pixels=labels.shape[0] * labels.shape[1],
            certain=len(set(values)) >= 3 or len(integers) == 2,
        )
    if set(integers) == {0, 255} and set(values) == {0, 1}:
        return Diagnosis(
            cause="binary",
            text="it holds 0 and 1 where the others hold 0 and 255",
            remedy="Multiply the mask by 255 (check --fix does).",
            pixels=pixels,
            certain=True,
        )
    return _mixtures(labels, strange, integers, pixels)


def _mixtures(labels: Labels, strange: list[Count], integers: list[int], pixels: int) -> Diagnosis:
    """Values that smoothing or compression made, or that someone meant."""
    flat = sum(count.flat for count in strange) / pixels
    between = sum(count.between for count in strange) / pixels
    gap = _gap(integers)
    known = np.array(integers or [0])
    distance = np.array([np.abs(known - c.value).min() if isinstance(c.value, int) else 0 for c in strange])
    close = sum(c.pixels for c, d in zip(strange, distance.tolist(), strict=True) if d <= gap / 8) / pixels
    size = labels.shape[0] * labels.shape[1]
    share = f"{pixels / size:.1%}"
    again = "Export the mask again as PNG without smoothing (nearest neighbour, no anti-aliasing)"
    if gap >= 32 and close > 0.6 and len(strange) > 8:
        return Diagnosis(
            cause="lossy",
            text=f"lossy compression: {share} of the pixels scatter round the class values, as if the mask had been "
            "a JPEG",
            remedy="Export the mask again as PNG, from what it was drawn in (check --fix takes the nearest value).",
            pixels=pixels,
            certain=True,
        )
    if flat < 0.05 and (labels.colored or between > 0.7):
        return Diagnosis(
            cause="interpolated",
            text=f"interpolated: {share} of the pixels lie between classes, next to edges",
            remedy=f"{again}; check --fix takes the nearer of two classes, and leaves pixels between more unlabelled.",
            pixels=pixels,
            # Between two classes the nearer is the one that was there; of several, too much would be lost.
            certain=len(integers) == 2 or pixels < 0.25 * size,
        )
    declare = f"Correct the mask, or declare the values in {CLASSES_FILE}."
    if set(integers) == {0, 255}:
        return Diagnosis(
            cause="stray", text=f"0/255 with other values, in {share} of the pixels", remedy=declare, pixels=pixels
        )
    missing = "a class that is missing in the class table, or a slip of the pen"
    return Diagnosis(cause="unknown", text=missing, remedy=declare, pixels=pixels)


def _colors_off(table: ClassTable, strange: list[Count], pixels: int) -> Diagnosis | None:
    """Colours that lie a few levels beside a class's, and far from every other's: another program wrote them so."""
    known = np.array([color_rgb(v) for item in table.classes for v in item.values if isinstance(v, str)], np.int64)
    if len(known) < 2:
        return None
    worst = 0
    for count in strange:
        if not isinstance(count.value, str):
            return None
        nearest, second = np.sort(np.abs(known - np.array(color_rgb(count.value))).max(axis=1))[:2].tolist()
        if nearest > _FEW_LEVELS or second < 4 * nearest:
            return None
        worst = max(worst, nearest)
    return Diagnosis(
        cause="color-off",
        text=f"colours a few levels off: each lies within {worst} of exactly one class's",
        remedy="Export the mask again with the exact colours (check --fix takes the nearest).",
        pixels=pixels,
        certain=True,
    )


_FEW_LEVELS = 12


def _colors(table: ClassTable, labels: Labels, pixels: int) -> Diagnosis:
    palette = {color_name(int(code)) for code in color_codes(table.colors)}
    if len(palette) == len(table) and {count.value for count in labels.counts} <= palette | {"#ffffff"}:
        return Diagnosis(
            cause="color",
            text="a colour mask: it holds the classes' colours instead of their values",
            remedy="Export class indices instead of colours (check --fix translates them).",
            pixels=pixels,
            certain=True,
        )
    return Diagnosis(
        cause="color",
        text="a colour mask, where the classes are numbers",
        remedy=f'Export class indices, or add the colours to the classes in {CLASSES_FILE}: value = [0, "#rrggbb"].',
        pixels=pixels,
    )


def _zero_255(labels: Labels, scanned: ScanResult) -> Diagnosis | None:
    """A mask of 0 and 255 among masks of 0 and 1: its foreground would silently count as unlabelled."""
    table = scanned.table
    if len(table) != 2 or scanned.index(UNLABELLED) != UNLABELLED or scanned.index(1) != 1:
        return None
    held = {count.value for count in labels.counts}
    # 255 beside 1 in some mask means unlabelled there, and so, it may be, here.
    if held != {0, 255} or scanned.has_1_beside_255:
        return None
    (pixels,) = (count.pixels for count in labels.counts if count.value == 255)
    return Diagnosis(
        cause="binary",
        text="it holds only 0 and 255 where the others hold 0 and 1: its foreground would count as unlabelled",
        remedy="Divide the mask by 255 (check --fix does).",
        pixels=pixels,
        certain=True,
    )


def _strange(labels: Labels, scanned: ScanResult) -> list[Count]:
    return [count for count in labels.counts if scanned.index(count.value) is None]


def _is_off_by_one(values: list[int], integers: list[int]) -> bool:
    """Whether the values are the classes' 0..K-1, counted from 1: K is there, 0 is not."""
    counted = integers == list(range(len(integers)))
    return counted and bool(values) and min(values) >= 1 and max(values) == len(integers)


def _gap(integers: list[int]) -> int:
    """The least distance of two class values."""
    return min((b - a for a, b in pairwise(integers)), default=0)


def _values(count: int, labels: Labels) -> str:
    if labels.distinct > MOST_VALUES:
        return f"{labels.distinct} values, many of them"
    return "1 value" if count == 1 else f"{count} values"


def everything_unlabelled(scanned: ScanResult) -> list[Problem]:
    """A set without one labelled pixel to train on."""
    labels = [(sample, one) for sample, one in scanned.labels if sample.split in TRAINING]
    if not labels or scanned.split_pixels(TRAINING).sum() > 0:
        return []
    if any(scanned.index(count.value) is None for _, one in labels for count in one.counts):
        return []  # said of each mask already
    return [
        Problem(
            level="error",
            kind="everything-unlabelled",
            files=tuple(scanned.mask_path(sample) for sample, _ in labels),
            what=f"All {len(labels)} training masks are unlabelled everywhere: there is nothing to learn from.",
            remedy="Are these the right masks? If 255 is a class here, say so in classes.toml (in a masks folder), or "
            "rename the labels folder to masks.",
        )
    ]


def jpeg_masks(scanned: ScanResult) -> list[Problem]:
    """Masks stored as JPEG, whatever their suffix; those that hold undeclared values are reported as such."""
    return [
        Problem(
            level="warning",
            kind="jpeg-mask",
            files=(scanned.mask_path(sample),),
            what=f"{scanned.mask_path(sample).name} is a JPEG: its compression changes class values next to edges.",
            remedy="Export the mask as PNG, from what it was drawn in.",
            sample=sample.id,
        )
        for sample, labels in scanned.labels
        if labels.jpeg and diagnose(labels, scanned) is None
    ]


def interpolated_masks(scanned: ScanResult) -> list[Problem]:
    """Masks smoothed between class indices, so that edges between 2 and 5 hold the classes 3 and 4."""
    problems = []
    for sample, labels in scanned.labels:
        if not seems_interpolated(labels) or diagnose(labels, scanned) is not None:
            continue
        share = labels.ramps / labels.edges
        path = scanned.mask_path(sample)
        problems.append(
            Problem(
                level="warning",
                kind="interpolated-mask",
                files=(path,),
                what=f"{path.name} seems interpolated: {share:.0%} of its edge pixels lie between the values of their "
                "neighbours, so that edges hold classes that are not there.",
                remedy="Export or resize the mask again with nearest neighbour (check --fix leaves such pixels "
                "unlabelled).",
                sample=sample.id,
                numbers={"share": share},
            )
        )
    return problems


def seems_interpolated(labels: Labels) -> bool:
    """Whether far more edge pixels lie between the values of their neighbours than in a drawn mask."""
    return seems_smoothed(labels.ramps, labels.edges)
