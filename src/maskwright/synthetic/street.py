"""Generated street scenes: a street in perspective between houses, with trees, cars, people and signs.

The scene is laid out in metres, drawn far to near on a canvas twice the size of the image, and photographed: colour
cast, contrast, vignette, blur and sensor noise. Palettes of all classes overlap and each image has its own light, so
that colour alone does not tell the classes apart. Pavements count as road, poles as signs, trunks and hedges as trees.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.synthetic.ground import draw_ground, shadows
from maskwright.synthetic.noise import fractal, labels_at_half_size, vignette, white
from maskwright.synthetic.scenery import building, tree
from maskwright.synthetic.traffic import car, person, sign
from maskwright.synthetic.view import BUILDING, SKY, WALLS, Camera, Canvas, House, Light, Scene, Street, Thing, pick

CLASSES = ("sky", "building", "road", "tree", "car", "person", "sign")
COLORS = ((126, 178, 221), (150, 90, 80), (128, 110, 140), (80, 150, 70), (40, 70, 190), (220, 50, 90), (250, 200, 50))

_LAST_HOUSE = 60.0  # metres
_LAST_GARDEN = 14.0  # metres
_BACKDROP = 75.0  # metres
_GRAIN = np.array([0.012, 0.06, 0.05, 0.2, 0.03, 0.07, 0.04], np.float32)
"""Contrast of the fine texture that is laid over each class, in the order of CLASSES."""

_DRAW = {"tree": tree, "car": car, "person": person, "sign": sign}
_DISTANCES = {"sign": (3.0, 7.0), "person": (3.0, 6.0), "car": (5.6, 12.0), "tree": (4.5, 11.0)}
_ROOM = {"sign": 0.5, "person": 0.5, "car": 1.9, "tree": 0.7}
_HEIGHTS = {"sign": (2.1, 2.9), "person": (1.5, 1.9), "tree": (4.0, 8.0)}

# Sunlight, skylight, depth of shadows, metres of visibility; sky colours overhead and at the horizon.
_MOODS = {
    "clear": ((0.95, 0.88, 0.74), (0.54, 0.59, 0.67), 0.4, 300.0),
    "overcast": ((0.15, 0.15, 0.15), (0.82, 0.83, 0.85), 0.14, 260.0),
    "dusk": ((0.95, 0.58, 0.3), (0.54, 0.48, 0.54), 0.35, 240.0),
    "night": ((0.24, 0.21, 0.17), (0.27, 0.27, 0.34), 0.3, 120.0),
    "haze": ((0.36, 0.34, 0.3), (0.64, 0.64, 0.64), 0.25, 70.0),
}
_MOOD_SHARES = (0.5, 0.28, 0.12, 0.04, 0.06)
_OVERHEAD = {
    "clear": ((55, 110, 190), (105, 155, 215), (80, 125, 170)),
    "overcast": ((150, 155, 162), (120, 124, 130), (185, 188, 190)),
    "dusk": ((85, 80, 120), (130, 100, 115), (60, 75, 115)),
    "night": ((14, 18, 38), (25, 25, 35), (35, 32, 48)),
    "haze": ((175, 172, 165), (160, 165, 172), (190, 180, 160)),
}
_AT_HORIZON = {
    "clear": ((175, 205, 230), (205, 215, 220), (150, 190, 225)),
    "overcast": ((200, 203, 205), (170, 172, 172), (220, 220, 215)),
    "dusk": ((235, 160, 95), (225, 140, 120), (210, 180, 130)),
    "night": ((40, 42, 62), (62, 50, 52), (50, 55, 60)),
    "haze": ((200, 195, 185), (188, 190, 192), (205, 190, 165)),
}


def street_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene: RGB uint8 (H, W, 3) and class indices uint8 (H, W), in the order of CLASSES."""
    canvas = Canvas((2 * size[0], 2 * size[1]))
    height, width = canvas.size
    camera = Camera(
        focal=height * rng.uniform(0.85, 1.1),
        center=width * rng.uniform(0.33, 0.67),
        horizon=height * rng.uniform(0.38, 0.54),
        height=rng.uniform(1.5, 2.4),
        bend=rng.uniform(-0.005, 0.005),
    )
    light, overhead = _draw_light(rng)
    half_road = rng.uniform(2.8, 4.2)
    street = Street(
        middle=rng.uniform(-0.8, 0.8) * half_road,
        half_road=half_road,
        building_line=half_road + rng.uniform(1.8, 3.2),
    )
    scene = Scene(canvas=canvas, camera=camera, light=light)
    houses, gardens = _lay_out_houses(rng, street)
    things = _lay_out_things(rng, camera, street, width)

    _paint_sky(scene, overhead, rng)
    draw_ground(scene, street, shadows(scene, houses, things + gardens), rng)
    _paint_backdrop(scene, rng)
    # Nothing in the street is ever behind a house, so all houses and gardens come first.
    beside: list[House | Thing] = [*houses, *gardens]
    for item in sorted(beside, key=lambda item: -(item.near if isinstance(item, House) else item.z)):
        if isinstance(item, House):
            building(scene, item)
        else:
            tree(scene, item)
    for thing in sorted(things, key=lambda thing: -thing.z):
        _DRAW[thing.kind](scene, thing)
    labels = labels_at_half_size(canvas.pixels[..., 3])
    return _photograph(canvas, labels, light, rng), labels


