"""Houses and trees of the generated street scenes.

Every function draws colour and class together on the canvas. Colours are albedo (RGB, 0..1) until `Light.on` turns them
into 0..255; lengths are metres in world coordinates and canvas pixels otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.synthetic.view import (
    BUILDING,
    FACING,
    LEAVES,
    TREE,
    UP,
    WALLS,
    Color,
    House,
    Light,
    Palette,
    Scene,
    Thing,
    pick,
)

_BARK: Palette = ((0.3, 0.23, 0.17), (0.4, 0.38, 0.35), (0.22, 0.17, 0.14))
_GREENS = LEAVES[:5]
_GLASS = (0.16, 0.19, 0.22)


def building(scene: Scene, house: House) -> None:
    """Draw a house: its street front, the wall that faces the camera, and its roof."""
    rng, camera, light = np.random.default_rng(house.seed), scene.camera, scene.light
    side, x, near, far, height = house.side, house.x, house.near, house.far, house.height
    wall, trim = pick(rng, WALLS), pick(rng, WALLS)
    detail = float(np.clip(camera.scale(near + 1) * 0.8, 4, 14))

    def face(left: tuple[float, float], right: tuple[float, float], normal: Color) -> None:
        """One wall between two ground points (x, z), as seen from the street."""
        (x_left, z_left), (x_right, z_right) = left, right
        upper, lower = (
            [(x_left, height, z_left), (x_right, height, z_right)],
            [(x_right, 0.0, z_right), (x_left, 0.0, z_left)],
        )
        corners = camera.project(upper + lower)
        if corners[:, 0].max() < 0 or corners[:, 0].min() > scene.canvas.size[1]:
            return
        length = float(np.hypot(x_right - x_left, z_right - z_left))
        shades = [
            light.on(albedo, (z_left + z_right) / 2, normal) for albedo in (wall, trim, _GLASS, pick(rng, WALLS) * 0.7)
        ]
        texture = _facade(rng, light, (height, length), detail, shades)
        scene.canvas.picture(texture, corners, BUILDING)

    back = x + rng.uniform(7, 12) * side
    style = rng.choice(["gable", "mansard", "flat"], p=[0.35, 0.2, 0.45])
    rise, inward = {"gable": (rng.uniform(1.5, 3.5), abs(back - x) / 2), "mansard": (rng.uniform(1.2, 2.5), 0.7)}.get(
        str(style), (0.35, -0.2)
    )
    # The roof comes first: where it leans away from the eye, the walls hide it.
    tiles, hip = pick(rng, WALLS) * 0.7, inward if style == "mansard" else 0.0
    top_x, top_back, top = x + inward * side, back - inward * side, height + rise
    slope = [(x, height, near), (x, height, far), (top_x, top, far), (top_x, top, near + hip)]
    color = light.on(tiles, (near + far) / 2, np.array([-side, 0.4, 0]) / 1.08)
    scene.canvas.polygon(camera.project(slope), color, BUILDING)
    front = [(x, height, near), (back, height, near), (top_back, top, near + hip), (top_x, top, near + hip)]
    facing = light.on(tiles if style == "mansard" else wall * 0.9, near)
    scene.canvas.polygon(camera.project(front), facing, BUILDING)
    face((min(x, back), near), (max(x, back), near), FACING)
    face((x, far if side > 0 else near), (x, near if side > 0 else far), (-side, 0, 0))


def _facade(
    rng: np.random.Generator, light: Light, size: tuple[float, float], detail: float, shades: list[np.ndarray]
) -> np.ndarray:
    """An RGB uint8 picture of a wall of `size` (height, length) metres at `detail` pixels per metre.

    `shades` are the lit colours of wall, trim, glass and shop front, 0..255.
    """
    height, length = (max(4, round(metres * detail)) for metres in size)
    wall, frame, glass, fascia = (tuple(shade.tolist()) for shade in shades)
    darker = tuple((shades[0] * 0.78).tolist())
    picture = np.full((height, length, 3), wall, np.uint8)
    style = rng.random()
    if style < 0.4:  # courses of brick or slabs
        for row in range(0, height, max(2, round(detail * rng.uniform(0.25, 0.6)))):
            cv2.line(picture, (0, row), (length, row), darker, 1)
    elif style < 0.6:  # panels
        for column in range(0, length, max(3, round(detail * rng.uniform(0.8, 1.5)))):
            cv2.line(picture, (column, 0), (column, height), darker, 1)

    storeys = max(1, int(size[0] / 3.1))
    storey, edge = height / storeys, max(1, round(detail * 0.12))
    bays = max(1, int(length / (detail * rng.uniform(1.7, 3.2))))
    bay = length / bays
    window = bay * rng.uniform(0.4, 0.75), storey * rng.uniform(0.42, 0.65)
    reflection = light.haze * 0.4 * rng.uniform(0.2, 1)
    lamp = (235.0, 195.0, 115.0)
    shop, bars = rng.random() < 0.4, rng.random() < 0.6
    for floor in range(storeys):
        wide, high = window
        bottom = height - (floor + 0.2) * storey
        if floor == 0 and shop:
            wide, high, bottom = bay * 0.86, storey * 0.72, height - storey * 0.06
        for middle in (np.arange(bays) + 0.5) * bay:
            left, top = round(middle - wide / 2), round(bottom - high)
            box = left, top, max(1, round(wide)), max(1, round(high))
            pane = (np.array(glass) * 0.6 + reflection) * rng.uniform(0.75, 1.2)
            lit = light.night and rng.random() < 0.35
            cv2.rectangle(picture, (left - edge, top - edge, box[2] + 2 * edge, box[3] + 2 * edge), frame, -1)
            cv2.rectangle(picture, box, lamp if lit else tuple(pane.tolist()), -1)
            if bars and wide > 5:
                cv2.line(picture, (round(middle), top), (round(middle), round(bottom)), frame, max(1, edge // 2))
    if shop:
        cv2.rectangle(picture, (0, round(height - storey), length, max(1, round(storey * 0.2))), fascia, -1)
    cv2.rectangle(picture, (0, 0, length, max(1, round(detail * 0.25))), frame, -1)
    return picture


def tree(scene: Scene, thing: Thing) -> None:
    """Draw a broadleaf tree, a conifer or, up to 2.5 metres, a bush."""
    rng, camera, canvas, light = np.random.default_rng(thing.seed), scene.camera, scene.canvas, scene.light
    z, height, unit = thing.z, thing.size, camera.scale(thing.z)
    foot, top = camera.project([(thing.x, 0, z), (thing.x, height, z)])
    conifer, bush = height > 4 and rng.random() < 0.25, height <= 2.5
    leaf = pick(rng, _GREENS if conifer else LEAVES)
    tones = [light.on(leaf * tone, z, UP) for tone in (0.45, 0.7, 1.0, 1.3)]
    sunward = np.array([light.toward_sun[0], -light.toward_sun[1]])
    if not bush:
        bark, girth, fork = light.on(pick(rng, _BARK), z), max(1.2, unit * height * 0.022), foot * 0.4 + top * 0.6
        lit_side = np.array([np.sign(sunward[0]) * girth * 0.4, 0])
        canvas.limb(foot, fork, (girth * 1.25, girth * 0.7), bark * 0.7, TREE)
        canvas.limb(foot + lit_side, fork + lit_side, (girth * 0.7, girth * 0.4), bark, TREE)
    if conifer:
        _conifer(scene, rng, top, float(foot[1] - top[1]), tones)
        return
    low = 0.0 if bush else rng.uniform(0.25, 0.4)
    center = foot + (top - foot) * (1 + low) / 2
    radius_v = float(foot[1] - top[1]) * (1 - low) / 2
    radius_u = radius_v * (rng.uniform(1.0, 1.6) if bush else rng.uniform(0.75, 1.15))
    smaller, count = min(radius_u, radius_v), 24
    angle, reach = rng.uniform(0, 2 * np.pi, count), 0.72 * np.sqrt(rng.random(count))
    clumps = center + np.stack([np.cos(angle) * radius_u * reach, np.sin(angle) * radius_v * reach], axis=1)
    sizes = rng.uniform(0.26, 0.36, count) * smaller
    canvas.discs(center[None], np.array([smaller * 0.7]), tones[0], TREE)
    # Dark clumps first, then the same clumps smaller and nearer to the sun in lighter tones: a lit, rounded crown.
    for tone, fraction, toward in zip(tones, (1.0, 0.8, 0.55, 0.3), (0.0, 0.25, 0.5, 0.7), strict=True):
        shift = (sunward * 0.7 + rng.normal(0, 0.25, (count, 2))) * (sizes * toward)[:, None]
        canvas.discs(clumps + shift, sizes * fraction, tone, TREE)


def _conifer(scene: Scene, rng: np.random.Generator, top: np.ndarray, span: float, tones: list[np.ndarray]) -> None:
    """Layers of branches from below to the top, each dark with a lit part to the right of its middle."""
    layers, width = int(rng.integers(5, 8)), span * rng.uniform(0.2, 0.3)
    for layer in reversed(range(layers)):
        reach = width * (layer + 1.2) / (layers + 0.2)
        apex = np.array([top[0], top[1] + span * 0.81 * layer / layers])
        base = top[1] + span * 0.85 * (layer + 1.25) / layers
        for tone, narrow, shift in ((tones[0], 1.0, 0.0), (tones[1], 0.7, 0.12), (tones[2], 0.35, 0.22)):
            left, right = (apex[0] + reach * (shift + sign * narrow) for sign in (-1, 1))
            scene.canvas.polygon(np.array([apex, (right, base), (left, base)]), tone, TREE)
