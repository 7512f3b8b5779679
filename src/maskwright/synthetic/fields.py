"""Generated aerial views of farmland in four bands: red, green, blue and near infrared, as reflectance times 10,000.

Fields show their rows, roads cross rivers, roofs have a sunny and a shaded side, trees throw shadows. Plants are bright
in the near infrared and water is dark, as in nature; ripe or ploughed fields, dry grass, tiles and tracks share their
colours. Bridges and drives count as road, banks and gardens as grass. One pixel is one pixel at every size: a larger
image shows more land.

Arrays on a canvas twice the image's size: uint8 masks `where_HW`, float32 reflectance `bands_HW4`.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.synthetic.farm import (
    CROP,
    CROPS,
    GRASS,
    GRASSES,
    PAVED,
    ROAD,
    TRACKS,
    WATER,
    WATERS,
    Land,
    cast_shadows,
    draw_roof,
    draw_trees,
    fixed,
    line,
    place_home,
    place_trees,
)
from maskwright.synthetic.noise import fractal, labels_at_half_size, white

CLASSES = ("grass", "crop", "trees", "road", "roof", "water")
COLORS = ((150, 200, 110), (225, 190, 90), (40, 110, 60), (130, 130, 135), (200, 70, 60), (60, 120, 210))

_MARGIN = 48  # canvas pixels drawn beyond each edge, from which the final bending takes


def fields_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene: reflectance x 10,000 uint16 (H, W, 4), class indices uint8 (H, W) in the order of CLASSES."""
    large = 2 * (size[0] + _MARGIN), 2 * (size[1] + _MARGIN)
    away = rng.uniform(0, 2 * np.pi)
    land = Land(
        rng=rng,
        land_HW=np.full(large, GRASS, np.uint8),
        bands_HW4=np.zeros((*large, 4), np.float32),
        shadow=np.array([np.cos(away), np.sin(away)]) * rng.uniform(0.5, 1.1),
        trees=[],
        roofs=[],
    )
    parcels, borders = _divide(rng, large)
    _draw_parcels(land, parcels)
    _draw_water(land)
    _draw_roads(land, borders)
    place_trees(land, parcels, borders)
    cast_shadows(land)
    draw_trees(land)
    for corners in land.roofs:
        draw_roof(land, corners)
    return _survey(land, size)


def _divide(rng: np.random.Generator, large: tuple[int, int]) -> tuple[list[np.ndarray], list[tuple[int, np.ndarray]]]:
    """Cut the land into convex parcels by straight lines; also the cuts, as (how many came before, two points)."""
    turn = rng.uniform(0, np.pi)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle, reach = np.array(large[::-1]) / 2, float(np.hypot(*large)) / 2 + 20
    whole = middle + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) @ axes * reach
    target = rng.uniform(170, 240) ** 2
    parcels: list[np.ndarray] = []
    borders: list[tuple[int, np.ndarray]] = []
    waiting = [(0, whole)]
    while waiting:
        depth, polygon = waiting.pop()
        extent = np.ptp(polygon @ axes.T, axis=0)
        if cv2.contourArea(polygon.astype(np.float32)) < target * rng.uniform(0.7, 1.8) or extent.max() < 110:
            parcels.append(polygon)
            continue
        tilt = rng.normal(0, 0.08)
        turned = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        heights = polygon @ (axes[int(np.argmax(extent))] @ turned)
        level = float(np.ptp(heights)) * rng.uniform(0.35, 0.65) + heights.min()
        below: list[np.ndarray] = []
        above: list[np.ndarray] = []
        cut: list[np.ndarray] = []
        for a, b, height_a, height_b in zip(
            polygon, np.roll(polygon, -1, 0), heights, np.roll(heights, -1), strict=True
        ):
            (above if height_a > level else below).append(a)
            if (height_a > level) != (height_b > level):
                cut.append(a + (b - a) * (level - height_a) / (height_b - height_a))
                below.append(cut[-1])
                above.append(cut[-1])
        borders.append((depth, np.array(cut)))
        waiting += [(depth + 1, np.array(below)), (depth + 1, np.array(above))]
    return parcels, borders


