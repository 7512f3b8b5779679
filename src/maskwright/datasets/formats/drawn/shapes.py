"""Shapes that annotation tools write, and the pixels that they cover.

Coordinates are in pixels, x to the right and y down, and an image covers 0..W and 0..H: the centre of the pixel in row
r and column c is (c + 0.5, r + 0.5). **A pixel belongs to a shape if its centre lies inside.** A centre exactly on an
edge belongs to the shape on its right (or below, where the edge is horizontal), so that two polygons with a common edge
share no pixel and leave none between them. What is inside several rings, or inside one that crosses itself, follows the
even-odd rule: holes are rings like any other.

pycocotools samples at the same centres, but rounds vertices to fifths of a pixel first; OpenCV's `fillPoly` and PIL's
`polygon` round them to whole pixels and cover the outline too, which makes objects up to a pixel larger on every side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import cv2
import numpy as np

from maskwright.datasets.formats.drawn.rle import mask_of
from maskwright.imaging.decoders import Window
from maskwright.imaging.memory import require_room


class Patch(NamedTuple):
    """The pixels of a shape, in the smallest rectangle that was convenient."""

    top: int
    left: int
    inside: np.ndarray
    """H x W bool."""


Bounds = tuple[float, float, float, float]
"""Left, top, right and bottom."""


class Shape(Protocol):
    """Something that covers pixels: small, frozen and picklable."""

    @property
    def area(self) -> float:
        """Roughly how many pixels it covers; what is larger is drawn first where a format has no order."""

    @property
    def bounds(self) -> Bounds:
        """A rectangle that holds it."""

    def patch(self, frame: Window) -> Patch | None:
        """Its pixels within a frame, in the coordinates of the image; None if there are none."""


def draw(shapes: Iterable[tuple[int, Shape]], frame: Window, background: int) -> np.ndarray:
    """Paint shapes, each with its value, one over the other: int32, `H x W` of the frame."""
    require_room(frame.height * frame.width, 4)
    canvas = np.full((frame.height, frame.width), background, np.int32)
    for value, shape in shapes:
        patch = shape.patch(frame)
        if patch is not None:
            top, left = patch.top - frame.top, patch.left - frame.left
            height, width = patch.inside.shape
            np.copyto(canvas[top : top + height, left : left + width], value, where=patch.inside)
    return canvas


@dataclass(frozen=True)
class Polygon:
    """Closed rings of straight edges, by the even-odd rule."""

    rings: tuple[bytes, ...]
    """Of each ring its corners x, y as float64; the last corner is joined to the first."""

    @classmethod
    def of(cls, *rings: Any) -> Self:
        """A polygon of rings (`N x 2` or flat x, y, x, y, ...); raises ValueError if one has no area to have."""
        return cls(tuple(_ring(ring).tobytes() for ring in rings))

    @classmethod
    def box(cls, left: float, top: float, right: float, bottom: float, *, degrees: float = 0) -> Self:
        """A rectangle, turned clockwise about its centre."""
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
        if degrees:
            centre = np.array(((left + right) / 2, (top + bottom) / 2))
            cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            corners = (corners - centre) @ np.array(((cos, sin), (-sin, cos))) + centre
        return cls.of(corners)

    @property
    def area(self) -> float:
        """The area between its rings, where they do not cross and the first holds the others."""
        areas = sorted((abs(_signed_area(_corners(ring))) for ring in self.rings), reverse=True)
        return areas[0] - sum(areas[1:])

    @property
    def bounds(self) -> Bounds:
        """Exactly."""
        return _extent(np.concatenate([_corners(ring) for ring in self.rings]))

    @property
    def is_box(self) -> bool:
        """Whether it is one rectangle along the axes."""
        corners = np.unique(_corners(self.rings[0]), axis=0)
        return len(self.rings) == 1 and len(corners) == 4 and all(len(np.unique(axis)) == 2 for axis in corners.T)

    def patch(self, frame: Window) -> Patch | None:
        """As `Shape.patch`."""
        return fill([_corners(ring) for ring in self.rings], frame)


def fill(rings: Sequence[np.ndarray], frame: Window) -> Patch | None:
    """The pixels of a frame whose centres lie inside rings (each `N x 2` float64: x, y), by the even-odd rule.

    Along each row of pixel centres, the edges are crossed at exact places, and between the first and second, third and
    fourth, ... crossing one is inside.
    """
    start = np.concatenate(rings)
    end = np.concatenate([part for ring in rings for part in (ring[1:], ring[:1])])
    # An edge that two polygons share runs up in one and down in the other; computed from its upper end, both cross it
    # at the very same place.
    upward = end[:, 1] < start[:, 1]
    start[upward], end[upward] = end[upward], start[upward]
    lowest, highest = frame.top, frame.top + frame.height
    first = np.ceil(start[:, 1] - 0.5).clip(lowest, highest).astype(np.int64)
    last = np.ceil(end[:, 1] - 0.5).clip(lowest, highest).astype(np.int64)
    crossed = np.flatnonzero(last > first)
    if crossed.size == 0:
        return None
    start, end, first, last = start[crossed], end[crossed], first[crossed], last[crossed]
    lengths = last - first
    require_room(int(lengths.sum()), 64)
    edge = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - first, lengths)
    (x0, y0), (dx, dy) = start.T, (end - start).T
    x = x0[edge] + (rows + 0.5 - y0[edge]) * dx[edge] / dy[edge]
    columns = np.ceil(x - 0.5).clip(frame.left, frame.left + frame.width).astype(np.int64)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) - top + 1, int(columns.max()) - left
    if width == 0:
        return None
    toggles = np.zeros((height, width + 1), np.uint8)
    np.bitwise_xor.at(toggles.reshape(-1), (rows - top) * (width + 1) + columns - left, np.uint8(1))
    inside = np.bitwise_xor.accumulate(toggles[:, :-1], axis=1).view(bool)
    return Patch(top, left, inside)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse, turned clockwise about its centre."""

    x: float
    y: float
    across: float
    """Half its width, before turning."""
    down: float
    degrees: float = 0

    @classmethod
    def of(cls, x: float, y: float, across: float, down: float, degrees: float = 0) -> Self:
        """Raises ValueError if a number is not finite."""
        if not all(math.isfinite(value) and abs(value) <= 2**30 for value in (x, y, across, down, degrees)):
            raise ValueError("a number of it is not finite")
        return cls(x, y, across, down, degrees)

    @property
    def area(self) -> float:
        """Exactly."""
        return math.pi * self.across * self.down

    @property
    def bounds(self) -> Bounds:
        """Exactly."""
        reach_x, reach_y = self._reach()
        return self.x - reach_x, self.y - reach_y, self.x + reach_x, self.y + reach_y

    def patch(self, frame: Window) -> Patch | None:
        """As `Shape.patch`; a centre on the outline is inside."""
        if not min(self.across, self.down) > 0:
            return None
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        reach_x, reach_y = self._reach()
        top, bottom = _range(self.y, reach_y, frame.top, frame.height)
        left, right = _range(self.x, reach_x, frame.left, frame.width)
        if top >= bottom or left >= right:
            return None
        y = np.arange(top, bottom)[:, None] + 0.5 - self.y
        x = np.arange(left, right) + 0.5 - self.x
        inside = ((x * cos + y * sin) / self.across) ** 2 + ((y * cos - x * sin) / self.down) ** 2 <= 1
        return Patch(top, left, inside)

    def _reach(self) -> tuple[float, float]:
        """How far it reaches from its centre, to the side and up."""
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return math.hypot(self.across * cos, self.down * sin), math.hypot(self.across * sin, self.down * cos)


