"""A mask that is moved, flipped or turned by a known amount."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.check.edges import score_placement
from maskwright.datasets.near_duplicates import TURNS


def pair(side: tuple[int, int] = (120, 120), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles of several greys, without any symmetry, and noise."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(side, np.uint8)
    for value in range(1, 9):
        y, x = rng.integers(0, side[0] - 30), rng.integers(0, side[1] - 30)
        height, width = rng.integers(8, 30, 2)
        mask[y : y + height, x : x + width] = value
    image = mask * 20.0 + rng.normal(0, 6, side) + 30
    return image.clip(0, 255).astype(np.uint8)[..., None], mask


def test_a_mask_that_fits_fits_best_where_it_is() -> None:
    found = score_placement(*pair(), None)
    assert found is not None
    assert found.here > 20
    assert found.here == found.best
    assert max(map(abs, found.shift)) <= 1
    assert found.turned < 0.5 * found.here


@pytest.mark.parametrize(("down", "right"), [(6, 0), (0, -7), (-5, 9), (14, 14)])
def test_a_shift_is_measured(down: int, right: int) -> None:
    image, mask = pair()
    found = score_placement(image, np.roll(mask, (-down, -right), (0, 1)), None)
    assert found is not None
    assert max(abs(found.shift[0] - down), abs(found.shift[1] - right)) <= 1
    assert found.here < 0.5 * found.best


def test_a_shift_of_a_large_pair_is_in_its_own_pixels() -> None:
    image, mask = pair()
    large, wide = np.kron(image, np.ones((4, 4, 1), np.uint8)), np.kron(mask, np.ones((4, 4), np.uint8))
    found = score_placement(large, np.roll(wide, (-24, 16), (0, 1)), None)
    assert found is not None
    assert found.step == 2
    assert np.abs(np.array(found.shift) - (24, -16)).max() <= 2


@pytest.mark.parametrize("name", TURNS)
def test_a_turn_is_named_by_what_undoes_it(name: str) -> None:
    image, mask = pair()
    undo = {"turned by 90 degrees to the left": "turned by 90 degrees to the right"}
    undo |= {value: key for key, value in undo.items()}
    found = score_placement(image, np.ascontiguousarray(TURNS[undo.get(name, name)](mask)), None)
    assert found is not None
    assert found.turn == name
    assert found.turned > 2 * found.best


def test_only_square_masks_are_turned_on_their_side() -> None:
    image, mask = pair((100, 130))
    found = score_placement(image, np.ascontiguousarray(mask[:, ::-1]), None)
    assert found is not None
    assert found.turn == "mirrored left to right"


def test_edges_against_unlabelled_pixels_do_not_count() -> None:
    image, mask = pair()
    holes = mask.copy()
    holes[:, 40:60] = 255
    found, plain = score_placement(image, holes, holes != 255), score_placement(image, holes, None)
    assert found is not None
    assert plain is not None
    assert found.here > plain.here
    assert found.pixels < plain.pixels


@pytest.mark.parametrize(
    "mask", [np.zeros((64, 64), np.uint8), np.indices((64, 64)).sum(0).astype(np.uint8) % 2, np.eye(20, dtype=np.uint8)]
)
def test_a_mask_that_shows_nothing_is_not_judged(mask: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*mask.shape, 1), np.uint8)
    assert score_placement(image, mask, None) is None


def test_a_flat_image_is_not_judged() -> None:
    _, mask = pair()
    assert score_placement(np.full((120, 120, 3), 7, np.uint8), mask, None) is None