def _draw_light(rng: np.random.Generator) -> tuple[Light, np.ndarray]:
    """The light of a scene, and the colour of its sky overhead."""
    mood = list(_MOODS)[rng.choice(len(_MOODS), p=_MOOD_SHARES)]
    sun, ambient, shadow, visibility = _MOODS[mood]
    direction = np.array([rng.uniform(-1, 1), rng.uniform(0.35, 1.0), rng.uniform(-0.9, 0.5)])
    light = Light(
        sun=np.array(sun) * rng.uniform(0.85, 1.15),
        ambient=np.array(ambient) * rng.uniform(0.85, 1.15),
        toward_sun=direction / np.linalg.norm(direction),
        haze=np.clip(np.array(_AT_HORIZON[mood][rng.integers(3)]) * rng.normal(1, 0.05, 3), 0, 255),
        visibility=visibility * rng.uniform(0.8, 1.3),
        shadow=shadow * rng.uniform(0.8, 1.2),
        night=mood == "night",
    )
    return light, np.array(_OVERHEAD[mood][rng.integers(3)]) * rng.normal(1, 0.06, 3)


def _lay_out_houses(rng: np.random.Generator, street: Street) -> tuple[list[House], list[Thing]]:
    """Houses on both sides of the street, and the trees and bushes of gardens between them."""
    houses: list[House] = []
    gardens: list[Thing] = []
    for side in (-1, 1):
        z = rng.uniform(1.2, 5)
        while z < _LAST_HOUSE:
            length = rng.uniform(6, 15)
            setback = rng.choice([0, 0, rng.uniform(0.3, 2)])
            x = street.middle + side * (street.building_line + setback)
            if z < _LAST_GARDEN and rng.random() < 0.25:
                length = rng.uniform(4, 9)
                for _ in range(int(rng.integers(2, 5))):
                    place = {"x": x + side * rng.uniform(0.8, 7), "z": z + rng.uniform(0.5, length)}
                    height = rng.choice([rng.uniform(1.2, 2.2), rng.uniform(4, 10)])
                    gardens.append(Thing(kind="tree", **place, size=height, seed=int(rng.integers(2**32))))
            else:
                storeys = rng.choice([1, 2, 3, 4, 6], p=[0.1, 0.4, 0.35, 0.1, 0.05])
                height = storeys * rng.uniform(2.8, 3.4) + rng.uniform(0.3, 1.2)
                seed = int(rng.integers(2**32))
                houses.append(House(side=side, x=x, near=z, far=z + length, height=height, seed=seed))
            z += length + rng.choice([0, rng.uniform(0.5, 3)])
    return houses, gardens


def _lay_out_things(rng: np.random.Generator, camera: Camera, street: Street, width: int) -> list[Thing]:
    """Cars, people, signs and street trees, placed where the camera sees them and apart from each other."""
    # Signs have the least choice of place, so they come right after the car in front.
    wanted = ["car", *["sign"] * int(rng.integers(2, 4)), *["car"] * int(rng.integers(1, 5))]
    wanted += ["person"] * int(rng.integers(2, 5)) + ["tree"] * int(rng.integers(1, 5))
    verge = {"sign": street.half_road - 0.9, "tree": street.half_road + 0.2}
    things: list[Thing] = []
    for kind in wanted:
        near, far = _DISTANCES[kind]
        if not things:  # the first car is near
            far = 9.5
        for _ in range(30):
            z = float(np.exp(rng.uniform(np.log(near), np.log(far))))
            x = camera.column_to_x(rng.uniform(0.04, 0.96) * width, z)
            if kind == "car":
                x, z, size = _park(rng, camera, street, x, z)
            else:
                size = rng.uniform(*_HEIGHTS[kind])
            off = abs(x - street.middle)
            u = float(camera.project([(x, 0, z)])[0, 0])
            allowed = verge.get(kind, 0) <= off <= street.building_line - 0.3 and 0.02 * width < u < 0.98 * width
            if not allowed or (kind == "person" and off < street.half_road and rng.random() < 0.5):
                continue
            if all(np.hypot(x - t.x, (z - t.z) * 0.6) > _ROOM[kind] + _ROOM[t.kind] for t in things):
                things.append(Thing(kind=kind, x=x, z=z, size=size, seed=int(rng.integers(2**32))))
                break
    return things


