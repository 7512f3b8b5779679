"""What stands on the land of the generated aerial views: homes, hedges, woods, and the shadows they throw.

Also the land itself while it is drawn, and the palettes of what covers it. Colours are reflectances 0..1 in the order
red, green, blue, near infrared; points (x, y) and lengths are pixels of a canvas twice the image's size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from maskwright.synthetic.noise import fractal

GRASS, CROP, TREES, ROAD, ROOF, WATER = range(6)

Palette = tuple[tuple[float, float, float, float], ...]

# The palettes overlap on purpose: ripe crops, ploughed land, tracks and dry grass; tiles and bare soil; slate, asphalt
# and turbid water; leaves of any kind.
GRASSES: Palette = (
    (0.075, 0.11, 0.055, 0.38), (0.12, 0.14, 0.075, 0.36), (0.2, 0.18, 0.11, 0.32), (0.09, 0.1, 0.06, 0.3),
)  # fmt: skip
CROPS: Palette = (
    (0.07, 0.12, 0.05, 0.45), (0.28, 0.23, 0.14, 0.35), (0.17, 0.13, 0.09, 0.22), (0.24, 0.24, 0.06, 0.45),
    (0.05, 0.085, 0.04, 0.41), (0.12, 0.14, 0.07, 0.37), (0.21, 0.17, 0.12, 0.27),
)  # fmt: skip
LEAVES: Palette = (
    (0.04, 0.07, 0.035, 0.36), (0.055, 0.085, 0.04, 0.43), (0.12, 0.09, 0.045, 0.33), (0.035, 0.05, 0.03, 0.24),
)  # fmt: skip
PAVED: Palette = ((0.11, 0.11, 0.11, 0.13), (0.17, 0.17, 0.165, 0.2), (0.25, 0.25, 0.23, 0.28))
TRACKS: Palette = ((0.21, 0.16, 0.11, 0.27), (0.27, 0.24, 0.19, 0.32), (0.15, 0.125, 0.09, 0.22))
ROOFS: Palette = (
    (0.22, 0.12, 0.08, 0.26), (0.16, 0.085, 0.065, 0.2), (0.1, 0.1, 0.11, 0.13), (0.3, 0.3, 0.3, 0.32),
    (0.2, 0.19, 0.17, 0.23), (0.1, 0.13, 0.1, 0.19), (0.13, 0.14, 0.17, 0.16),
)  # fmt: skip
WATERS: Palette = (
    (0.03, 0.05, 0.06, 0.02), (0.11, 0.105, 0.075, 0.06), (0.05, 0.09, 0.05, 0.04), (0.06, 0.08, 0.09, 0.035),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Land:
    """A scene in the making."""

    rng: np.random.Generator
    land_HW: np.ndarray  # uint8 class indices
    bands_HW4: np.ndarray  # float32 reflectance
    shadow: np.ndarray  # (x, y), where the shadow of something one pixel high falls
    trees: list[tuple[float, float, float]]  # x, y and crown radius
    roofs: list[np.ndarray]  # corners (4, 2), the long sides from 0 to 1 and from 2 to 3

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.land_HW.shape[0], self.land_HW.shape[1]

    def pick(self, palette: Palette) -> np.ndarray:
        """One colour of a palette (4 reflectances), made lighter or darker at random."""
        chosen = np.asarray(palette[self.rng.integers(len(palette))])
        changed: np.ndarray = chosen * np.exp(self.rng.normal(0, 0.12) + self.rng.normal(0, 0.05, 4))
        return changed

    def blank(self) -> np.ndarray:
        """An empty uint8 layer to draw a mask into."""
        return np.zeros(self.size, np.uint8)

    def paint(self, where_HW: np.ndarray, kind: int, color: np.ndarray, texture_HW: np.ndarray) -> None:
        """Make the pixels where a uint8 mask is not 0 one kind of land, of one colour times a texture."""
        x, y, width, height = cv2.boundingRect(where_HW)
        part = np.s_[y : y + height, x : x + width]
        where = where_HW[part] > 0
        self.land_HW[part][where] = kind
        self.bands_HW4[part][where] = color.astype(np.float32) * texture_HW[part][where][:, None]


def fixed(points: np.ndarray) -> np.ndarray:
    """Points as OpenCV's drawing calls take them with shift=4."""
    result: np.ndarray = np.rint(np.clip(points, -9000, 9000) * 16).astype(np.int32)
    return result


