"""Show an image and its mask through one map, with one resampling; `views.py` draws the map.

A map takes a pixel of the view to a point of the source image: first `elastic` shifts it within the view, if there is
one, then `to_source` takes it to the image, a 2 x 3 float64 matrix, or 3 x 3 where there is perspective. Points are
(x, y) with pixel centres at integers. However many operations were drawn, pixels are interpolated once, and image and
mask go through the same map, to 1/1000 pixel; OpenCV before version 5 rounds the image's points to 1/32 pixel,
unbiased.

Shapes: H, W height and width of the source, h, w of the view, C channels.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from maskwright.augment.antialias import antialiased, corners, few_channels, footprint
from maskwright.config import Border
from maskwright.datasets.classes import UNLABELLED
from maskwright.imaging.decoders import Window

BORDERS: dict[Border, int] = {
    "reflect": cv2.BORDER_REFLECT_101,
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
}

Fill = float | np.ndarray
"""A value for all channels, or one for each."""

Points = tuple[np.ndarray, np.ndarray]
"""x and y of source points, float32 h x w."""

_TIE = 2.0**-12
"""Pixels added to mask coordinates: a point just between two pixels belongs to the right or lower one, always. It is
larger than the rounding of OpenCV's float32 coordinates, which would otherwise decide."""

_LONGEST = 32766
"""OpenCV counts source pixels in 16 bits."""


