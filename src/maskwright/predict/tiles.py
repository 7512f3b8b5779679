"""Tiles that cover an image, and the weights with which their overlapping predictions are averaged.

Shapes: K classes, H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np


class Tile(NamedTuple):
    """Rows `top` to `bottom` (exclusive) and columns `left` to `right` (exclusive) of an image."""

    top: int
    bottom: int
    left: int
    right: int


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Where tiles of `size` begin along an axis: evenly spread, at least `overlap` shared, the ends met exactly."""
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [round(start) for start in np.linspace(0, length - size, count)]


def cover(shape: tuple[int, int], size: int, overlap: int) -> Iterator[Tile]:
    """Tiles of at most `size` x `size` pixels that cover an image of `shape` (H, W), row by row."""
    assert 0 <= overlap < size, "tiles must move on"
    for top in starts(shape[0], size, overlap):
        for left in starts(shape[1], size, overlap):
            yield Tile(top, min(top + size, shape[0]), left, min(left + size, shape[1]))


def weight(height: int, width: int) -> np.ndarray:
    """H x W float32 weights of a tile: 1 in the middle, falling linearly towards the edges, above 0 everywhere.

    A prediction is best where the network saw most around it, so a pixel counts by its distance to the tile's edge.
    """
    rows = np.minimum(np.arange(1, height + 1), np.arange(height, 0, -1))
    columns = np.minimum(np.arange(1, width + 1), np.arange(width, 0, -1))
    edge = np.minimum.outer(rows, columns).astype(np.float32)
    shares: np.ndarray = edge / edge.max()
    return shares


def blend(
    predict: Callable[[Tile], np.ndarray], shape: tuple[int, int], classes: int, size: int, overlap: int
) -> np.ndarray:
    """Weighted mean of the tiles' K x h x w predictions: K x H x W float32."""
    total_KHW = np.zeros((classes, *shape), np.float32)
    weights_HW = np.zeros(shape, np.float32)
    for tile in cover(shape, size, overlap):
        area = (slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        share = weight(tile.bottom - tile.top, tile.right - tile.left)
        total_KHW[:, *area] += predict(tile) * share
        weights_HW[area] += share
    total_KHW /= weights_HW
    return total_KHW