def _draw_parcels(land: Land, parcels: list[np.ndarray]) -> None:
    """Meadows and fields: colour, rows, tramlines, wet and dry patches."""
    rng, size = land.rng, land.size
    number_HW = np.zeros(size, np.int32)
    kinds, colors = [GRASS], [land.pick(GRASSES)]
    # For each parcel: the direction across its rows (x, y), their period, depth, distance of tramlines, patchiness.
    tables = [(0.0, 0.0, 1.0, 0.0, 1.0, 0.1)]
    for polygon in parcels:
        margin = rng.uniform(3, 7) / float(np.sqrt(cv2.contourArea(polygon.astype(np.float32))))
        middle = polygon.mean(0)
        cv2.fillConvexPoly(number_HW, fixed(middle + (polygon - middle) * (1 - margin)), (len(kinds),), cv2.LINE_8, 4)
        if rng.random() < 0.66:
            sides = np.roll(polygon, -1, 0) - polygon
            longest = sides[int(np.argmax(np.hypot(*sides.T)))]
            angle = float(np.arctan2(longest[0], -longest[1])) + rng.normal(0, 0.03)
            rows = rng.uniform(8, 15), rng.uniform(0.13, 0.3), rng.uniform(50, 90), rng.uniform(0.06, 0.16)
            tables.append((np.cos(angle), np.sin(angle), *rows))
            kinds.append(CROP)
            colors.append(land.pick(CROPS))
        else:
            tables.append((0.0, 0.0, 1.0, 0.0, 1.0, rng.uniform(0.1, 0.22)))
            kinds.append(GRASS)
            colors.append(land.pick(GRASSES))
    across_x, across_y, period, depth, tramline, patchy = np.array(tables, np.float32).T
    land.land_HW[:] = np.array(kinds, np.uint8)[number_HW]

    y_H1 = np.arange(size[0], dtype=np.float32)[:, None]
    x_1W = np.arange(size[1], dtype=np.float32)[None, :]
    across_HW = x_1W * across_x[number_HW] + y_H1 * across_y[number_HW] + 0.8 * fractal(rng, size, 60, 2)
    depth_HW = depth[number_HW]
    gaps_HW = np.clip(1 + 0.5 * fractal(rng, size, 30, 3), 0.2, 1.3)
    change_HW = np.sin(across_HW * (np.float32(2 * np.pi) / period)[number_HW]) * depth_HW * gaps_HW
    change_HW += patchy[number_HW] * fractal(rng, size, 90, 4) + 0.06 * fractal(rng, size, 6, 2)
    change_HW -= np.float32(0.22) * ((np.mod(across_HW, tramline[number_HW]) < 4) & (depth_HW > 0))
    # More leaf is brighter in green and infrared and darker in red and blue; of bare or ripe land all bands follow.
    color = np.array(colors, np.float32)
    leafy = (color[:, 3] - color[:, 0]) / (color[:, 3] + color[:, 0]) > 0.45
    follows = np.where(leafy[:, None], np.array([-0.45, 0.45, -0.3, 0.9], np.float32), np.float32(1))
    land.bands_HW4[:] = color[number_HW] + (color * follows)[number_HW] * np.clip(change_HW, -0.7, 0.8)[..., None]


def _draw_water(land: Land) -> None:
    """A winding river with trees along it, ponds, or both, each with a grassy bank."""
    rng, (height, width) = land.rng, land.size
    where_HW = land.blank()
    river = rng.random() < 0.6
    if river:
        angle = rng.uniform(0, 2 * np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        reach = float(np.hypot(height, width)) / 2 + 40
        middle = np.array([width, height]) / 2 + across * rng.uniform(-0.3, 0.3) * min(height, width)
        t = np.arange(-reach, reach, 8.0)
        swing = np.zeros_like(t)
        for wave in (170, 75, 35):
            swing += rng.uniform(0.1, 0.35) * wave * np.sin(t / wave + rng.uniform(0, 2 * np.pi))
        breadth = rng.uniform(14, 32) * (1 + 0.25 * np.sin(t / 60 + rng.uniform(0, 2 * np.pi)))
        points = middle + t[:, None] * along + swing[:, None] * across
        for start, end, wide in zip(points[:-1], points[1:], breadth[:-1], strict=True):
            line(where_HW, start, end, (1,), round(wide))
        for point in points[rng.random(len(points)) < 0.35]:
            x, y = point + across * rng.choice([-1, 1]) * (breadth.mean() * 0.5 + rng.uniform(8, 22))
            land.trees.append((float(x), float(y), rng.uniform(7, 13)))
    for _ in range(int(rng.integers(0 if river else 1, 3))):
        center = rng.uniform(0.2, 0.8, 2) * [width, height]
        t = np.linspace(0, 2 * np.pi, 60)[:-1]
        radius = np.ones_like(t)
        for lobes in (1, 2, 3, 5):
            radius += rng.normal(0, 0.22 / lobes) * np.cos(lobes * t + rng.uniform(0, 2 * np.pi))
        radius = np.clip(radius, 0.3, None) * rng.uniform(28, 62)
        shore = center + np.stack([np.cos(t) * radius, np.sin(t) * radius * rng.uniform(0.6, 1)], axis=1)
        cv2.fillPoly(where_HW, [fixed(shore)], (1,), cv2.LINE_8, 4)
    bank_HW = cv2.dilate(where_HW, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21)))
    rough_HW = np.clip(1 + 0.2 * fractal(rng, land.size, 20, 3), 0.5, 1.5)
    land.paint(np.asarray(bank_HW), GRASS, land.pick(GRASSES), rough_HW)
    deep_HW = np.minimum(np.asarray(cv2.distanceTransform(where_HW, cv2.DIST_L2, 3), np.float32) / 14, 1)
    still_HW = (1.25 - 0.25 * deep_HW) * (1 + 0.05 * fractal(rng, land.size, 50, 3))
    land.paint(where_HW, WATER, land.pick(WATERS), still_HW)


