"""Outlines of regions along the edges between pixels: filled as `drawn.shapes` does, they are the region again.

Corners are whole numbers, so no pixel centre lies on an edge, and filling the outline gives back the region exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np


def regions(mask: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Regions of a mask (bool `H x W`), connected over edges, not corners: top, left, and pixels (bool) from there."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    for number in range(1, count):
        left, top, width, height = stats[number, :4].tolist()
        yield top, left, labels[top : top + height, left : left + width] == number


def rings(mask: np.ndarray) -> list[np.ndarray]:
    """All outlines of a mask (bool `H x W`), of holes too: each `N x 2` int64, corners x, y, not repeated at the end.

    The outermost ring of a connected mask comes first. Where two pixels touch at a corner only, the outline parts them,
    so that no ring crosses itself.
    """
    # Among the four pixels round a point, an odd number inside makes it a corner, and so does a diagonal pair, which is
    # a corner of two rings at once.
    padded = np.pad(mask, 1).astype(np.uint8)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    single = (nw + ne + sw + se) & 1
    falling, rising = (nw & se) & ~(ne | sw) & 1, (ne & sw) & ~(nw | se) & 1
    y, x = np.nonzero(single | falling | rising)
    double, turned = (falling | rising)[y, x] == 1, rising[y, x] == 1
    y, x, turned = (np.repeat(part, 1 + double) for part in (y, x, turned))
    twin = np.zeros(len(y), np.int64)
    twin[1:] = (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    # Along a row, corners in order are the ends of horizontal edges, two by two; along a column, of vertical ones. Of a
    # double corner, the first twin ends the edge on its left. With pixels to the north-west and south-east, it also
    # ends the edge above; with the other diagonal, the edge above belongs to the second.
    beside = np.arange(len(y)) ^ 1
    by_column = np.lexsort((np.where(turned, 1 - twin, twin), y, x))
    above = np.empty(len(y), np.int64)
    above[by_column] = by_column[np.arange(len(y)) ^ 1]
    return _loops(np.stack([x, y], 1), beside.tolist(), above.tolist())


def joined(outlines: list[np.ndarray]) -> np.ndarray:
    """One ring (`N x 2`) of an outer ring and its holes, for formats that know no holes.

    Every hole is joined to the ring by a cut that is walked there and back. By the even-odd rule the two ways cancel:
    filling the ring gives exactly what its parts give.
    """
    ring, *holes = outlines
    for hole in holes:
        distances = np.abs(ring[:, None] - hole).sum(axis=2) if len(ring) * len(hole) < _MOST_PAIRS else None
        here, there = (0, 0) if distances is None else np.unravel_index(int(distances.argmin()), distances.shape)
        turned = np.roll(hole, -int(there), axis=0)
        ring = np.concatenate([ring[: here + 1], turned, turned[:1], ring[here:]])
    return ring


_MOST_PAIRS = 1 << 22
"""Corners of ring times corners of hole, above which the shortest cut is not looked for."""


def _loops(corners: np.ndarray, beside: list[int], above: list[int]) -> list[np.ndarray]:
    """Follow horizontal and vertical edges in turn until every corner has been met."""
    found = []
    left = bytearray(b"\1") * len(corners)
    for start in range(len(corners)):
        if not left[start]:
            continue
        loop: list[int] = []
        place = start
        while left[place]:
            across = beside[place]
            left[place] = left[across] = 0
            loop += (place, across)
            place = above[across]
        found.append(corners[loop])
    return found