@dataclass(frozen=True)
class Runs:
    """Run lengths of a rectangle of pixels; see `maskwright.datasets.formats.drawn.rle`."""

    counts: bytes
    """uint32."""
    top: int
    left: int
    height: int
    width: int
    by_columns: bool

    @classmethod
    def of(cls, counts: np.ndarray, top: int, left: int, height: int, width: int, *, by_columns: bool) -> Self:
        """Raises ValueError if counts do not cover the rectangle."""
        if (np.asarray(counts) < 0).any() or int(np.sum(counts)) != height * width:
            raise ValueError(
                f"its run lengths cover {int(np.sum(counts))} pixels, and it is {width} x {height} = {width * height}"
            )
        return cls(np.asarray(counts).astype(np.uint32).tobytes(), top, left, height, width, by_columns)

    @property
    def area(self) -> float:
        """Exactly."""
        return float(np.frombuffer(self.counts, np.uint32)[1::2].sum())

    @property
    def bounds(self) -> Bounds:
        """The rectangle's."""
        return self.left, self.top, self.left + self.width, self.top + self.height

    def patch(self, frame: Window) -> Patch | None:
        """As `Shape.patch`."""
        counts = np.frombuffer(self.counts, np.uint32)
        mask = mask_of(counts, self.height, self.width, by_columns=self.by_columns)
        return _cut(Patch(self.top, self.left, mask), frame)