def _draw_roads(land: Land, borders: list[tuple[int, np.ndarray]]) -> None:
    """The first cuts of the land are roads, some later ones tracks; homes stand beside both."""
    rng, (height, width) = land.rng, land.size
    wear_HW = np.clip(1 + 0.09 * fractal(rng, land.size, 40, 4), 0.6, 1.4)
    spots: list[tuple[np.ndarray, np.ndarray]] = []
    for depth, (start, end) in sorted(borders, key=lambda border: -border[0]):
        main = depth <= 1
        if not main and rng.random() > (0.5 if depth == 2 else 0.12):
            continue
        breadth = rng.uniform(13, 19) if main else rng.uniform(8, 11)
        where_HW = land.blank()
        line(where_HW, start, end, (1,), round(breadth))
        surface = land.pick(PAVED if main or rng.random() < 0.3 else TRACKS)
        land.paint(where_HW, ROAD, surface, wear_HW)
        length = float(np.hypot(*(end - start)))
        direction = (end - start) / length
        if main and rng.random() < 0.6:
            for t in np.arange(0, length, 26):
                line(land.bands_HW4, start + direction * t, start + direction * (t + 12), (0.4, 0.4, 0.38, 0.42), 2)
        for t in rng.uniform(0, length, 14 if main else 5):
            outward = np.array([-direction[1], direction[0]]) * rng.choice([-1, 1])
            spot = start + direction * t + outward * (breadth / 2 + rng.uniform(40, 54))
            if 40 < spot[0] < width - 40 and 40 < spot[1] < height - 40:
                spots.append((spot, outward))
    homes: list[np.ndarray] = []
    wanted = max(2, round(height * width / 608**2 * rng.uniform(7, 13)))
    for index in rng.permutation(len(spots)):
        spot, outward = spots[index]
        x, y = spot.astype(int)
        around = land.land_HW[y - 30 : y + 30, x - 30 : x + 30]
        occupied = bool(np.isin(around, (ROAD, WATER)).any()) or any(np.hypot(*(spot - h)) < 84 for h in homes)
        if len(homes) < wanted and not occupied:
            homes.append(spot)
            place_home(land, spot, outward, wear_HW)


def _survey(land: Land, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Bend the drawn land gently and take the picture: blur, haze, cloud shadow, each band's calibration and noise."""
    rng = land.rng
    large = 2 * size[0], 2 * size[1]
    most = _MARGIN - 4
    x = np.arange(large[1], dtype=np.float32)[None, :] + _MARGIN
    y = np.arange(large[0], dtype=np.float32)[:, None] + _MARGIN
    x_HW = x + np.clip(9 * fractal(rng, large, 150, 2, 0.35), -most, most)
    y_HW = y + np.clip(9 * fractal(rng, large, 150, 2, 0.35), -most, most)
    bands_HW4 = cv2.remap(land.bands_HW4, x_HW, y_HW, cv2.INTER_LINEAR)
    labels_HW = cv2.remap(land.land_HW, x_HW, y_HW, cv2.INTER_NEAREST)
    small = cv2.resize(bands_HW4, size[::-1], interpolation=cv2.INTER_AREA)
    image = np.asarray(cv2.GaussianBlur(small, (0, 0), rng.uniform(0.4, 0.75)), np.float32)
    cloud_HW = 1 - np.float32(rng.uniform(0, 0.4)) * np.clip(fractal(rng, size, 130, 2) - 0.3, 0, 1)
    image *= (cloud_HW * (1 + 0.03 * white(rng, size)))[..., None]
    image *= (rng.uniform(0.8, 1.2) * np.exp(rng.normal(0, 0.07, 4))).astype(np.float32)
    image += (np.array([0.7, 0.9, 1.3, 0.4]) * rng.uniform(0, 0.025)).astype(np.float32)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.002, 0.005))
    return np.clip(image * 10000, 1, 65535).astype(np.uint16), labels_at_half_size(np.asarray(labels_HW))
