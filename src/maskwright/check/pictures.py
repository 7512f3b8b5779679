"""Small pictures of findings: the image under its mask, with the offending pixels or places marked.

A rule names one of the `Draw` functions here (`audit.RULES`).

Legend: H, W height and width of the original; h, w those of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskwright.check.edges import ramps_of
from maskwright.check.mask_values import diagnose
from maskwright.check.measure import find_spots, to_keys
from maskwright.check.scan_result import ScanResult
from maskwright.datasets.classes import UNLABELLED_COLOR, Value
from maskwright.datasets.near_duplicates import TURNS
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample
from maskwright.errors import MaskwrightError
from maskwright.imaging.images import display, read_image
from maskwright.imaging.painting import RGB, data_address, encoded, outline, overlay, reduced, stripes

__all__ = [
    "Draw",
    "Originals",
    "Shot",
    "montage_picture",
    "offending_pixels",
    "outlines",
    "pair",
    "ringed_spots",
    "several_images",
    "side_by_side",
]

LONGEST = 320
"""Longest side of a picture in pixels."""
MARK = (255, 0, 200)
"""Offending pixels and places."""
LIES = (255, 59, 82)
"""Outlines of a mask as it lies."""
FITS = (40, 220, 90)
"""Outlines of a mask where it would fit."""

_DARK = 140
"""Grey level of the brightest pixels under which a picture is lit up."""
_DETAIL = 40
"""Side of the square of original pixels that is shown enlarged."""


@dataclass(frozen=True)
class Shot:
    """A picture and what it shows; `data` is a `data:` address."""

    caption: str
    data: str


@dataclass(frozen=True)
class Originals:
    """Where a finding's images and masks are found."""

    scanned: ScanResult

    def sample(self, problem: Problem) -> Sample | None:
        """The sample that a finding is about, by its name or by its first file."""
        if problem.sample is not None:
            return self._by_id.get(problem.sample)
        return self.with_file(problem.files[0]) if problem.files else None

    def with_file(self, path: Path) -> Sample | None:
        """The sample that a file belongs to; of several, the first."""
        return self._by_file.get(path)

    @cached_property
    def _by_id(self) -> dict[str, Sample]:
        return {sample.id: sample for sample in self.scanned.samples}

    @cached_property
    def _by_file(self) -> dict[Path, Sample]:
        found: dict[Path, Sample] = {}
        for sample in self.scanned.samples:
            for part in (sample.image, sample.mask):
                for path in part.files if part is not None else ():
                    found.setdefault(path, sample)
        return found


Draw = Callable[[Problem, Originals], list[Shot]]
"""Shows a finding; raises MaskwrightError where its files cannot be read."""


def pair(problem: Problem, originals: Originals) -> list[Shot]:
    """The image, and its mask laid over it; whichever can be read, if one cannot; files of no sample as they are."""
    sample = originals.sample(problem)
    if sample is None:
        return [shot for path in problem.files[:2] for shot in _file(path)]
    found = []
    photo_HW3 = None
    try:
        photo_HW3 = _photo(sample)
        found.append(Shot(f"image {sample.image.path.name}", _encode(photo_HW3)))
    except MaskwrightError:
        pass
    if sample.mask is not None:
        try:
            colors_HW3, labelled_HW = _colors(sample, originals.scanned)
        except MaskwrightError:
            return found
        if photo_HW3 is not None and photo_HW3.shape == colors_HW3.shape:
            found.append(Shot("under its mask", _encode(_blend(photo_HW3, colors_HW3, labelled_HW))))
        else:
            found.append(Shot(f"mask {sample.mask.path.name}", _encode(colors_HW3, nearest=True)))
    return found


def montage_picture(sample: Sample, scanned: ScanResult) -> str | None:
    """A picture of a pair for the montage: the image under its mask; None if it cannot be read."""
    try:
        photo_HW3 = _photo(sample)
        colors_HW3, labelled_HW = _colors(sample, scanned)
    except MaskwrightError:
        return None
    if colors_HW3.shape != photo_HW3.shape:
        return None
    return _encode(_blend(photo_HW3, colors_HW3, labelled_HW))


def side_by_side(problem: Problem, originals: Originals) -> list[Shot]:
    """Image and mask that cannot be laid over each other."""
    sample, scanned = originals.sample(problem), originals.scanned
    if sample is None:
        return []
    photo_HW3 = _photo(sample)
    colors_HW3, _ = _colors(sample, scanned)
    return [
        Shot(f"image, {_size(photo_HW3)}", _encode(photo_HW3)),
        Shot(f"mask, {_size(colors_HW3)}", _encode(colors_HW3, nearest=True)),
    ]