def _park(rng: np.random.Generator, camera: Camera, street: Street, x: float, z: float) -> tuple[float, float, float]:
    """Put a car near (x, z) into a lane or at the kerb, along the street, or now and then across it: x, z and turn."""
    if rng.random() < 0.2:
        turn = rng.choice([-0.5, 0.5]) * np.pi + rng.normal(0, 0.2)
        return street.middle + rng.uniform(-0.5, 0.5) * street.half_road, max(z, 7.5), float(turn)
    lanes = np.array([-1, -0.5, 0.5, 1]) * (street.half_road - 0.4) + street.middle
    turn = np.arctan(2 * camera.bend * z) + rng.normal(0, 0.06) + np.pi * rng.integers(2)
    return float(lanes[np.argmin(np.abs(lanes - x))]), z, float(turn)


def _paint_sky(scene: Scene, overhead: np.ndarray, rng: np.random.Generator) -> None:
    """A gradient from overhead to the horizon, with clouds."""
    canvas, camera, light = scene.canvas, scene.camera, scene.light
    height, width = canvas.size
    rows = int(camera.horizon) + 2
    share_H1 = np.linspace(0, 1, rows, dtype=np.float32)[:, None] ** rng.uniform(0.7, 1.6)
    sky = (overhead * (1 - share_H1) + light.haze * share_H1).astype(np.float32)[:, None]
    # Clouds are wider than high.
    noise = cv2.resize(fractal(rng, (rows, width // 3), height / 7, 4, 0.55), (width, rows))
    cover, bright = rng.uniform(-0.6, 1.2), rng.uniform(0.9, 1.25)
    cloud = ((light.haze * 0.7 + np.mean(light.haze) * 0.3) * bright).astype(np.float32)
    amount = np.clip((noise - cover) * 0.6, 0, 0.85)[..., None]
    canvas.pixels[:rows, :, :3] = np.clip(sky + (cloud - sky) * amount, 0, 255)
    canvas.pixels[:rows, :, 3] = SKY


def _paint_backdrop(scene: Scene, rng: np.random.Generator) -> None:
    """Houses at the end of the street, which hide the horizon."""
    canvas, camera, light = scene.canvas, scene.camera, scene.light
    unit = camera.scale(_BACKDROP)
    x = camera.column_to_x(0, _BACKDROP) - 5
    end = x + canvas.size[1] / unit + 10
    while x < end:
        wide, high = rng.uniform(6, 18), rng.uniform(4, 20)
        (left, foot), (right, top) = camera.project([(x, 0, _BACKDROP), (x + wide, high, _BACKDROP)])
        wall = light.on(pick(rng, WALLS), _BACKDROP)
        corners = np.array([(left, top), (right, top), (right, foot + 1), (left, foot + 1)])
        canvas.polygon(corners, wall, BUILDING)
        pane = (180, 150, 95, BUILDING) if light.night else (*(wall * 0.8).tolist(), BUILDING)
        for v in np.arange(top + unit, foot - unit, unit * 3):
            for u in np.arange(left + unit, right - unit, unit * 2.5):
                if not light.night or rng.random() < 0.4:
                    box = round(u), round(v), max(1, round(unit)), max(1, round(unit * 1.4))
                    cv2.rectangle(canvas.pixels, box, pane, -1)
        x += wide


def _photograph(canvas: Canvas, labels_HW: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """The finished image, RGB uint8 at half the canvas's size."""
    size = labels_HW.shape[0], labels_HW.shape[1]
    image = cv2.resize(canvas.pixels, size[::-1], interpolation=cv2.INTER_AREA)[..., :3].astype(np.float32)
    coarse = cv2.resize(white(rng, (size[0] // 2, size[1] // 2)), size[::-1])
    share_HW = 1 + _GRAIN[labels_HW] * (white(rng, size) * 0.6 + coarse * 0.8)
    share_HW *= 1 + 0.1 * fractal(rng, size, size[1] / 2, 2)  # shadows of clouds
    share_HW *= vignette(size, rng.uniform(0, 0.3)) * np.float32((1.4 if light.night else 1) * rng.uniform(0.95, 1.15))
    image *= share_HW[..., None] * np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)

    levels = 255 * (np.arange(256) / 255) ** rng.uniform(0.85, 1.1)
    levels = (levels - 110) * rng.uniform(0.9, 1.1) + 110 + rng.uniform(-8, 8)
    curve = np.clip(levels, 0, 255).astype(np.float32)
    sharp = curve[np.clip(image, 0, 255).astype(np.uint8)]
    finished = np.asarray(cv2.GaussianBlur(sharp, (0, 0), rng.uniform(0.3, 0.65)), np.float32)
    finished += rng.standard_normal(finished.shape, dtype=np.float32) * np.float32(rng.uniform(1.5, 4))
    return np.clip(finished, 0, 255).astype(np.uint8)