@dataclass(frozen=True)
class Bitmap:
    """A rectangle of pixels, eight of them in a byte."""

    bits: bytes
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, inside: np.ndarray, top: int, left: int) -> Self:
        """The pixels of a mask (bool `H x W`)."""
        return cls(np.packbits(inside).tobytes(), top, left, *inside.shape)

    @property
    def area(self) -> float:
        """Exactly."""
        return float(np.unpackbits(np.frombuffer(self.bits, np.uint8)).sum())

    @property
    def bounds(self) -> Bounds:
        """The rectangle's."""
        return self.left, self.top, self.left + self.width, self.top + self.height

    def patch(self, frame: Window) -> Patch | None:
        """As `Shape.patch`."""
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.height * self.width)
        return _cut(Patch(self.top, self.left, flat.reshape(self.height, self.width).view(bool)), frame)


@dataclass(frozen=True)
class PixelPolygon:
    """Rings whose corners are pixels, not places: outlines belong to it, and so do outlines of holes to the holes.

    This is the rule of OpenCV's `fillPoly`, for formats that define their polygons by it (Supervisely).
    """

    rings: tuple[bytes, ...]
    """The outer ring, then holes: of each its corners x, y as int32."""

    @classmethod
    def of(cls, *rings: Any) -> Self:
        """A polygon of rings of whole numbers; raises ValueError if one has fewer than three corners."""
        return cls(tuple(_ring(ring).astype(np.int32).tobytes() for ring in rings))

    @property
    def area(self) -> float:
        """Roughly."""
        return Polygon(tuple(_ints(ring).astype(np.float64).tobytes() for ring in self.rings)).area

    @property
    def bounds(self) -> Bounds:
        """With its outline."""
        left, top, right, bottom = _extent(_ints(self.rings[0]))
        return left, top, right + 1, bottom + 1

    def patch(self, frame: Window) -> Patch | None:
        """As `Shape.patch`."""
        rings = [_ints(ring) for ring in self.rings]
        (left, top), (right, bottom) = rings[0].min(axis=0).tolist(), rings[0].max(axis=0).tolist()
        require_room((bottom - top + 1) * (right - left + 1))
        inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
        for place, ring in enumerate(rings):
            cv2.fillPoly(inside, [ring], color=0 if place else 1, offset=(-left, -top))
        return _cut(Patch(top, left, inside.view(bool)), frame)


def _ring(given: Any) -> np.ndarray:
    """Corners as float64 `N x 2`."""
    try:
        corners = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ValueError("its corners are no list of numbers") from None
    if corners.ndim == 1 and corners.size % 2 == 0:
        corners = corners.reshape(-1, 2)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise ValueError("its corners are no list of pairs x, y")
    if len(corners) < 3:
        raise ValueError(f"it has {len(corners)} corners, and a polygon has three at least")
    if not np.isfinite(corners).all() or np.abs(corners).max() > 2**30:
        raise ValueError("a corner is not a finite place")
    return corners


def _corners(ring: bytes) -> np.ndarray:
    return np.frombuffer(ring, np.float64).reshape(-1, 2)


def _ints(ring: bytes) -> np.ndarray:
    return np.frombuffer(ring, np.int32).reshape(-1, 2)


def _extent(corners: np.ndarray) -> Bounds:
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom


def _signed_area(corners: np.ndarray) -> float:
    x, y = corners.T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1]) / 2


def _range(centre: float, reach: float, start: int, length: int) -> tuple[int, int]:
    """The pixels, first and one beyond the last, whose centres can lie within reach."""
    return max(start, math.floor(centre - reach)), min(start + length, math.ceil(centre + reach) + 1)


def _cut(patch: Patch, frame: Window) -> Patch | None:
    height, width = patch.inside.shape
    top, left = max(patch.top, frame.top), max(patch.left, frame.left)
    bottom = min(patch.top + height, frame.top + frame.height)
    right = min(patch.left + width, frame.left + frame.width)
    if top >= bottom or left >= right:
        return None
    return Patch(top, left, patch.inside[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left])
