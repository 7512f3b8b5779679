"""Drawing views: what part of an image is seen, how large, turned, mirrored, tilted, bent; `transforms.py` shows it.

Points are (x, y) with pixel centres at integers; a map takes a pixel of the view to a point of the source image.
Shapes: H, W height and width of the source, h, w of the view.

The bend is that of the U-Net paper (Ronneberger et al. 2015, arXiv 1505.04597, section 3.1): Gaussian shifts of a
coarse 3 x 3 grid, bicubic between. Different here: a draw is cut off at two deviations, and grids may be finer.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from maskwright.config import Augmentation

GRID = 3
"""Points of the grid that bends a view, along its shorter side."""

STEEPEST = 1 / 8
"""Largest deviation of grid points in units of their distance: beyond it a view would fold over itself."""


class ViewRanges(NamedTuple):
    """What `draw_view` may draw: see `maskwright.config.Augmentation` for each field's unit."""

    zoom: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    quarter_turns: bool = False
    whole_image: bool = False

    @classmethod
    def of(cls, augmentation: Augmentation) -> ViewRanges:
        """This part of an augmentation; what it leaves open is off."""
        given = {name: getattr(augmentation, name) for name in cls._fields}
        return cls(**{name: value for name, value in given.items() if value is not None})


def draw_view(
    rng: np.random.Generator,
    shape: tuple[int, int],
    size: tuple[int, int],
    ranges: ViewRanges,
    centre: tuple[float, float] | None = None,
    tilt: np.ndarray | None = None,
) -> np.ndarray:
    """One random view of an image: crop, zoom, turn, shear, flip and `tilt` composed into a single map for `warp`.

    `shape` is the source's (H, W), `size` the view's. The view lies within the image where it fits, and covers the
    image where it is larger. With `centre` (x, y) the view is placed around that point of the source, off by up to a
    quarter of its size, and moved back into the image where it would look beyond the edge. `tilt` is as `draw_tilt`
    gives it. Returns 2 x 3, or 3 x 3 with a tilt.
    The number of draws does not depend on the ranges, so that switching one off leaves the others' draws as they were.
    """
    zoom_at, angle_at, shear_at, *chances = rng.random(6)
    turns = int(rng.integers(4)) if ranges.quarter_turns else 0
    place = rng.random(2)
    jitter = rng.uniform(-1, 1, 2)

    zoom = math.exp(math.log(ranges.zoom[0]) + zoom_at * math.log(ranges.zoom[1] / ranges.zoom[0]))
    angle = math.radians((2 * angle_at - 1) * ranges.rotation) + turns * math.pi / 2
    shear = math.tan(math.radians((2 * shear_at - 1) * ranges.shear))
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]]) / zoom
    linear[:, 0] *= -1 if ranges.flip_horizontal and chances[0] < 0.5 else 1
    linear[:, 1] *= -1 if ranges.flip_vertical and chances[1] < 0.5 else 1
    view = np.array([size[1], size[0]], np.float64)
    image = np.array([shape[1], shape[0]], np.float64)
    if ranges.whole_image:
        linear *= _fit(shape, size, turns)
    # Without zoom, turn and shear a view is a crop: it must show pixels as they are, not between two of them.
    aligned = bool(np.isin(np.abs(linear).round(9), (0, 1)).all()) and tilt is None
    linear = np.rint(linear) if aligned else linear

    reach = np.abs(linear) @ view / 2
    if tilt is not None:
        reach = reach * _widening(tilt, size)
    low, high = np.minimum(reach, image - reach), np.maximum(reach, image - reach)
    if centre is None:
        middle = low + place * (high - low)
    else:
        middle = np.clip(np.asarray(centre) + 0.5 + jitter * reach / 2, low, high)
    middle = middle - 0.5 + jitter * ranges.shift * 2 * reach
    origin = middle - linear @ ((view - 1) / 2)
    to_source = np.column_stack([linear, np.floor(origin + 0.5) if aligned else origin])
    return to_source if tilt is None else np.vstack([to_source, [0, 0, 1]]) @ tilt


