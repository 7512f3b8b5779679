"""Generated micrographs: nervous tissue as an electron microscope shows it, dark membranes between grey cells.

Mitochondria, vesicles and endoplasmic reticulum are as dark as the membranes, and membranes fade where the section cuts
them obliquely, so that brightness alone does not find them. One pixel is one pixel at every size: a larger image shows
more cells.

Arrays at twice the image's size: `cell_HW` int32 cell numbers, `distance_HW` float32 distance to the nearest boundary
in pixels of the finished image, `tissue_HW` float32 brightness 0..255.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.synthetic.noise import fractal, white

CLASSES = ("membrane", "cell")
COLORS = ((230, 90, 60), (70, 110, 160))


def cells_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw one section: brightness uint8 (H, W, 1) and class indices uint8 (H, W), in the order of CLASSES."""
    large = 2 * size[0], 2 * size[1]
    cell_HW = _draw_cells(rng, large)
    boundary = np.ones(large, np.uint8)
    boundary[:, 1:] &= cell_HW[:, 1:] == cell_HW[:, :-1]
    boundary[1:] &= cell_HW[1:] == cell_HW[:-1]
    if boundary.all():  # a section through a single cell, possible at small sizes
        distance_HW = np.full(large, 1e3, np.float32)
    else:
        distance_HW = np.asarray(cv2.distanceTransform(boundary, cv2.DIST_L2, 5), np.float32) / np.float32(2)

    thickness = rng.uniform(2.4, 3.4) * np.clip(1 + 0.16 * fractal(rng, large, 50, 3), 0.75, 1.35)
    oblique = np.clip(fractal(rng, large, 90, 2) - 1.1, 0, 0.7)  # where the membrane is cut along its plane
    thickness *= 1 + 0.7 * oblique
    shape = distance_HW / (thickness / 2)
    mask = cv2.resize((shape < 1).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) < 0.5

    tissue_HW = _draw_interiors(rng, cell_HW, distance_HW)
    uneven = np.clip(0.8 + 0.17 * fractal(rng, large, 34, 3), 0.42, 1) * (1 - 0.5 * oblique)
    density = np.exp(-0.75 * shape**6) * uneven
    # Synapses: short stretches where the membrane carries dark material on both sides.
    synapse = np.clip(fractal(rng, large, 44, 1) - 1.9, 0, 1) * np.exp(-((distance_HW / 5) ** 2))
    dark = rng.uniform(30, 70)
    tissue_HW += (dark - tissue_HW) * np.clip(density, 0, 1)
    tissue_HW *= 1 - 0.7 * synapse
    return _expose(rng, tissue_HW, size), mask.astype(np.uint8)


def _draw_cells(rng: np.random.Generator, large: tuple[int, int]) -> np.ndarray:
    """Cell numbers of a warped Voronoi tessellation some of whose neighbours are merged, so that cells wind."""
    margin = 160
    height, width = large[0] + 2 * margin, large[1] + 2 * margin
    spacing = rng.uniform(44, 68)
    rows, columns = int(height / spacing) + 1, int(width / spacing) + 1
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    seeds = (grid + rng.uniform(0, 1, grid.shape)) * spacing
    few = seeds[rng.random(len(seeds)) < 0.2]  # small profiles between large ones: thin axons
    seeds = np.concatenate([seeds, few + rng.normal(0, spacing * 0.3, few.shape)])
    seeds = np.clip(np.round(seeds), 0, [height - 1, width - 1]).astype(int)

    empty = np.ones((height, width), np.uint8)
    empty[seeds[:, 0], seeds[:, 1]] = 0
    _, nearest = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    number = np.arange(int(nearest.max()) + 1)
    for a in np.flatnonzero(rng.random(len(seeds)) < 0.3):  # merge with the nearest seed
        apart = np.hypot(*(seeds - seeds[a]).T)
        apart[apart == 0] = np.inf
        one, other = (int(number[nearest[tuple(seeds[k])]]) for k in (a, int(np.argmin(apart))))
        number[number == one] = other
    cells = number[nearest].astype(np.float32)

    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.7)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    along = turn @ np.diag([1 / np.sqrt(stretch), np.sqrt(stretch)]) @ turn.T
    middle = np.array([width, height]) / 2
    offset = middle - along @ (np.array(large[::-1]) / 2)
    y, x = np.mgrid[: large[0], : large[1]].astype(np.float32)
    maps = [along[k, 0] * x + along[k, 1] * y + offset[k] for k in (0, 1)]
    amplitude = rng.uniform(12, 20)
    maps = [m + amplitude * fractal(rng, large, 110, 3, 0.4) + 1.6 * fractal(rng, large, 22, 2) for m in maps]
    warped = cv2.remap(
        cells, maps[0].astype(np.float32), maps[1].astype(np.float32), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
    )
    result: np.ndarray = warped.astype(np.int32)
    return result


