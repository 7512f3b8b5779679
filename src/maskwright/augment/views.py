"""Random geometry: which part of an image a view shows, and how it is zoomed, turned, flipped and deformed.

Everything here only draws numbers and composes them into one map, which `warp.py` applies. A map goes backwards, from
a pixel of the view to a point of the source image, because that is what resampling asks: which source point is seen
here? Points are (x, y) with pixel centres at integers. Shapes: H, W height and width of the source, h, w of the view.

The elastic deformation is that of the U-Net paper (Ronneberger et al. 2015, arXiv 1505.04597, section 3.1): Gaussian
shifts of a coarse 3 x 3 grid, bicubic between. Different here: a draw is cut off at two standard deviations, and grids
may be finer.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from maskwright.config import Augmentation

GRID = 3
"""Points of the elastic deformation's grid along the view's shorter side."""

STEEPEST = 1 / 8
"""Largest std of the grid points' shifts, in units of their distance: beyond it a view would fold over itself."""


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
        """Take this part of an augmentation; what it leaves open is off."""
        given = {name: getattr(augmentation, name) for name in cls._fields}
        return cls(**{name: value for name, value in given.items() if value is not None})


def draw_view(
    rng: np.random.Generator,
    shape: tuple[int, int],
    size: tuple[int, int],
    ranges: ViewRanges,
    centre: tuple[float, float] | None = None,
    perspective: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one view of an image: crop, zoom, turn, shear, flip and perspective composed into a single map for `warp`.

    Parameters
    ----------
    rng
        Source of the draws.
    shape, size
        The source's (H, W) and the view's (h, w).
    ranges
        What may be drawn.
    centre
        A point (x, y) of the source to look at: the view lies around it, off by up to a quarter of its size, and is
        moved back into the image where it would look beyond the edge. Without one, the view lies anywhere within the
        image; where it is larger than the image, it covers it.
    perspective
        As `draw_perspective` gives it, or None.

    Returns
    -------
    np.ndarray
        2 x 3 float64, or 3 x 3 with a perspective; takes a view pixel to a source point.
    """
    # All numbers are drawn whatever the ranges, so that switching one off leaves the others' draws as they were. Only
    # the quarter turn is drawn on request: it came later, and seeds keep their views.
    zoom_at, angle_at, shear_at, *chances = rng.random(6)
    turns = int(rng.integers(4)) if ranges.quarter_turns else 0
    position = rng.random(2)
    jitter = rng.uniform(-1, 1, 2)

    # The linear part takes steps in the view to steps in the source: flip first, then zoom and shear, then turn. Zoom
    # is uniform in its logarithm, so that twice as large and half as large are equally likely.
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
    # Without zoom, turn and shear a view is a crop: it must show pixels as they are, not halfway between two of them.
    aligned = bool(np.isin(np.abs(linear).round(9), (0, 1)).all()) and perspective is None
    linear = np.rint(linear) if aligned else linear

    # `reach` is half the width and height, in the source, of the box around the view; its middle may lie from `low` to
    # `high`, so that the box stays within the image (or the image within the box).
    reach = np.abs(linear) @ view / 2
    if perspective is not None:
        reach = reach * _widening(perspective, size)
    low, high = np.minimum(reach, image - reach), np.maximum(reach, image - reach)
    if centre is None:
        middle = low + position * (high - low)
    else:
        middle = np.clip(np.asarray(centre) + 0.5 + jitter * reach / 2, low, high)
    # From edges at integers to pixel centres at integers; then back from the view's middle to its pixel (0, 0).
    middle = middle - 0.5 + jitter * ranges.shift * 2 * reach
    origin = middle - linear @ ((view - 1) / 2)
    to_source = np.column_stack([linear, np.floor(origin + 0.5) if aligned else origin])
    return to_source if perspective is None else np.vstack([to_source, [0, 0, 1]]) @ perspective


def draw_perspective(rng: np.random.Generator, size: tuple[int, int], strength: float) -> np.ndarray:
    """Draw a perspective: each corner of the view is moved by up to `strength` of its width and height.

    Returns 3 x 3 float64; it takes a view pixel to where it lies in a view of the same size without perspective. A
    `strength` below 0.25 keeps the four corners a convex quadrilateral, so no point of it lies beyond the horizon.
    """
    height, width = size
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * [width, height] - 0.5
    return _homography(corners, corners + rng.uniform(-strength, strength, (4, 2)) * [width, height])


def draw_elastic(rng: np.random.Generator, size: tuple[int, int], std: float, points: int = GRID) -> np.ndarray:
    """Draw a smooth elastic deformation.

    Parameters
    ----------
    rng
        Source of the draws.
    size
        The view's (h, w).
    std
        Standard deviation of the grid points' shifts, in view pixels.
    points
        Points of the grid along the view's shorter side, from corner to corner; as many as fit along the longer.

    Returns
    -------
    np.ndarray
        h x w x 2 float32: shifts (x, y) in view pixels, interpolated bicubically between the grid's points (Keys 1981,
        a = -1/2).
    """
    counts = grid(size, points)
    shifts = (np.clip(rng.standard_normal((2, *counts)), -2, 2) * std).astype(np.float32)
    rows, columns = _cubic(size[0], counts[0]), _cubic(size[1], counts[1])
    # OpenCV's product: that of NumPy would start BLAS's threads beside the loader's.
    none = np.empty((0, 0), np.float32)
    lines = [cv2.gemm(rows, np.asarray(plane), 1, none, 0) for plane in shifts]
    return np.stack([cv2.gemm(line, columns.T, 1, none, 0) for line in lines]).transpose(1, 2, 0)


def grid(size: tuple[int, int], points: int) -> tuple[int, int]:
    """Rows and columns of the elastic deformation's grid: `points` along the shorter side, cells about square."""
    shorter = min(size)
    rows, columns = (1 + max(1, min(round((points - 1) * length / shorter), length - 1)) for length in size)
    return rows, columns


def whole(shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Give the map that shows a whole image of `shape` (H, W) at `size`, edge to edge."""
    scale = np.array([shape[1] / size[1], shape[0] / size[0]])
    return np.column_stack([np.diag(scale), (scale - 1) / 2])


def _fit(shape: tuple[int, int], size: tuple[int, int], turns: int) -> float:
    """Source pixels for one of the view, so that all of the image fits into it."""
    height, width = shape if turns % 2 == 0 else shape[::-1]
    return max(height / size[0], width / size[1])


def _widening(perspective: np.ndarray, size: tuple[int, int]) -> float:
    """How many times as far from the middle the corners of a view reach because of its perspective."""
    middle = np.array([size[1] - 1, size[0] - 1])[:, None] / 2
    corners = np.array([[-0.5, size[1] - 0.5] * 2, [-0.5, -0.5, size[0] - 0.5, size[0] - 0.5]])
    mapped = perspective[:, :2] @ corners + perspective[:, 2:]
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
    position = np.linspace(0, points - 1, length) if length > 1 else np.array([(points - 1) / 2])
    first = np.minimum(position.astype(int), points - 2)
    t = position - first
    weights = np.zeros((length, points), np.float32)
    parts = (
        (-t + 2 * t**2 - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2, (t + 4 * t**2 - 3 * t**3) / 2, (t**3 - t**2) / 2,
    )  # fmt: skip
    for offset, part in zip((-1, 0, 1, 2), parts, strict=True):
        np.add.at(weights, (np.arange(length), np.clip(first + offset, 0, points - 1)), part)
    return weights
