"""Small pictures of findings: the image under its mask, with the offending place marked.

Legend: H, W height and width of the original; h, w those of the picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from maskwright.check.alignment import TURNS
from maskwright.check.causes import diagnose
from maskwright.check.masks import find_spots, ramps_of, to_keys
from maskwright.check.surveyed import Surveyed
from maskwright.datasets.classes import UNLABELLED_COLOR, Value
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample
from maskwright.errors import MaskwrightError
from maskwright.imaging.images import display, read_image

__all__ = ["Shot", "overlay", "shots"]

RGB = NDArray[np.uint8]

LONGEST = 320
"""Longest side of a picture in pixels."""
MARK = (255, 0, 200)
"""Offending pixels and places."""
LIES = (255, 59, 82)
"""Outlines of a mask as it lies."""
FITS = (40, 220, 90)
"""Outlines of a mask where it would fit."""

_OPACITY = 0.5
_DARK = 140
"""Grey level of the brightest pixels under which a picture is lit up."""
_DETAIL = 40
"""Side of the square of original pixels that is shown enlarged."""


@dataclass(frozen=True)
class Shot:
    """A picture and what it shows; `data` is a `data:` address."""

    caption: str
    data: str


def shots(problem: Problem, surveyed: Surveyed, by_id: dict[str, Sample], by_file: dict[Path, Sample]) -> list[Shot]:
    """Pictures of one finding; none where nothing can be read."""
    sample = by_id.get(problem.sample) if problem.sample is not None else None
    draw = _DRAWN.get(problem.kind)
    try:
        if draw is not None and sample is not None:
            return draw(problem, sample, surveyed)
        if problem.kind in _SIDE_BY_SIDE:
            return _side_by_side(problem, by_file)
        if sample is None and problem.files:
            sample = by_file.get(problem.files[0])
        if sample is not None:
            return _pair(sample, surveyed)
        return _files(problem.files[:2])
    except MaskwrightError:
        return []


def overlay(sample: Sample, surveyed: Surveyed) -> str | None:
    """A picture of a pair for the montage: the image under its mask; None if it cannot be read."""
    try:
        photo_HW3 = _photo(sample)
        colors_HW3, labelled_HW = _colors(sample, surveyed)
    except MaskwrightError:
        return None
    if colors_HW3.shape != photo_HW3.shape:
        return None
    return _encode(_blend(photo_HW3, colors_HW3, labelled_HW))


def _pair(sample: Sample, surveyed: Surveyed) -> list[Shot]:
    """The image, and its mask laid over it; whichever can be read, if one cannot."""
    found = []
    photo_HW3 = None
    try:
        photo_HW3 = _photo(sample)
        found.append(Shot(f"image {sample.image.path.name}", _encode(photo_HW3)))
    except MaskwrightError:
        pass
    if sample.mask is not None:
        try:
            colors_HW3, labelled_HW = _colors(sample, surveyed)
        except MaskwrightError:
            return found
        if photo_HW3 is not None and photo_HW3.shape == colors_HW3.shape:
            found.append(Shot("under its mask", _encode(_blend(photo_HW3, colors_HW3, labelled_HW))))
        else:
            found.append(Shot(f"mask {sample.mask.path.name}", _encode(colors_HW3, nearest=True)))
    return found


def _apart(problem: Problem, sample: Sample, surveyed: Surveyed) -> list[Shot]:
    """Image and mask that cannot be laid over each other."""
    photo_HW3 = _photo(sample)
    colors_HW3, _ = _colors(sample, surveyed)
    return [
        Shot(f"image, {_size(photo_HW3)}", _encode(photo_HW3)),
        Shot(f"mask, {_size(colors_HW3)}", _encode(colors_HW3, nearest=True)),
    ]


def _placed(problem: Problem, sample: Sample, surveyed: Surveyed) -> list[Shot]:
    """Outlines of the mask as it lies, and where it would fit."""
    photo_HW3 = _photo(sample)
    colors_HW3, _ = _colors(sample, surveyed)
    found = [Shot("outlines as they lie", _encode(_outlined(photo_HW3, colors_HW3, LIES)))]
    placement = next(one.placement for other, one in surveyed.labels if other.id == sample.id)
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


def _strange_values(problem: Problem, sample: Sample, surveyed: Surveyed) -> list[Shot]:
    """The mask, its offending pixels marked, and the place where most of them are."""
    assert sample.mask is not None, "the finding is about a mask"
    raw = sample.mask.read_mask()
    labels = next(one for other, one in surveyed.labels if other.id == sample.id)
    if problem.kind == "interpolated-mask":
        marked_HW = ramps_of(raw)
    else:
        found = diagnose(labels, surveyed)
        strange: set[Value] = {count.value for count in labels.counts if surveyed.index(count.value) is None}
        if not strange and found is not None:
            strange = {255}
        mask = to_keys(raw)
        marked_HW = np.isin(mask.keys_HW, mask.of(strange))
    colors_HW3, _ = _colors(sample, surveyed)
    shown = colors_HW3.copy()
    shown[marked_HW] = MARK
    result = [Shot("mask, offending pixels marked", _encode(_thick(shown, marked_HW)))]
    # Thin places are worth enlarging; regions are seen as they are.
    inner_HW = cv2.erode(marked_HW.astype(np.uint8), np.ones((3, 3), np.uint8))
    if 2 * int(inner_HW.sum()) < int(marked_HW.sum()):
        result.append(_detail("raw values, enlarged", _raw_picture(raw), marked_HW))
        result.append(_detail("the same place, marked", shown, marked_HW))
    return result


def _spots(problem: Problem, sample: Sample, surveyed: Surveyed) -> list[Shot]:
    """The pair with rings round its specks, and one enlarged."""
    assert sample.mask is not None, "the finding is about a mask"
    colors_HW3, labelled_HW = _colors(sample, surveyed)
    _, found = find_spots(to_keys(sample.mask.read_mask()))
    marked_HW = np.zeros(colors_HW3.shape[:2], bool)
    for spot in found:
        marked_HW[spot.y, spot.x] = True
    photo_HW3 = _photo(sample)
    if photo_HW3.shape != colors_HW3.shape:
        photo_HW3 = colors_HW3
    blended = np.asarray(_reduced(_blend(photo_HW3, colors_HW3, labelled_HW))).copy()
    factor = blended.shape[0] / colors_HW3.shape[0]
    for spot in found:
        center = (int((spot.x + 0.5) * factor), int((spot.y + 0.5) * factor))
        cv2.circle(blended, center, 7, MARK, 1, cv2.LINE_AA)
    shown = "" if len(found) >= problem.numbers.get("spots", 0) else f"{len(found)} of them "
    return [Shot(f"{shown}ringed", _encode(blended)), _detail("enlarged", colors_HW3, marked_HW)]


def _side_by_side(problem: Problem, by_file: dict[Path, Sample]) -> list[Shot]:
    """The first images of a finding about several."""
    found = []
    for path in problem.files[:3]:
        sample = by_file.get(path)
        if sample is not None:
            name = f"{sample.split}/{path.name}" if sample.split else path.name
            found.append(Shot(name, _encode(_photo(sample))))
    return found


def _files(files: Sequence[Path]) -> list[Shot]:
    found = []
    for path in files:
        try:
            found.append(Shot(path.name, _encode(_lit(display(read_image(path).pixels)))))
        except MaskwrightError:
            continue
    return found


_DRAWN: dict[str, Callable[[Problem, Sample, Surveyed], list[Shot]]] = {
    "size-mismatch": _apart,
    "exif-mismatch": _apart,
    "shifted-mask": _placed,
    "shifted-masks": _placed,
    "turned-mask": _placed,
    "unrelated-mask": _placed,
    "undeclared-values": _strange_values,
    "interpolated-mask": _strange_values,
    "speckle": _spots,
    "holes": _spots,
}
_SIDE_BY_SIDE = {"same-image", "near-duplicate", "repeated-image", "same-group"}


def _photo(sample: Sample) -> RGB:
    """The image as human eyes see it."""
    return _lit(display(sample.image.read_image().pixels))


def _lit(photo_HW3: RGB) -> RGB:
    """A picture with its bright end at white, where it is so dark that nothing would be seen."""
    bright = float(np.quantile(photo_HW3[::4, ::4], 0.995))
    if not 0 < bright < _DARK:
        return photo_HW3
    return np.asarray(cv2.convertScaleAbs(photo_HW3, alpha=230 / bright), np.uint8)


def _colors(sample: Sample, surveyed: Surveyed) -> tuple[RGB, NDArray[np.bool_]]:
    """A mask in class colours (`MARK` where no class stands for a value), and where it is labelled."""
    assert sample.mask is not None, "the finding is about a mask"
    mask = to_keys(sample.mask.read_mask())
    length = int(mask.keys_HW.max()) + 1
    colors, labelled = np.zeros((length, 3), np.uint8), np.zeros(length, bool)
    for key in np.flatnonzero(np.bincount(mask.keys_HW.ravel())).tolist():
        index = surveyed.index(mask.value(key))
        known = index is not None and index < len(surveyed.table)
        colors[key] = MARK if index is None else surveyed.table.colors[index] if known else UNLABELLED_COLOR
        labelled[key] = index is None or known
    return colors[mask.keys_HW], labelled[mask.keys_HW]


def _blend(photo_HW3: RGB, colors_HW3: RGB, labelled_HW: NDArray[np.bool_]) -> RGB:
    """The mask half transparent over the image; hatched where it is unlabelled."""
    blended = cv2.addWeighted(photo_HW3, 1 - _OPACITY, colors_HW3, _OPACITY, 0)
    y, x = np.arange(labelled_HW.shape[0])[:, None], np.arange(labelled_HW.shape[1])
    width = max(2, max(labelled_HW.shape) // 60)
    hatch_HW = ~labelled_HW & ((x + y) % (3 * width) < width)
    blended[~labelled_HW] = photo_HW3[~labelled_HW]
    blended[hatch_HW] = (photo_HW3[hatch_HW] * 0.5 + np.array(UNLABELLED_COLOR) * 0.5).astype(np.uint8)
    return np.asarray(blended, np.uint8)


def _outlined(photo_HW3: RGB, colors_HW3: RGB, color: tuple[int, int, int]) -> RGB:
    """The reduced, darkened image with the outlines of a mask's regions."""
    photo_hw3 = (np.asarray(_reduced(photo_HW3)) * 0.8).astype(np.uint8)
    size = (photo_hw3.shape[1], photo_hw3.shape[0])
    codes = cv2.resize(colors_HW3, size, interpolation=cv2.INTER_NEAREST).astype(np.int32) @ (1, 256, 65536)
    edge = np.zeros(codes.shape, bool)
    edge[:, 1:] |= codes[:, 1:] != codes[:, :-1]
    edge[1:] |= codes[1:] != codes[:-1]
    photo_hw3[edge] = color
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
    small = np.asarray(_reduced(picture_HW3)).copy()
    share = cv2.resize(marked_HW.astype(np.float32), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    small[share > 0] = MARK
    return small


def _reduced(picture_HW3: RGB, *, nearest: bool = False) -> RGB:
    factor = LONGEST / max(picture_HW3.shape[:2])
    if factor >= 1:
        return picture_HW3
    size = (max(1, round(picture_HW3.shape[1] * factor)), max(1, round(picture_HW3.shape[0] * factor)))
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture_HW3, size, interpolation=how), np.uint8)


def _encode(picture_HW3: RGB, *, nearest: bool = False) -> str:
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(_reduced(picture_HW3, nearest=nearest))).save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _size(picture_HW3: RGB) -> str:
    return f"{picture_HW3.shape[1]} × {picture_HW3.shape[0]}"