def _draw_interiors(rng: np.random.Generator, cell_HW: np.ndarray, distance_HW: np.ndarray) -> np.ndarray:
    """Cytoplasm with its granules and organelles, no membranes yet."""
    size = cell_HW.shape[0], cell_HW.shape[1]
    levels = rng.normal(168, 22, int(cell_HW.max()) + 1).clip(95, 215).astype(np.float32)
    tissue_HW: np.ndarray = levels[cell_HW]
    tissue_HW += 9 * fractal(rng, size, 40, 3) + 13 * fractal(rng, size, 7, 2)
    large = size[0] * size[1] / 512**2  # sections of the default size

    def inside(least: float, count: float) -> list[tuple[int, int, float]]:
        """Random points (u, v) at least so many pixels from every boundary, with their distance."""
        where = np.flatnonzero(distance_HW.ravel() > least)
        if len(where) == 0:
            return []
        chosen = rng.choice(where, max(1, round(count * large)))
        return [(int(k % size[1]), int(k // size[1]), float(distance_HW.ravel()[k])) for k in chosen]

    for u, v, room in inside(5, rng.uniform(50, 110)):  # endoplasmic reticulum: short, thin, winding
        heading, step = rng.uniform(0, 2 * np.pi), 4.0
        points = [np.array([u, v], np.float64)]
        for _ in range(int(min(room, 12) * rng.uniform(0.5, 1.2))):
            heading += rng.normal(0, 0.35)
            points.append(points[-1] + step * np.array([np.cos(heading), np.sin(heading)]))
            column, row = np.round(points[-1]).astype(int)
            if not (0 <= row < size[0] and 0 <= column < size[1]) or distance_HW[row, column] < 3.5:
                break
        line = np.round(np.array(points) * 16).astype(np.int32)
        cv2.polylines(tissue_HW, [line], False, (rng.uniform(75, 130),), int(rng.integers(2, 4)), cv2.LINE_8, 4)

    for u, v, _ in inside(6, rng.uniform(8, 22)):  # clouds of vesicles: dark rings
        for _ in range(int(rng.integers(6, 26))):
            a, b = round(u + rng.normal(0, 11)), round(v + rng.normal(0, 11))
            if 0 <= b < size[0] and 0 <= a < size[1] and distance_HW[b, a] > 4 and cell_HW[b, a] == cell_HW[v, u]:
                cv2.circle(tissue_HW, (a, b), 4, (rng.uniform(70, 110),), 2, cv2.LINE_8)
                cv2.circle(tissue_HW, (a, b), 2, (rng.uniform(150, 190),), -1, cv2.LINE_8)

    for u, v, room in inside(6.5, rng.uniform(20, 34)):
        _mitochondrion(rng, tissue_HW, (u, v), room)
    for u, v, _ in inside(4, rng.uniform(20, 60)):  # ribosomes and lysosomes
        cv2.circle(tissue_HW, (u, v), int(rng.integers(2, 6)), (rng.uniform(45, 110),), -1, cv2.LINE_8)
    return tissue_HW


def _mitochondrion(rng: np.random.Generator, tissue_HW: np.ndarray, center: tuple[int, int], room: float) -> None:
    """A dark oval with a double wall and folds across it, small enough to stay inside its cell."""
    short = min(2 * (room - 2.5), 26) * rng.uniform(0.75, 1)
    long = min(short * rng.uniform(1, 1.8), 2 * (room - 2))
    angle, body, wall = rng.uniform(0, 180), rng.uniform(85, 125), rng.uniform(35, 65)
    axes = round(long), round(short)
    cv2.ellipse(tissue_HW, center, axes, angle, 0, 360, (wall,), -1, cv2.LINE_8)
    cv2.ellipse(tissue_HW, center, (max(1, axes[0] - 3), max(1, axes[1] - 3)), angle, 0, 360, (body,), -1, cv2.LINE_8)
    direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    across = np.array([-direction[1], direction[0]])
    for fraction in np.arange(-0.75, 0.8, 5 / max(long, 5)):
        half = short * np.sqrt(1 - fraction**2) * rng.uniform(0.5, 0.9)
        start = np.array(center) + direction * fraction * long - across * half * rng.uniform(0.4, 1)
        end = start + across * half * rng.uniform(1, 1.6)
        line = np.round(np.array([start, end]) * 16).astype(np.int32)
        cv2.polylines(tissue_HW, [line], False, (wall * 1.25,), 2, cv2.LINE_8, 4)


def _expose(rng: np.random.Generator, tissue_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The finished micrograph, uint8 (H, W, 1): uneven staining, knife marks, focus, exposure and shot noise."""
    image = np.asarray(cv2.resize(tissue_HW, size[::-1], interpolation=cv2.INTER_AREA), np.float32)
    image *= 1 + np.float32(0.07) * fractal(rng, size, 160, 2)
    marks = cv2.resize(white(rng, (1, size[1] // 4)), size[::-1], interpolation=cv2.INTER_LINEAR)
    image += np.float32(rng.uniform(0, 3.5)) * np.asarray(marks, np.float32)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 0.95)), np.float32)
    image = (image - 128) * np.float32(rng.uniform(0.55, 1.1)) + np.float32(128 + rng.uniform(-50, 35))
    image += white(rng, size) * np.float32(rng.uniform(5, 11))
    correlated = np.asarray(cv2.GaussianBlur(white(rng, size), (0, 0), 0.8), np.float32)
    image += correlated * np.float32(rng.uniform(6, 16))
    return np.clip(image, 0, 255).astype(np.uint8)[..., None]