def draw_tilt(rng: np.random.Generator, size: tuple[int, int], strength: float) -> np.ndarray:
    """A random perspective: each corner of the view is moved by up to `strength` of its width and height.

    Returns 3 x 3: it takes a view pixel to where it lies in an untilted view of the same size. `strength` below 0.25
    keeps the four corners a convex quadrilateral, so no point of the view lies beyond the horizon.
    """
    height, width = size
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * [width, height] - 0.5
    return _homography(corners, corners + rng.uniform(-strength, strength, (4, 2)) * [width, height])


def draw_bend(rng: np.random.Generator, size: tuple[int, int], deviation: float, points: int = GRID) -> np.ndarray:
    """A random smooth bend: shifts (x, y) in view pixels, h x w x 2 float32.

    `deviation` is that of the shifts of a grid from corner to corner, `points` along the shorter side and as many as
    fit along the longer; between its points they are interpolated bicubically (Keys 1981, a = -1/2).
    """
    counts = grid(size, points)
    shifts = (np.clip(rng.standard_normal((2, *counts)), -2, 2) * deviation).astype(np.float32)
    rows, columns = _cubic(size[0], counts[0]), _cubic(size[1], counts[1])
    # OpenCV's product: that of NumPy would start BLAS's threads beside the loader's.
    none = np.empty((0, 0), np.float32)
    lines = [cv2.gemm(rows, np.asarray(plane), 1, none, 0) for plane in shifts]
    return np.stack([cv2.gemm(line, columns.T, 1, none, 0) for line in lines]).transpose(1, 2, 0)


def grid(size: tuple[int, int], points: int) -> tuple[int, int]:
    """Rows and columns of the grid that bends a view: `points` along the shorter side, cells about square."""
    shorter = min(size)
    rows, columns = (1 + max(1, min(round((points - 1) * length / shorter), length - 1)) for length in size)
    return rows, columns


def whole(shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The map that shows a whole image of `shape` (H, W) at `size`, edge to edge."""
    scale = np.array([shape[1] / size[1], shape[0] / size[0]])
    return np.column_stack([np.diag(scale), (scale - 1) / 2])


def _fit(shape: tuple[int, int], size: tuple[int, int], turns: int) -> float:
    """Source pixels for one of the view, so that all of the image fits into it."""
    height, width = shape if turns % 2 == 0 else shape[::-1]
    return max(height / size[0], width / size[1])


def _widening(tilt: np.ndarray, size: tuple[int, int]) -> float:
    """How many times as far as an untilted view's a tilted view's corners reach, seen from the middle."""
    middle = np.array([size[1] - 1, size[0] - 1])[:, None] / 2
    corners = np.array([[-0.5, size[1] - 0.5] * 2, [-0.5, -0.5, size[0] - 0.5, size[0] - 0.5]])
    mapped = tilt[:, :2] @ corners + tilt[:, 2:]
    return float((np.abs(mapped[:2] / mapped[2] - middle) / np.abs(corners - middle)).max())


def _homography(points: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The 3 x 3 matrix, its last element 1, that takes four points (4 x 2) to four others."""
    x, y = points.T
    one, zero = np.ones(4), np.zeros(4)
    rows = [
        np.column_stack([x, y, one, zero, zero, zero, -x * images[:, 0], -y * images[:, 0]]),
        np.column_stack([zero, zero, zero, x, y, one, -x * images[:, 1], -y * images[:, 1]]),
    ]
    return np.append(np.linalg.solve(np.concatenate(rows), images.T.ravel()), 1.0).reshape(3, 3)


@lru_cache(64)
def _cubic(length: int, points: int) -> np.ndarray:
    """Weights (length x points, float32) of grid points at each pixel; beyond its ends the grid repeats."""
    place = np.linspace(0, points - 1, length) if length > 1 else np.array([(points - 1) / 2])
    first = np.minimum(place.astype(int), points - 2)
    t = place - first
    weights = np.zeros((length, points), np.float32)
    parts = (
        (-t + 2 * t**2 - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2, (t + 4 * t**2 - 3 * t**3) / 2, (t**3 - t**2) / 2,
    )  # fmt: skip
    for offset, part in zip((-1, 0, 1, 2), parts, strict=True):
        np.add.at(weights, (np.arange(length), np.clip(first + offset, 0, points - 1)), part)
    return weights