def line(layer: np.ndarray, start: np.ndarray, end: np.ndarray, color: Iterable[float], thickness: int) -> None:
    """Draw a straight line between two points into a layer of one or four channels."""
    a, b = fixed(np.array([start, end])).tolist()
    cv2.line(layer, a, b, tuple(float(c) for c in color), thickness, cv2.LINE_8, 4)


def square(middle: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Corners (4, 2) of the rectangle around a point with the half sides `u` and `v`."""
    return np.array([middle - u - v, middle + u - v, middle + u + v, middle - u + v])


def place_home(land: Land, spot: np.ndarray, outward: np.ndarray, wear_HW: np.ndarray) -> None:
    """A plot of grass with a drive to the road, one or two wings of a house, and garden trees.

    `outward` is the unit vector from the road to the plot.
    """
    rng = land.rng
    along = np.array([-outward[1], outward[0]])
    plot, drive = land.blank(), land.blank()
    cv2.fillConvexPoly(plot, fixed(square(spot, along * 33, outward * 33)), (1,), cv2.LINE_8, 4)
    land.paint(plot, GRASS, land.pick(GRASSES), wear_HW)
    line(drive, spot, spot - outward * 56, (1,), 8)
    land.paint(drive, ROAD, land.pick(PAVED + TRACKS), wear_HW)
    tilt = rng.normal(0, 0.06)
    u = along * np.cos(tilt) + outward * np.sin(tilt)
    v = outward * np.cos(tilt) - along * np.sin(tilt)
    big = rng.random() < 0.35
    long, short = (rng.uniform(24, 34), rng.uniform(11, 15)) if big else (rng.uniform(15, 22), rng.uniform(9, 13))
    land.roofs.append(square(spot, u * long, v * short))
    if rng.random() < 0.5:
        wing = spot + v * 19 + u * (long - short * 0.8)
        land.roofs.append(square(wing, v * short, u * short * 0.8))
    for _ in range(int(rng.integers(0, 4))):
        x, y = spot + along * rng.choice([-1, 1]) * rng.uniform(26, 36) + outward * rng.uniform(-20, 36)
        land.trees.append((float(x), float(y), rng.uniform(6, 12)))


def place_trees(land: Land, parcels: list[np.ndarray], borders: list[tuple[int, np.ndarray]]) -> None:
    """Hedges along some borders, single trees in meadows, and now and then a wood instead of a field."""
    rng = land.rng
    height, width = land.size
    for _, (start, end) in borders:
        if rng.random() < 0.4:
            length = float(np.hypot(*(end - start)))
            direction = (end - start) / length
            aside = np.array([-direction[1], direction[0]]) * rng.choice([-1, 1]) * rng.uniform(12, 17)
            for t in np.arange(0, length, rng.uniform(9, 26)):
                x, y = start + direction * (t + rng.normal(0, 2)) + aside + rng.normal(0, 1.5, 2)
                land.trees.append((float(x), float(y), rng.uniform(6, 11)))
    undergrowth = land.blank()
    for index in rng.permutation(len(parcels))[: int(rng.integers(1, 3))]:
        parcel, outline = parcels[index], parcels[index].astype(np.float32)
        if any(cv2.pointPolygonTest(outline, corners.mean(0).tolist(), True) > -20 for corners in land.roofs):
            continue
        middle = parcel.mean(0)
        cv2.fillConvexPoly(undergrowth, fixed(middle + (parcel - middle) * 0.85), (1,), cv2.LINE_8, 4)
        low, high = parcel.min(0), parcel.max(0)
        for x, y in rng.uniform(low, high, (int(np.prod(high - low) / 130), 2)):
            if cv2.pointPolygonTest(outline, (float(x), float(y)), True) > 10:
                land.trees.append((float(x), float(y), rng.uniform(8, 14)))
    for x, y in rng.uniform(0, (width, height), (round(height * width / 9000), 2)):
        if land.land_HW[int(y), int(x)] == GRASS:
            land.trees.append((float(x), float(y), rng.uniform(6, 13)))
    # No tree grows on a road, in the water or through a roof.
    free = ((land.land_HW != ROAD) & (land.land_HW != WATER)).astype(np.uint8)
    undergrowth &= np.asarray(cv2.erode(free, np.ones((9, 9), np.uint8)), np.uint8)
    land.paint(undergrowth, TREES, land.pick(LEAVES), np.full(land.size, 0.7, np.float32))
    for corners in land.roofs:
        cv2.fillConvexPoly(free, fixed(corners), (0,), cv2.LINE_8, 4)
    room = cv2.distanceTransform(free, cv2.DIST_L2, 3)
    land.trees[:] = [
        (x, y, radius)
        for x, y, radius in land.trees
        if 0 <= x < width and 0 <= y < height and room[int(y), int(x)] > radius * 0.7
    ]


def cast_shadows(land: Land) -> None:
    """Darken the ground where trees and houses take the sun."""
    shade = land.blank()
    for x, y, radius in land.trees:
        u, v = np.array([x, y]) + land.shadow * radius * 1.1
        cv2.circle(shade, (round(u), round(v)), round(radius), (255,), -1)
    for corners in land.roofs:
        hull = cv2.convexHull(np.concatenate([corners, corners + land.shadow * 13]).astype(np.float32))[:, 0]
        cv2.fillConvexPoly(shade, fixed(hull), (255,), cv2.LINE_8, 4)
    # Shaded ground still has the sky's light, which is blue.
    loss = np.array([0.62, 0.58, 0.5, 0.66], np.float32) / np.float32(255)
    land.bands_HW4[:] *= 1 - np.asarray(cv2.blur(shade, (3, 3)))[..., None] * loss


def draw_trees(land: Land) -> None:
    """Draw all crowns: dark at the rim, light towards the sun, with the grain of leaves."""
    rng = land.rng
    species = [land.pick(LEAVES) for _ in range(3)]
    sunward = -land.shadow / np.hypot(*land.shadow)
    crowns = land.blank()
    for x, y, radius in land.trees:
        color = species[rng.integers(3)] * rng.normal(1, 0.1)
        for tone, fraction, toward in ((0.62, 1.0, 0.0), (0.95, 0.74, 0.22), (1.3, 0.42, 0.42)):
            center = fixed(np.array([x, y]) + sunward * radius * toward).tolist()
            cv2.circle(
                land.bands_HW4, center, round(radius * fraction * 16), (color * tone).tolist(), -1, cv2.LINE_8, 4
            )
        cv2.circle(crowns, fixed(np.array([x, y])).tolist(), round(radius * 16), (1,), -1, cv2.LINE_8, 4)
    where = crowns > 0
    land.land_HW[where] = TREES
    land.bands_HW4[where] *= 1 + 0.2 * fractal(rng, land.size, 6, 2)[where][:, None]


def draw_roof(land: Land, corners_42: np.ndarray) -> None:
    """A gabled, hipped or flat roof: each plane as bright as it faces the sun, with the lines of its cover."""
    rng = land.rng
    color, style = land.pick(ROOFS), rng.choice(["gable", "hip", "flat"], p=[0.55, 0.25, 0.2])
    a, b, c, d = corners_42
    cv2.fillConvexPoly(land.land_HW, fixed(corners_42), (ROOF,), cv2.LINE_8, 4)
    hip = 0.0 if style == "gable" else float(np.hypot(*(d - a)) / np.hypot(*(b - a)) / 2)
    left, right = (a + d) / 2 * (1 - hip) + (b + c) / 2 * hip, (b + c) / 2 * (1 - hip) + (a + d) / 2 * hip
    planes = [corners_42] if style == "flat" else [np.array([a, b, right, left]), np.array([c, d, left, right])]
    if style == "hip":
        planes += [np.array([b, c, right]), np.array([d, a, left])]
    sunward = -land.shadow / np.hypot(*land.shadow)
    for plane in planes:
        edge = plane[1] - plane[0]
        length = float(np.hypot(*edge))
        outward = np.array([edge[1], -edge[0]]) / length
        shaded = color * (1.0 if style == "flat" else 1 + 0.42 * float(outward @ sunward))
        cv2.fillConvexPoly(land.bands_HW4, fixed(plane), shaded.tolist(), cv2.LINE_8, 4)
        if style != "flat" or rng.random() < 0.5:
            for fraction in np.arange(0.1, 1, 4 / max(length, 5)):
                end = plane[-1] + (plane[2] - plane[-1]) * fraction
                line(land.bands_HW4, plane[0] + edge * fraction, end, shaded * 0.86, 1)
    if rng.random() < 0.4:  # a chimney or a skylight
        u, v = np.rint(a + (b - a) * rng.uniform(0.2, 0.8) + (d - a) * rng.uniform(0.2, 0.8)).astype(int).tolist()
        cv2.rectangle(land.bands_HW4, (u - 2, v - 2, 5, 5), (0.08, 0.09, 0.11, 0.1), -1)
