"""The ground of the generated street scenes, with its markings and the shadows of what stands on it.

Arrays: `shade_HW` float32, the fraction of light that a canvas pixel loses; ground points `ground_N2` (x, z) in metres.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.synthetic.noise import fractal
from maskwright.synthetic.view import ROAD, House, Scene, Street, Thing, pick

_ASPHALT = ((0.3, 0.3, 0.32), (0.36, 0.36, 0.37), (0.26, 0.27, 0.29), (0.33, 0.32, 0.31))
_SLABS = ((0.46, 0.46, 0.46), (0.42, 0.41, 0.4), (0.48, 0.45, 0.42), (0.38, 0.38, 0.4))
_MARKINGS = ((0.8, 0.8, 0.78), (0.75, 0.62, 0.2))
_RING = np.stack([np.cos(np.linspace(0, 2 * np.pi, 13)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 13)[:-1])], axis=1)


def shadows(scene: Scene, houses: list[House], things: list[Thing]) -> np.ndarray:
    """The fraction of its light that each canvas pixel of the ground loses: float32 HxW."""
    canvas, camera, light = scene.canvas, scene.camera, scene.light
    cast, contact = np.zeros(canvas.size, np.uint8), np.zeros(canvas.size, np.uint8)
    per_metre = -light.toward_sun[[0, 2]] / light.toward_sun[1]

    def fill(layer_HW: np.ndarray, ground_N2: np.ndarray, strength: int) -> None:
        x, z = ground_N2.T
        points = camera.project(np.stack([x, np.zeros_like(x), np.maximum(z, 0.5)], axis=1)).clip(-4000, 4000)
        hull = cv2.convexHull(points.astype(np.float32))[:, 0]
        cv2.fillConvexPoly(layer_HW, np.rint(hull * 16).astype(np.int32), (strength,), cv2.LINE_8, 4)

    def sweep(base_N2: np.ndarray, height: float, strength: int = 255) -> None:
        fill(cast, np.concatenate([base_N2, base_N2 + per_metre * height]), strength)

    for house in houses:
        if per_metre[0] * house.side < 0:
            sweep(np.array([(house.x, house.near), (house.x, house.far)]), house.height)
    for thing in things:
        foot = np.array([thing.x, thing.z])
        if thing.kind == "car":
            sweep(thing.footprint(2.2, 0.9), 1.2)
            fill(contact, thing.footprint(2.1, 0.85), 140)
            continue
        if thing.kind == "tree":
            sweep(foot + _RING * 0.12, thing.size * 0.6)
            fill(cast, foot + per_metre * thing.size * 0.68 + _RING * thing.size * 0.3, 225)
        elif thing.kind == "person":
            sweep(foot + _RING * 0.22, thing.size * 0.92)
        else:
            sweep(foot + _RING * 0.06, thing.size * 0.92)
            fill(cast, foot + per_metre * (thing.size - 0.45) + _RING * 0.42, 255)
        fill(contact, foot + _RING * 0.3, 90)
    kept_HW = 1 - np.asarray(cv2.blur(cast, (5, 3)), np.float32) * np.float32(min(light.shadow, 0.7) / 255)
    kept_HW *= 1 - np.asarray(cv2.blur(contact, (7, 5)), np.float32) / 255
    return np.float32(1) - kept_HW


def draw_ground(scene: Scene, street: Street, shade_HW: np.ndarray, rng: np.random.Generator) -> None:
    """Draw carriageway, markings, kerbs and pavements below the horizon: each pixel is looked up in metres."""
    canvas, camera, light = scene.canvas, scene.camera, scene.light
    height, width = canvas.size
    first = int(camera.horizon) + 2
    rows = np.arange(first, height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    z_H1 = np.float32(camera.focal * camera.height) / (rows - np.float32(camera.horizon))
    off_HW = (columns - np.float32(camera.center)) * (z_H1 / np.float32(camera.focal))
    off_HW -= np.float32(camera.bend) * z_H1 * z_H1 + np.float32(street.middle)
    away_HW = np.abs(off_HW)

    asphalt, slabs, paint = pick(rng, _ASPHALT, 0.12), pick(rng, _SLABS, 0.12), pick(rng, _MARKINGS, 0.05)
    palette = np.array([asphalt, slabs, paint, slabs * 1.25, slabs * 0.75, asphalt * rng.uniform(0.6, 1.3)])
    pavement, marking, kerb, joint, patch = range(1, 6)  # 0 is plain asphalt
    kind_HW = np.zeros(off_HW.shape, np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        x, z, half_width, half_length = (
            rng.uniform(-3, 3),
            rng.uniform(3, 15),
            rng.uniform(0.3, 1.2),
            rng.uniform(0.5, 3),
        )
        kind_HW[(np.abs(off_HW - x) < half_width) & (np.abs(z_H1 - z) < half_length)] = patch
    if rng.random() < 0.6:
        start, spacing = rng.uniform(0, 6), rng.uniform(4, 8)
        kind_HW[(away_HW < 0.07) & (np.mod(z_H1 + start, spacing) < spacing * 0.5)] = marking
    if rng.random() < 0.5:
        kind_HW[np.abs(away_HW - (street.half_road - 0.3)) < 0.06] = marking
    if rng.random() < 0.45:  # a crossing
        z = rng.uniform(4, 16)
        rows_in = np.flatnonzero(np.abs(z_H1[:, 0] - z) < 1.4)
        part = np.s_[rows_in.min(initial=height) : rows_in.max(initial=-1) + 1]
        stripes = (away_HW[part] < street.half_road - 0.2) & (np.mod(off_HW[part], 1.0) < 0.5)
        kind_HW[part][stripes] = marking
    beside = away_HW > street.half_road
    kind_HW[beside] = pavement
    kind_HW[beside & (away_HW < street.half_road + 0.16)] = kerb
    slab = rng.uniform(0.5, 1.1)
    joints = ((np.mod(off_HW, slab) < 0.05) | (np.mod(z_H1, slab) < 0.06)) & (z_H1 < 14)
    kind_HW[joints & (kind_HW == pavement)] = joint

    tile = fractal(rng, (256, 256), 24, 5, 0.75)
    per_metre = np.float32(256 / 9)
    # Whole tiles more or less make no difference, but keep the map's numbers small.
    u, v = np.mod(off_HW * per_metre, 255), np.broadcast_to(np.mod(z_H1 * per_metre, 255), off_HW.shape)
    rough_HW = cv2.remap(tile, u, np.ascontiguousarray(v), cv2.INTER_LINEAR)
    clear_H1 = np.exp(-z_H1 / np.float32(light.visibility))
    share_HW = 1 + rough_HW * (np.minimum(1, 12 / z_H1) * np.float32(rng.uniform(0.05, 0.13)))
    share_HW *= (1 - shade_HW[first:]) * clear_H1
    lit = (palette * (light.ambient + light.sun * light.toward_sun[1]) * 255).astype(np.float32)
    ground = lit[kind_HW]
    ground *= share_HW[..., None]
    ground += light.haze.astype(np.float32) * (1 - clear_H1)[..., None]
    canvas.pixels[first:, :, :3] = np.clip(ground, 0, 255, out=ground)
    canvas.pixels[first:, :, 3] = ROAD
