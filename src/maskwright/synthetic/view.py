"""Camera, light, canvas and colours of the generated street scenes.

World coordinates are metres: x to the right of the camera, y up from the ground, z ahead of the camera. Canvas
coordinates are pixels (u to the right, v down) of a canvas twice the size of the finished image.
Arrays: `points_N3` world points, `points_N2` canvas points, float64; colours are RGB float64, albedo in 0..1,
light in 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Color = Sequence[float] | np.ndarray
UP = (0.0, 1.0, 0.0)
FACING = (0.0, 0.0, -1.0)
_NEAR = 0.4  # metres; nothing is drawn nearer
SKY, BUILDING, ROAD, TREE, CAR, PERSON, SIGN = range(7)

# The palettes overlap: walls, cars and clothes may be as grey as asphalt or cloud, as green as leaves, as red as signs.
Palette = tuple[tuple[float, float, float], ...]
WALLS: Palette = (
    (0.55, 0.3, 0.22), (0.72, 0.66, 0.55), (0.6, 0.42, 0.32), (0.78, 0.74, 0.66), (0.58, 0.54, 0.48), (0.7, 0.52, 0.3),
    (0.7, 0.54, 0.48),
)  # fmt: skip
LEAVES: Palette = (
    (0.2, 0.33, 0.12), (0.28, 0.4, 0.14), (0.14, 0.25, 0.14), (0.3, 0.36, 0.12), (0.22, 0.36, 0.2), (0.5, 0.4, 0.14),
)  # fmt: skip
PAINT: Palette = (
    (0.5, 0.5, 0.52), (0.8, 0.8, 0.8), (0.6, 0.1, 0.08), (0.1, 0.2, 0.52), (0.12, 0.36, 0.24), (0.72, 0.62, 0.1),
    (0.25, 0.55, 0.68), (0.7, 0.32, 0.08), (0.36, 0.1, 0.16),
)  # fmt: skip
CLOTHES: Palette = (
    (0.62, 0.12, 0.2), (0.2, 0.16, 0.5), (0.72, 0.6, 0.1), (0.75, 0.7, 0.72), (0.24, 0.2, 0.36), (0.1, 0.45, 0.45),
    (0.45, 0.14, 0.46), (0.78, 0.4, 0.5),
)  # fmt: skip
SKIN: Palette = (
    (0.8, 0.6, 0.48), (0.62, 0.43, 0.31), (0.4, 0.26, 0.18), (0.26, 0.17, 0.12), (0.85, 0.68, 0.58),
)  # fmt: skip
PLATES: Palette = (
    (0.75, 0.08, 0.08), (0.1, 0.25, 0.65), (0.85, 0.7, 0.08), (0.85, 0.85, 0.85), (0.08, 0.42, 0.22), (0.75, 0.4, 0.08),
)  # fmt: skip


def pick(rng: np.random.Generator, palette: Palette, spread: float = 0.1) -> np.ndarray:
    """One colour of a palette, made lighter or darker and shifted in hue at random."""
    chosen = np.asarray(palette[rng.integers(len(palette))])
    changed: np.ndarray = np.clip(chosen * np.exp(rng.normal(0, spread) + rng.normal(0, spread / 3, 3)), 0.02, 0.95)
    return changed


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera that looks along z, level, over ground that bends sideways with the street."""

    focal: float  # pixels of the canvas
    center: float  # column of the vanishing point
    horizon: float  # row of the horizon
    height: float  # metres above the ground
    bend: float  # sideways shift of the world in metres per squared metre ahead

    def project(self, points_N3: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Canvas points (N, 2) of world points; what is behind the camera is moved just before it."""
        x, y, z = np.asarray(points_N3, np.float64).reshape(-1, 3).T
        z = np.maximum(z, _NEAR)
        u = self.center + self.focal * (x / z + self.bend * z)
        v = self.horizon + self.focal * (self.height - y) / z
        return np.stack([u, v], axis=1)

    def scale(self, z: float) -> float:
        """Canvas pixels per metre at distance z."""
        return float(self.focal / max(z, _NEAR))

    def column_to_x(self, u: float, z: float) -> float:
        """World x of the canvas column u at distance z."""
        return ((u - self.center) / self.focal - self.bend * z) * z


@dataclass(frozen=True, kw_only=True)
class Light:
    """Sun, sky light and haze of one scene."""

    sun: np.ndarray  # RGB, 0..1
    ambient: np.ndarray  # RGB, 0..1
    toward_sun: np.ndarray  # unit vector
    haze: np.ndarray  # RGB 0..255, what the distance fades into
    visibility: float  # metres after which 63 % is haze
    shadow: float  # fraction of the light that a cast shadow takes, 0..1
    night: bool

    def on(self, albedo: Color, z: float, normal: Color = FACING) -> np.ndarray:
        """RGB 0..255 of a matte surface at distance z, Lambert's law plus sky light, seen through the haze."""
        facing = max(0.0, float(np.dot(normal, self.toward_sun)))
        return self.through_haze(np.asarray(albedo) * (self.ambient + self.sun * facing) * 255, z)

    def through_haze(self, color: Color, z: float) -> np.ndarray:
        """RGB 0..255 of something shining at distance z."""
        kept = float(np.exp(-z / self.visibility))
        result: np.ndarray = np.clip(np.asarray(color) * kept + self.haze * (1 - kept), 0, 255)
        return result


class Canvas:
    """RGB and class index in one uint8 HxWx4 array, so that a drawing call cannot set one without the other."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.pixels = np.zeros((*size, 4), np.uint8)
        self.size = size

    def polygon(self, points_N2: np.ndarray, color: Color, label: int) -> None:
        """Fill a convex polygon."""
        cv2.fillConvexPoly(self.pixels, _subpixel(points_N2), (*_rgb(color), label), cv2.LINE_8, _SHIFT)

    def shape(self, points_N2: np.ndarray, color: Color, label: int) -> None:
        """Fill any simple polygon."""
        cv2.fillPoly(self.pixels, [_subpixel(points_N2)], (*_rgb(color), label), cv2.LINE_8, _SHIFT)

    def discs(self, centers_N2: np.ndarray, radii_N: np.ndarray, color: Color, label: int) -> None:
        """Fill circles of one colour."""
        paint = (*_rgb(color), label)
        fixed = np.maximum(_subpixel(radii_N), 1).tolist()
        for center, radius in zip(_subpixel(centers_N2).tolist(), fixed, strict=True):
            cv2.circle(self.pixels, center, radius, paint, -1, cv2.LINE_8, _SHIFT)

    def limb(self, start: Color, end: Color, radii: tuple[float, float], color: Color, label: int) -> None:
        """Fill the hull of two circles: an arm, a leg, a trunk."""
        a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
        along = b - a
        across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
        sides = [a + across * radii[0], b + across * radii[1], b - across * radii[1], a - across * radii[0]]
        self.polygon(np.array(sides), color, label)
        self.discs(np.array([a, b]), np.array(radii), color, label)

    def picture(self, texture: np.ndarray, corners_42: np.ndarray, label: int) -> None:
        """Draw an RGB uint8 texture into a convex quadrilateral: its top left, top right, bottom right, bottom left."""
        low = np.maximum(np.floor(corners_42.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(corners_42.max(0)) + 1, self.size[::-1]).astype(int)
        width, height = (int(n) for n in high - low)
        if width < 1 or height < 1:
            return
        rows, columns = texture.shape[:2]
        source = np.array([[0, 0], [columns - 1, 0], [columns - 1, rows - 1], [0, rows - 1]], np.float32)
        to_canvas = cv2.getPerspectiveTransform(source, (corners_42 - low).astype(np.float32))
        warped = cv2.warpPerspective(
            texture, to_canvas, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        inside = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(inside, _subpixel(corners_42 - low), (255,), cv2.LINE_8, _SHIFT)
        part = self.pixels[low[1] : high[1], low[0] : high[0]]
        opaque = cv2.merge([*cv2.split(warped), np.full((height, width), label, np.uint8)])
        cv2.copyTo(opaque, inside, part)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What every drawing function needs."""

    canvas: Canvas
    camera: Camera
    light: Light


@dataclass(frozen=True, kw_only=True)
class Street:
    """The cross-section of a street, metres."""

    middle: float  # x of the centre line
    half_road: float
    building_line: float  # distance of the house fronts from the centre line


@dataclass(frozen=True, kw_only=True)
class House:
    """A house along the street, metres; its details are drawn from its seed."""

    side: int  # -1 left, +1 right
    x: float  # of its street front
    near: float  # z where the front begins
    far: float  # z where it ends
    height: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A tree, car, person or sign; its details are drawn from its seed."""

    kind: str
    x: float
    z: float
    size: float  # height in metres; of a car its turn in radians, clockwise from above
    seed: int

    def footprint(self, half_length: float, half_width: float) -> np.ndarray:
        """Corners (4, 2) on the ground of a turned rectangle, in order round it."""
        along = np.array([np.sin(self.size), np.cos(self.size)]) * half_length
        across = np.array([np.cos(self.size), -np.sin(self.size)]) * half_width
        corners = np.array([along + across, along - across, -along - across, across - along])
        return np.asarray(corners + np.array([self.x, self.z]))


_SHIFT = 4  # bits of sub-pixel precision in OpenCV's drawing calls
_ONE = 1 << _SHIFT


def _subpixel(points: np.ndarray) -> np.ndarray:
    # Far outside the canvas OpenCV's fixed-point arithmetic would overflow.
    fixed: np.ndarray = np.rint(np.minimum(np.maximum(points, -30000), 30000) * _ONE).astype(np.int32)
    return fixed


def _rgb(color: Color) -> tuple[int, int, int]:
    r, g, b = color
    return int(r), int(g), int(b)
