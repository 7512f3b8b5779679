from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from maskwright.pixels.strokes import Stroke

SIDE = 32


def checkered(seed: int, size: tuple[int, int] = (160, 288)) -> tuple[np.ndarray, np.ndarray]:
    """Squares of calm (0) and rough (1) noise of one mean: only texture tells them apart."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[: size[0], : size[1]] // SIDE
    truth = ((row + column) % 2).astype(np.uint8)
    values = 120 + rng.normal(size=size) * np.where(truth, 30, 6)
    return values.clip(0, 255).astype(np.uint8)[..., None], truth


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    return {name: checkered(seed)[0] for seed, name in enumerate("ab")}


@pytest.fixture
def truth() -> np.ndarray:
    return checkered(0)[1]


@pytest.fixture
def draw(truth: np.ndarray) -> Callable[..., list[Stroke]]:
    """`draw(count)`: strokes through the middle of the first `count` squares of both images, alternately."""

    def make(count: int) -> list[Stroke]:
        strokes = []
        for place in range(count):
            row, column = divmod(place // 2, 288 // SIDE)
            rows, columns = np.mgrid[14:18, 8:24].reshape(2, -1) + np.array([[row], [column]]) * SIDE
            label = int(truth[rows[0], columns[0]])
            strokes.append(Stroke(image="ab"[place % 2], label=label, rows=rows, columns=columns))
        return strokes

    return make
