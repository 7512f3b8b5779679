from __future__ import annotations

import numpy as np
import pytest

from maskwright.planning.symmetry import DESCRIPTORS, describe_region, mirror_images, upright


def test_a_region_is_centre_size_and_colour() -> None:
    image_HWC = np.zeros((4, 8, 2), np.uint16)
    image_HWC[..., 1] = 900
    image_HWC[0, 6:] = 100, 300
    region_HW = np.zeros((4, 8), np.uint8)
    region_HW[0, 6:] = 1
    assert describe_region(region_HW, image_HWC) == pytest.approx([0.75, -0.75, 2 / 32, 100, 300, 0, 0])
    assert describe_region(np.ones((4, 8), np.uint8), image_HWC[..., :1])[:3] == pytest.approx([0, 0, 1])


def rows(center_N: np.ndarray, spread: float = 0.25) -> np.ndarray:
    """Profile over 8 rows of a class whose centre lies there, from -1 at the top to 1."""
    at_B = np.linspace(-0.875, 0.875, 8)
    return np.asarray(np.exp(-(((at_B - center_N[:, None]) / spread) ** 2)))


def test_upright_is_what_chance_does_not_explain() -> None:
    rng = np.random.default_rng(3)
    sky = rows(rng.normal(-0.6, 0.1, 40))
    cells = rows(rng.normal(0, 0.5, 40))
    people = rows(np.zeros(40), 0.5) + rng.uniform(0.2, 0.6, (40, 1)) * np.linspace(0, 1, 8)  # broad below, centred
    rare = np.zeros((40, 8))
    rare[:8] = rows(np.full(8, 0.9))
    found = upright(np.stack([sky, cells, people, rare, np.zeros((40, 8))], axis=1))
    assert found[0] > 0.9
    assert found[1] == 0
    assert 0.05 < found[2] < 0.3
    assert found[3:] == (0, 0)


def test_slices_of_one_thing_are_no_rule() -> None:
    drifting_N = 0.5 + 0.01 * np.cumsum(np.random.default_rng(4).normal(size=40))
    assert upright(rows(drifting_N)[:, None]) == (0.0,)
    assert upright(rows(np.random.default_rng(4).permutation(drifting_N))[:, None])[0] > 0.4
    assert upright(rows(np.full(40, 0.5))[:, None])[0] > 0.4, "a fixed camera"


def test_left_and_right_are_told_by_names() -> None:
    def pairs(*names: str) -> tuple[int, ...]:
        return mirror_images(np.full((3, len(names), DESCRIPTORS), np.nan), [1.0], names)

    assert pairs("skin", "l_eye", "r_eye", "hair") == (0, 2, 1, 3)
    assert pairs("Kidney-R", "liver", "Kidney-L") == (2, 1, 0)
    assert pairs("LeftEye", "Right-shoe", "RightEye", "Left-shoe") == (2, 3, 0, 1)
    assert pairs("left lung", "heart") == (0, 1), "without a right lung"
    assert pairs("Road", "road", "bright", "light", "copyright") == (0, 1, 2, 3, 4)


def faces(count: int, rng: np.random.Generator, *, mixed: bool = False) -> np.ndarray:
    """Places of two eyes, one always left of the other unless `mixed`, and of a mouth and hair."""
    places = np.zeros((count, 4, 4))
    x_N, y_N = rng.normal(0, 0.2, count), rng.normal(-0.1, 0.1, count)
    sign_N = rng.choice([-1, 1], count) if mixed else np.ones(count)
    for index, (x, y, size, grey) in enumerate([(-0.2, 0, 0.01, 60), (0.2, 0, 0.011, 60), (0, 0.4, 0.02, 90)]):
        places[:, index] = np.stack(
            [x_N + sign_N * x, y_N + y, np.full(count, size), rng.normal(grey, 5, count)], axis=1
        )
    places[:, 3] = np.stack([x_N + 0.05, y_N - 0.6, np.full(count, 0.3), rng.normal(30, 20, count)], axis=1)
    return places


def test_left_and_right_are_told_by_their_places() -> None:
    rng = np.random.default_rng(6)
    names = ["1", "2", "3", "4"]
    assert mirror_images(faces(40, rng), [50.0], names) == (1, 0, 2, 3)
    assert mirror_images(faces(40, rng, mixed=True), [50.0], names) == (0, 1, 2, 3)
    assert mirror_images(faces(19, rng), [50.0], names) == (0, 1, 2, 3), "too few to tell"
    assert mirror_images(faces(40, rng), [5.0], names) == (0, 1, 2, 3), "unlike in colour"
