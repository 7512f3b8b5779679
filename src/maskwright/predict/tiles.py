"""Tiles that cover an image, and the weights with which their overlapping predictions are averaged.

Shapes: K classes, H, W height and width in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np


class Tile(NamedTuple):
    """Rows `top` to `bottom` (exclusive) and columns `left` to `right` (exclusive) of an image."""

    top: int
    bottom: int
    left: int
    right: int


def starts(length: int, size: int, overlap: int, grid: int = 1) -> list[int]:
    """Where tiles of `size` begin along an axis: evenly spread on multiples of `grid`, at least `overlap` shared.

    The last one ends with the axis, which makes it up to `grid - 1` longer. `grid` is at most `size - overlap`.
    """
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    last = (length - size) // grid
    return [grid * math.floor(start) for start in np.linspace(0, last, count)]


def cover(shape: tuple[int, int], size: int, overlap: int, grid: int = 1) -> Iterator[Tile]:
    """Tiles of `size` x `size` pixels, the last ones up to `grid - 1` longer, that cover an image of `shape` (H, W)."""
    assert 0 <= overlap < size, "tiles must move on"
    for top, bottom in _spans(shape[0], size, overlap, grid):
        for left, right in _spans(shape[1], size, overlap, grid):
            yield Tile(top, bottom, left, right)


def _spans(length: int, size: int, overlap: int, grid: int) -> list[tuple[int, int]]:
    begins = starts(length, size, overlap, grid)
    return [*((start, start + size) for start in begins[:-1]), (begins[-1], length)]


def weight(height: int, width: int) -> np.ndarray:
    """H x W float32 weights of a tile: 1 in the middle, falling linearly towards the edges, above 0 everywhere.

    A prediction is best where the network saw most around it, so a pixel counts by its distance to the tile's edge.
    """
    rows = np.minimum(np.arange(1, height + 1), np.arange(height, 0, -1))
    columns = np.minimum(np.arange(1, width + 1), np.arange(width, 0, -1))
    edge = np.minimum.outer(rows, columns).astype(np.float32)
    weights: np.ndarray = edge / edge.max()
    return weights


def blend(
    predict: Callable[[Tile], np.ndarray],
    shape: tuple[int, int],
    classes: int,
    size: int,
    overlap: int,
    grid: int = 1,
) -> np.ndarray:
    """Weighted mean of the tiles' K x h x w predictions: K x H x W float32; tiles begin on multiples of `grid`."""
    total_KHW = np.zeros((classes, *shape), np.float32)
    weights_HW = np.zeros(shape, np.float32)
    for tile in cover(shape, size, overlap, grid):
        area = (slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        part = weight(tile.bottom - tile.top, tile.right - tile.left)
        total_KHW[:, *area] += predict(tile) * part
        weights_HW[area] += part
    total_KHW /= weights_HW
    return total_KHW
