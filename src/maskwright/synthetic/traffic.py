"""Cars, people and traffic signs of the generated street scenes.

Every function draws colour and class together on the canvas. Colours are albedo (RGB, 0..1) until `Light.on` turns them
into 0..255; lengths are metres in world coordinates and canvas pixels otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.synthetic.view import CAR, CLOTHES, PAINT, PERSON, PLATES, SIGN, SKIN, Palette, Scene, Thing, pick

_HAIR: Palette = ((0.08, 0.06, 0.05), (0.25, 0.16, 0.09), (0.5, 0.4, 0.25), (0.45, 0.45, 0.45))
_METAL: Palette = ((0.7, 0.7, 0.72), (0.45, 0.46, 0.46), (0.85, 0.85, 0.82))
_BLACK = (0.05, 0.05, 0.05)

# Length, width, height and belt line in metres; the cabin's back and front, at the belt and at the roof, in lengths.
_CARS = (
    (4.0, 1.78, 1.5, 0.95, (-0.49, 0.3), (-0.4, 0.12)),  # hatchback
    (4.6, 1.82, 1.45, 0.92, (-0.36, 0.28), (-0.22, 0.1)),  # saloon
    (4.6, 1.9, 1.75, 1.05, (-0.48, 0.3), (-0.42, 0.16)),  # tall estate
    (5.0, 2.0, 2.15, 1.2, (-0.49, 0.46), (-0.48, 0.32)),  # van
)
_ROUND = np.linspace(0, 2 * np.pi, 15)[:-1]


def car(scene: Scene, thing: Thing) -> None:
    """Draw a vehicle: wheels, body, cabin with windows, lights; only the faces that the camera sees."""
    rng, camera, canvas, light = np.random.default_rng(thing.seed), scene.camera, scene.canvas, scene.light
    z = thing.z
    length, width, height, belt, cabin_low, cabin_high = _CARS[rng.integers(len(_CARS))]
    half, radius = width / 2, 0.15 * height + 0.11
    cos, sin = np.cos(thing.size), np.sin(thing.size)
    paint = pick(rng, PAINT)
    # The world bends with the street: seen from the car, the camera stands aside.
    eye = np.array([-camera.bend * z * z, camera.height, 0])

    def place(points_N3: np.ndarray) -> np.ndarray:
        """Car coordinates (right, up, ahead) to world coordinates."""
        right, up, ahead = points_N3.T
        return np.stack([thing.x + right * cos + ahead * sin, up, z - right * sin + ahead * cos], axis=1)

    def wheel(side: int, end: float, size: float, inset: float) -> np.ndarray:
        """Outline on the canvas of a disc round a hub."""
        across = np.full(_ROUND.shape, side * (half - inset))
        rim = np.stack([across, radius + size * np.sin(_ROUND), end * length + size * np.cos(_ROUND)], axis=1)
        return camera.project(place(rim))

    wheels = [(side, end) for side in (-1, 1) for end in (-0.31, 0.3)]
    tyre, hub = light.on(_BLACK, z), light.on((0.45, 0.45, 0.47), z)
    for side, end in wheels:
        both = np.concatenate([wheel(side, end, radius, 0.02), wheel(side, end, radius, 0.3)])
        canvas.polygon(np.asarray(cv2.convexHull(both.astype(np.float32)))[:, 0], tyre, CAR)
    body = _box((half, -length / 2, length / 2), 0.24, (half * 0.93, -length * 0.485, length * 0.48), belt)
    low, high = (length * end for end in cabin_low), (length * end for end in cabin_high)
    cabin = _box((half * 0.92, *low), belt, (half * 0.74, *high), height)
    glass = light.on((0.08, 0.14, 0.18), z) + 0.15 * light.haze * rng.uniform(0.3, 1)
    for part in (body, cabin):
        for name, face in part.items():
            corners = place(face)
            normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
            if np.dot(normal, eye - corners[0]) <= 0:
                continue
            outline, color = camera.project(corners), light.on(paint, z, normal / np.linalg.norm(normal))
            canvas.polygon(outline, color, CAR)
            if name == "top":
                continue
            if part is body:
                canvas.polygon(_inset(outline, (0, 1), (0.72, 1)), color * 0.55, CAR)
                if name in ("back", "front"):
                    _lights(scene, outline, name, z)
            else:
                for fraction in ((0.08, 0.5), (0.55, 0.92)) if name in ("left", "right") else ((0.07, 0.93),):
                    canvas.polygon(_inset(outline, fraction, (0.12, 0.93)), glass, CAR)
    middle = place(np.zeros((1, 3)))[0]
    for side, end in wheels:
        outside = place(np.array([[side * half, 0.0, 0.0]]))[0]
        if np.dot(outside - middle, eye - outside) > 0:
            canvas.polygon(wheel(side, end, radius * 1.12, -0.01), tyre * 0.6, CAR)
            canvas.polygon(wheel(side, end, radius * 0.55, -0.02), hub, CAR)


def _box(lower: tuple[float, ...], bottom: float, upper: tuple[float, ...], top: float) -> dict[str, np.ndarray]:
    """Faces (4, 3) of a tapered box in car coordinates, corners from outside: top left, top right, bottom right, left.

    `lower` and `upper` are half the width, the back and the front of its bottom and its top.
    """
    (half, back, front), (half_2, back_2, front_2) = lower, upper
    a, b, c, d = (-half, bottom, back), (half, bottom, back), (half, bottom, front), (-half, bottom, front)
    e, f, g, h = (-half_2, top, back_2), (half_2, top, back_2), (half_2, top, front_2), (-half_2, top, front_2)
    sides = {"back": (e, f, b, a), "front": (g, h, d, c), "left": (h, e, a, d), "right": (f, g, c, b)}
    return {name: np.array(face) for name, face in {**sides, "top": (h, g, f, e)}.items()}


def _inset(corners_42: np.ndarray, across: tuple[float, float], down: tuple[float, float]) -> np.ndarray:
    """The part of a quadrilateral between two fractions of its width and two of its height."""
    (left, right), (top, bottom) = across, down
    s, t = np.array([left, right, right, left])[:, None], np.array([top, top, bottom, bottom])[:, None]
    upper, lower = corners_42[0] * (1 - s) + corners_42[1] * s, corners_42[3] * (1 - s) + corners_42[2] * s
    result: np.ndarray = upper * (1 - t) + lower * t
    return result


def _lights(scene: Scene, outline_42: np.ndarray, end: str, z: float) -> None:
    """Lamps and number plate on the back or the front of a body."""
    light = scene.light
    lamp = np.array([0.6, 0.06, 0.05]) if end == "back" else np.array([0.85, 0.85, 0.78])
    shine = light.through_haze(np.minimum(lamp * 380, 255), z) if light.night else light.on(lamp, z)
    for across in ((0.03, 0.23), (0.77, 0.97)):
        scene.canvas.polygon(_inset(outline_42, across, (0.12, 0.36)), shine, CAR)
    scene.canvas.polygon(_inset(outline_42, (0.36, 0.64), (0.5, 0.68)), light.on((0.75, 0.75, 0.7), z), CAR)


def person(scene: Scene, thing: Thing) -> None:
    """Draw somebody who stands or walks; proportions are fractions of the height."""
    rng, canvas, light = np.random.default_rng(thing.seed), scene.canvas, scene.light
    foot, top = scene.camera.project([(thing.x, 0, thing.z), (thing.x, thing.size, thing.z)])
    tall = float(foot[1] - top[1])
    sunny = 1 if light.toward_sun[0] >= 0 else -1

    def shade(albedo: np.ndarray) -> np.ndarray:
        return light.on(albedo, thing.z, (sunny * 0.5, 0.3, -0.8))

    def at(points: list[tuple[float, float]]) -> np.ndarray:
        """Shares (right, up) of the height to canvas points (N, 2)."""
        return np.asarray(foot + np.array(points) * (tall, -tall))

    def limb(start: tuple[float, float], end: tuple[float, float], radii: tuple[float, float], lit: np.ndarray) -> None:
        """A rounded part: in shade, then lit on the side of the sun."""
        a, b = at([start, end])
        first, last = radii[0] * tall, radii[1] * tall
        canvas.limb(a, b, (first, last), lit * 0.68, PERSON)
        aside = np.array([0.3 * sunny, 0])
        canvas.limb(a + aside * first, b + aside * last, (first * 0.62, last * 0.62), lit, PERSON)

    shirt, trousers, shoes, bag = (shade(pick(rng, CLOTHES)) for _ in range(4))
    skin, hair = shade(pick(rng, SKIN, 0.08)), shade(pick(rng, _HAIR))
    sleeves = shirt if rng.random() < 0.65 else skin
    broad, stride, swing = (
        rng.uniform(0.115, 0.15),
        rng.uniform(0.02, 0.15) * rng.choice([-1, 1]),
        rng.uniform(-0.12, 0.12),
    )
    shoulder, hip, hem, flare = 0.8, 0.49, 0.49, 0.85
    if rng.random() < 0.3:  # a coat or a dress
        hem, flare = 0.27, 1.25
    limb((-broad, shoulder - 0.02), (-broad - 0.03 - abs(swing) * 0.3, 0.5), (0.04, 0.03), sleeves * 0.9)
    for side in (-1, 1):
        ankle = side * (0.05 + stride), 0.04 + 0.01 * side
        limb(ankle, (ankle[0] + 0.02 * np.sign(stride), ankle[1] - 0.005), (0.034, 0.03), shoes * 0.6)
        limb((side * 0.048, hip), ankle, (0.068, 0.04), trousers)
    outline = [(-broad, shoulder), (broad, shoulder), (broad * flare, hem), (-broad * flare, hem)]
    canvas.polygon(at(outline), shirt * 0.7, PERSON)
    canvas.polygon(at([(right * 0.7 + 0.25 * sunny * broad, up) for right, up in outline]), shirt, PERSON)
    left, right = at([(-broad * 0.7, shoulder), (broad * 0.7, shoulder)])
    canvas.limb(left, right, (0.04 * tall, 0.04 * tall), shirt * 0.92, PERSON)
    limb((0, shoulder), (0, 0.87), (0.035, 0.035), skin * 0.85)
    canvas.discs(at([(0, 0.925)]), np.array([0.078 * tall]), hair, PERSON)
    if rng.random() < 0.6:  # the face is seen
        canvas.discs(at([(0.012 * sunny, 0.91)]), np.array([0.062 * tall]), skin, PERSON)
    limb((broad, shoulder - 0.02), (broad + 0.03 + swing * 0.5, 0.5), (0.04, 0.03), sleeves)
    if rng.random() < 0.35:
        inner, outer = broad - 0.07, broad + 0.07
        canvas.polygon(at([(inner, 0.56), (outer, 0.56), (outer, 0.38), (inner, 0.38)]), bag, PERSON)


def sign(scene: Scene, thing: Thing) -> None:
    """Draw a traffic sign: a plate of one of five shapes on one pole, or a board on two."""
    rng, canvas, light, z = np.random.default_rng(thing.seed), scene.canvas, scene.light, thing.z
    foot, top = scene.camera.project([(thing.x, 0, z), (thing.x, thing.size, z)])
    unit = scene.camera.scale(z)
    kind = rng.choice(["round", "triangle", "diamond", "octagon", "board"], p=[0.3, 0.22, 0.13, 0.12, 0.23])
    radius, pole = unit * rng.uniform(0.5, 0.65), max(unit * 0.1, 2.2)
    middle = top + np.array([0, radius])
    metal, albedo, mark = light.on(pick(rng, _METAL), z), pick(rng, PLATES, 0.1), pick(rng, PLATES, 0.1)
    if float(np.abs(albedo - mark).sum()) < 0.6:  # nobody could read that
        mark = np.array(_BLACK) if albedo.sum() > 0.75 else np.array(PLATES[3])
    # Signs shine back what light they get: neither shade nor dusk dims them.
    plate, ink = light.through_haze(albedo * 245, z), light.through_haze(mark * 245, z)
    banded = rng.random() < 0.7
    for offset in (-radius * 0.9, radius * 0.9) if kind == "board" else (0.0,):
        upper, lower = middle + np.array([offset, 0.0]), foot + np.array([offset, 0.0])
        canvas.limb(upper, lower, (pole, pole), metal, SIGN)
        for fraction in np.arange(0.05, 0.95, 0.2) if banded else ():
            start, end = upper + (lower - upper) * fraction, upper + (lower - upper) * (fraction + 0.1)
            side = np.array([pole, 0.0])
            canvas.polygon(np.array([start - side, start + side, end + side, end - side]), plate, SIGN)

    if kind == "board":
        half = np.array([radius * rng.uniform(1.5, 2.0), radius * rng.uniform(0.8, 1.0)])
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
        canvas.polygon(middle + corners, ink, SIGN)
        canvas.polygon(middle + corners * 0.9, plate, SIGN)
        for row in range(int(rng.integers(1, 4))):
            start, end = np.array([(-0.7, row * 0.5 - 0.5), (rng.uniform(-0.1, 0.7), row * 0.5 - 0.5)]) * half + middle
            canvas.limb(start, end, (half[1] * 0.1, half[1] * 0.1), ink, SIGN)
        return
    sides, phase = {"round": (20, 0.0), "triangle": (3, -0.5), "diamond": (4, 0.0), "octagon": (8, 0.125)}[str(kind)]
    if kind == "triangle":
        radius *= 1.25
        phase = rng.choice([-0.5, -0.5, 0.5])  # upright, or give way
    angles = np.pi * phase + np.arange(sides) * 2 * np.pi / sides
    outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    canvas.polygon(
        middle + outline, light.through_haze(np.array(PLATES[3] if albedo.sum() < 1.8 else _BLACK) * 245, z), SIGN
    )
    outline *= 0.88
    canvas.polygon(middle + outline, plate, SIGN)
    style = rng.random()
    if style < 0.55:  # a rim, with or without a stroke
        canvas.polygon(middle + outline * 0.7, ink, SIGN)
    if style < 0.3:
        start, end = middle + np.array([(0, -0.22), (0, 0.18)]) * radius
        canvas.limb(start, end, (radius * 0.1, radius * 0.1), plate, SIGN)
    elif style >= 0.55:  # a bar across
        bar = np.array([0.45, 0.0] if rng.random() < 0.6 else [0.3, 0.3]) * radius
        canvas.limb(middle - bar, middle + bar, (radius * 0.14, radius * 0.14), ink, SIGN)