def warp(
    image: np.ndarray,
    mask: np.ndarray,
    to_source: np.ndarray,
    size: tuple[int, int],
    border: Border,
    fill: Fill = 0.0,
    elastic: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a pair through one map, the image bilinearly, the mask by nearest pixel centre.

    Where the view shrinks the image, the image is blurred first, so that it does not alias. A view that only crops,
    flips and turns by right angles shows the very pixels.

    Parameters
    ----------
    image
        H x W x C, uint8, uint16 or float32, any C.
    mask
        H x W uint8 class indices.
    to_source
        2 x 3 or 3 x 3 float64; takes a view pixel (x, y) to a source point, pixel centres at integers.
    size
        Height h and width w of the view.
    border, fill
        What the image shows outside the source: reflected, the nearest pixel, or `fill` in native values.
    elastic
        h x w x 2 float32, or None: shifts (x, y) in view pixels that come before `to_source`.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        The view, h x w x C of the image's dtype, and its mask, h x w, UNLABELLED wherever the source point lies outside
        the image. Either may share memory with the source.
    """
    resampler = _Resampler(mask.shape, to_source, size, elastic)
    return resampler.image(image, border, fill), resampler.labels(mask)


class _Resampler:
    """A map, ready for sources of one shape.

    There are four ways to resample, and the first that serves is taken: slicing, where every view pixel is a source
    pixel (`_aligned`); OpenCV's affine or perspective call; its `remap` with every point listed, where there is an
    elastic deformation; and NumPy's indexing for masks too long for OpenCV (`_gathered`).
    """

    def __init__(
        self, shape: tuple[int, ...], to_source: np.ndarray, size: tuple[int, int], elastic: np.ndarray | None
    ) -> None:
        self.size = size
        self.aligned = to_source if elastic is None and _is_aligned(to_source) else None
        if self.aligned is None:
            # Only the part of the source that the view sees is blurred and handed to OpenCV.
            self.window = window(shape, to_source, size, elastic)
            self.to_source = shifted(to_source, self.window)
            self.points = None if elastic is None else _points(self.to_source, size, elastic)

    def image(self, image: np.ndarray, border: Border, fill: Fill) -> np.ndarray:
        """Resample an image bilinearly, blurred first where it shrinks."""
        value = np.broadcast_to(np.asarray(fill, np.float64), image.shape[2])
        if self.aligned is not None:
            return _aligned(image, self.aligned, self.size, border, value)
        source, (u, v) = antialiased(image[self.window.slices], self.to_source, self.size)
        to_source, points = self.to_source, self.points
        if max(u, v) > 1:
            # The source now consists of averages of u x v pixels: the map is continued into these. The first averaged
            # pixel's centre lies (u - 1) / 2 source pixels from the first source pixel's.
            inward = np.array([[1 / u, 0, (1 / u - 1) / 2], [0, 1 / v, (1 / v - 1) / 2], [0, 0, 1]])
            to_source = (inward @ square(to_source))[: len(to_source)]
            points = points and (points[0] / u + inward[0, 2], points[1] / v + inward[1, 2])
        mode = BORDERS[border]

        def resampled(part: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
            return self._called(part, to_source, points, cv2.INTER_LINEAR, mode, values)

        return few_channels(source, value, resampled)

    def labels(self, mask: np.ndarray) -> np.ndarray:
        """Take a mask's nearest pixels."""
        if self.aligned is not None:
            return _aligned(mask[:, :, None], self.aligned, self.size, "constant", np.array([UNLABELLED]))[:, :, 0]
        source = mask[self.window.slices]
        to_source = np.array([[1, 0, _TIE], [0, 1, _TIE], [0, 0, 1]]) @ square(self.to_source)
        points = self.points and (self.points[0] + np.float32(_TIE), self.points[1] + np.float32(_TIE))
        if max(source.shape) > _LONGEST:
            return _gathered(source, points or _points(to_source, self.size, np.zeros((*self.size, 2), np.float32)))
        to_source = to_source[: len(self.to_source)]
        return self._called(source, to_source, points, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, (UNLABELLED,))

    def _called(
        self, source: np.ndarray, to_source: np.ndarray, points: Points | None, how: int, mode: int,
        values: tuple[float, ...],
    ) -> np.ndarray:  # fmt: skip
        view: np.ndarray
        if points is not None:
            view = cv2.remap(source, *points, how, borderMode=mode, borderValue=values)
        else:
            call, flags = cv2.warpAffine if len(to_source) == 2 else cv2.warpPerspective, how | cv2.WARP_INVERSE_MAP
            view = call(source, to_source, self.size[::-1], flags=flags, borderMode=mode, borderValue=values)
        return view


def window(
    shape: tuple[int, ...], to_source: np.ndarray, size: tuple[int, int], elastic: np.ndarray | None = None
) -> Window:
    """Find the part of an image of `shape` (H, W) that a view needs; the rest has no influence on it.

    That holds for every border: the window ends short of the image's edge only on sides that the view and its
    antialiasing blur stay away from.
    """
    reach = 0.0 if elastic is None else max(cv2.norm(elastic[:, :, axis], cv2.NORM_INF) for axis in range(2))
    # The view's outline is straight in the source too, so its corners bound it; elastic shifts reach beyond by as much
    # as the longest of them.
    points = apply(to_source, corners(size, reach))
    if points is None:
        return Window(0, 0, shape[0], shape[1])
    # More than the blur reaches (2.3 standard deviations, each half of the footprint's length) and the blocks averaged
    # before it; the bilinear kernel needs a pixel more.
    margin = math.ceil(3 * math.sqrt(footprint(to_source, size).trace())) + 2
    spans = []
    for values, length in ((points[1], shape[0]), (points[0], shape[1])):
        low, high = math.floor(values.min()) - margin, math.ceil(values.max()) + margin + 1
        # Where the view looks over one edge, it sees as far back into the image, mirrored.
        first = max(0, min(low, 2 * length - high - 1) if high > length else low)
        last = min(length, max(high, 1 - low) if low < 0 else high)
        spans.append((first, last) if first < last else (0, length))
    (top, bottom), (left, right) = spans
    return Window(top, left, bottom - top, right - left)


def shifted(to_source: np.ndarray, part: Window) -> np.ndarray:
    """Turn a map into the source into the map into a window of it."""
    if to_source.shape[0] == 2:
        return np.column_stack([to_source[:, :2], to_source[:, 2] - (part.left, part.top)])
    return np.asarray(np.array([[1.0, 0, -part.left], [0, 1, -part.top], [0, 0, 1]]) @ to_source)


def apply(to_source: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Take view points (2 x N) to source points (2 x N); None if one of them lies near or beyond the horizon."""
    mapped: np.ndarray = to_source[:, :2] @ points + to_source[:, 2:]
    if len(mapped) == 2:
        return mapped
    if mapped[2].min() < 0.05:  # 0 at the horizon, about 1 within the view
        return None
    return np.asarray(mapped[:2] / mapped[2])


def _points(to_source: np.ndarray, size: tuple[int, int], elastic: np.ndarray) -> Points:
    """The source point of each view pixel."""
    x = elastic[:, :, 0] + np.arange(size[1], dtype=np.float32)
    y = elastic[:, :, 1] + np.arange(size[0], dtype=np.float32)[:, None]
    spare = np.empty_like(x)
    rows = []
    for a, b, c in to_source.astype(np.float32):
        row = a * x
        row += np.multiply(b, y, out=spare)
        row += c
        rows.append(row)
    for divisor in rows[2:]:
        rows[0] /= divisor
        rows[1] /= divisor
    return rows[0], rows[1]


def _gathered(mask: np.ndarray, points: Points) -> np.ndarray:
    """Nearest labels of masks that are too long for OpenCV."""
    column, row = (np.floor(values + np.float32(0.5)).astype(np.int64) for values in points)
    inside = (column >= 0) & (column < mask.shape[1]) & (row >= 0) & (row < mask.shape[0])
    found: np.ndarray = mask[row.clip(0, mask.shape[0] - 1), column.clip(0, mask.shape[1] - 1)]
    found[~inside] = UNLABELLED
    return found


def square(to_source: np.ndarray) -> np.ndarray:
    """Write a map as 3 x 3."""
    return to_source if len(to_source) == 3 else np.vstack([to_source, [0, 0, 1]])


def _is_aligned(to_source: np.ndarray) -> bool:
    """Whether every view pixel is a pixel: a crop, mirrored or turned by right angles."""
    if to_source.shape[0] != 2 or not (to_source == np.rint(to_source)).all():
        return False
    return sorted(np.abs(to_source[:, :2]).ravel().tolist()) == [0, 0, 1, 1] and bool(np.linalg.det(to_source[:, :2]))


def _aligned(
    source: np.ndarray, to_source: np.ndarray, size: tuple[int, int], border: Border, fill: np.ndarray
) -> np.ndarray:
    """Show pixels as they are, by slicing; with `reflect` the same pixels that OpenCV would take."""
    ends = to_source[:, :2] @ corners(size) + to_source[:, 2:]
    (left, top), (right, bottom) = ends.min(1).astype(int), ends.max(1).astype(int)
    height, width = source.shape[:2]
    if min(top, left) >= 0 and bottom < height and right < width:
        part = source[top : bottom + 1, left : right + 1]
    else:
        rows, columns = np.arange(top, bottom + 1), np.arange(left, right + 1)
        part = source[_within(rows, height, border)[:, None], _within(columns, width, border)]
        if border == "constant":
            value = fill.astype(source.dtype)
            part[(rows < 0) | (rows >= height)] = value
            part[:, (columns < 0) | (columns >= width)] = value
    (a, b), (d, e) = to_source[:, :2].astype(int)
    if a:
        return part[::e, ::a]
    return part.swapaxes(0, 1)[::b, ::d]


def _within(index: np.ndarray, length: int, border: Border) -> np.ndarray:
    """Indices beyond an axis's ends, reflected about its end pixels or moved onto them."""
    if border != "reflect" or length == 1:
        return index.clip(0, length - 1)
    folded = index % (2 * (length - 1))
    return np.asarray(np.minimum(folded, 2 * (length - 1) - folded))