def outlines(problem: Problem, originals: Originals) -> list[Shot]:
    """Outlines of the mask as it lies, and where it would fit."""
    sample, scanned = originals.sample(problem), originals.scanned
    if sample is None:
        return []
    photo_HW3 = _photo(sample)
    colors_HW3, _ = _colors(sample, scanned)
    found = [Shot("outlines as they lie", _encode(_outlined(photo_HW3, colors_HW3, LIES)))]
    placement = next(one.placement for other, one in scanned.labels if other.id == sample.id)
    if problem.kind == "turned-mask" and placement is not None:
        better = np.ascontiguousarray(TURNS[placement.turn](colors_HW3))
        found.append(Shot(placement.turn, _encode(_outlined(photo_HW3, better, FITS))))
    elif problem.kind != "unrelated-mask":
        down, right = int(problem.numbers["down"]), int(problem.numbers["right"])
        moved = np.array([[1, 0, right], [0, 1, down]], np.float64)
        size = (colors_HW3.shape[1], colors_HW3.shape[0])
        better = np.asarray(
            cv2.warpAffine(colors_HW3, moved, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )
        found.append(Shot("moved", _encode(_outlined(photo_HW3, better, FITS))))
    return found


def offending_pixels(problem: Problem, originals: Originals) -> list[Shot]:
    """The mask, its offending pixels marked, and the place where most of them are."""
    sample, scanned = originals.sample(problem), originals.scanned
    if sample is None:
        return []
    assert sample.mask is not None, "the finding is about a mask"
    raw = sample.mask.read_mask()
    labels = next(one for other, one in scanned.labels if other.id == sample.id)
    if problem.kind == "interpolated-mask":
        marked_HW = ramps_of(raw)
    else:
        found = diagnose(labels, scanned)
        strange: set[Value] = {count.value for count in labels.counts if scanned.index(count.value) is None}
        if not strange and found is not None:
            strange = {255}
        mask = to_keys(raw)
        marked_HW = np.isin(mask.keys_HW, mask.of(strange))
    colors_HW3, _ = _colors(sample, scanned)
    shown = colors_HW3.copy()
    shown[marked_HW] = MARK
    result = [Shot("mask, offending pixels marked", _encode(_thick(shown, marked_HW)))]
    # Thin places are worth enlarging; regions are seen as they are.
    inner_HW = cv2.erode(marked_HW.astype(np.uint8), np.ones((3, 3), np.uint8))
    if 2 * int(inner_HW.sum()) < int(marked_HW.sum()):
        result.append(_detail("raw values, enlarged", _raw_picture(raw), marked_HW))
        result.append(_detail("the same place, marked", shown, marked_HW))
    return result


def ringed_spots(problem: Problem, originals: Originals) -> list[Shot]:
    """The pair with rings round its specks, and one enlarged."""
    sample, scanned = originals.sample(problem), originals.scanned
    if sample is None:
        return []
    assert sample.mask is not None, "the finding is about a mask"
    colors_HW3, labelled_HW = _colors(sample, scanned)
    _, found = find_spots(to_keys(sample.mask.read_mask()))
    marked_HW = np.zeros(colors_HW3.shape[:2], bool)
    for spot in found:
        marked_HW[spot.y, spot.x] = True
    photo_HW3 = _photo(sample)
    if photo_HW3.shape != colors_HW3.shape:
        photo_HW3 = colors_HW3
    blended = np.asarray(reduced(_blend(photo_HW3, colors_HW3, labelled_HW), LONGEST)).copy()
    factor = blended.shape[0] / colors_HW3.shape[0]
    for spot in found:
        center = (int((spot.x + 0.5) * factor), int((spot.y + 0.5) * factor))
        cv2.circle(blended, center, 7, MARK, 1, cv2.LINE_AA)
    shown = "" if len(found) >= problem.numbers.get("spots", 0) else f"{len(found)} of them "
    return [Shot(f"{shown}ringed", _encode(blended)), _detail("enlarged", colors_HW3, marked_HW)]


def several_images(problem: Problem, originals: Originals) -> list[Shot]:
    """The first images of a finding about several."""
    found = []
    for path in problem.files[:3]:
        sample = originals.with_file(path)
        if sample is not None:
            name = f"{sample.split}/{path.name}" if sample.split else path.name
            found.append(Shot(name, _encode(_photo(sample))))
    return found


def _file(path: Path) -> list[Shot]:
    try:
        return [Shot(path.name, _encode(_lit(display(read_image(path).pixels))))]
    except MaskwrightError:
        return []


def _photo(sample: Sample) -> RGB:
    """The image as human eyes see it."""
    return _lit(display(sample.image.read_image().pixels))


def _lit(photo_HW3: RGB) -> RGB:
    """A picture with its bright end at white, where it is so dark that nothing would be seen."""
    bright = float(np.quantile(photo_HW3[::4, ::4], 0.995))
    if not 0 < bright < _DARK:
        return photo_HW3
    return np.asarray(cv2.convertScaleAbs(photo_HW3, alpha=230 / bright), np.uint8)


def _colors(sample: Sample, scanned: ScanResult) -> tuple[RGB, NDArray[np.bool_]]:
    """A mask in class colours (`MARK` where no class stands for a value), and where it is labelled."""
    assert sample.mask is not None, "the finding is about a mask"
    mask = to_keys(sample.mask.read_mask())
    length = int(mask.keys_HW.max()) + 1
    colors, labelled = np.zeros((length, 3), np.uint8), np.zeros(length, bool)
    for key in np.flatnonzero(np.bincount(mask.keys_HW.ravel())).tolist():
        index = scanned.index(mask.value(key))
        known = index is not None and index < len(scanned.table)
        colors[key] = MARK if index is None else scanned.table.colors[index] if known else UNLABELLED_COLOR
        labelled[key] = index is None or known
    return colors[mask.keys_HW], labelled[mask.keys_HW]


def _blend(photo_HW3: RGB, colors_HW3: RGB, labelled_HW: NDArray[np.bool_]) -> RGB:
    """The mask half transparent over the image; striped where it is unlabelled."""
    width = max(2, max(labelled_HW.shape) // 60)
    blended = overlay(photo_HW3, colors_HW3, hidden_HW=~labelled_HW)
    striped_HW = ~labelled_HW & stripes(labelled_HW.shape, period=3 * width, width=width)
    blended[striped_HW] = (photo_HW3[striped_HW] * 0.5 + np.array(UNLABELLED_COLOR) * 0.5).astype(np.uint8)
    return blended


def _outlined(photo_HW3: RGB, colors_HW3: RGB, color: tuple[int, int, int]) -> RGB:
    """The reduced, darkened image with the outlines of a mask's regions."""
    photo_hw3 = (reduced(photo_HW3, LONGEST) * 0.8).astype(np.uint8)
    size = (photo_hw3.shape[1], photo_hw3.shape[0])
    codes_hw = cv2.resize(colors_HW3, size, interpolation=cv2.INTER_NEAREST).astype(np.int32) @ (1, 256, 65536)
    photo_hw3[outline(codes_hw)] = color
    return photo_hw3


def _detail(caption: str, picture_HW3: RGB, marked_HW: NDArray[np.bool_]) -> Shot:
    """The square with the most marked pixels, enlarged."""
    side = min(_DETAIL, *marked_HW.shape)
    density = cv2.boxFilter(marked_HW.astype(np.float32), -1, (side, side), borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(int(density.argmax()), density.shape)
    top = min(max(0, int(y) - side // 2), marked_HW.shape[0] - side)
    left = min(max(0, int(x) - side // 2), marked_HW.shape[1] - side)
    part = np.ascontiguousarray(picture_HW3[top : top + side, left : left + side])
    enlarged = cv2.resize(part, None, fx=LONGEST // side, fy=LONGEST // side, interpolation=cv2.INTER_NEAREST)
    return Shot(f"{caption} (from row {top}, column {left})", _encode(np.asarray(enlarged, np.uint8)))


def _raw_picture(raw: np.ndarray) -> RGB:
    """Raw values as greys from the lowest to the highest, or as the colours they are."""
    if raw.ndim == 3:
        return np.asarray(raw, np.uint8)
    low, high = float(raw.min()), float(raw.max())
    grey = np.rint((raw.astype(np.float32) - low) * (255 / max(high - low, 1))).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _thick(picture_HW3: RGB, marked_HW: NDArray[np.bool_]) -> RGB:
    """Reduce a picture so that single marked pixels stay visible."""
    small = reduced(picture_HW3, LONGEST).copy()
    fraction = cv2.resize(marked_HW.astype(np.float32), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    small[fraction > 0] = MARK
    return small


def _encode(picture_HW3: RGB, *, nearest: bool = False) -> str:
    return data_address(encoded(reduced(picture_HW3, LONGEST, nearest=nearest), "JPEG", quality=82))


def _size(picture_HW3: RGB) -> str:
    return f"{picture_HW3.shape[1]} × {picture_HW3.shape[0]}"
