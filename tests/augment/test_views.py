from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.augment.views import STEEPEST, ViewRanges, draw_elastic, draw_perspective, draw_view, grid, whole
from maskwright.augment.warp import apply, warp
from maskwright.config import Augmentation
from maskwright.datasets.classes import UNLABELLED


def warp_mask(mask: np.ndarray, to_source: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return warp(mask[:, :, None], mask, to_source, size, "reflect")[1]


def test_a_view_that_fits_lies_within_the_image() -> None:
    mask = np.zeros((40, 60), np.uint8)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        matrix = draw_view(rng, (40, 60), (16, 16), ViewRanges(zoom=(0.7, 1.4), rotation=20))
        assert (warp_mask(mask, matrix, (16, 16)) == 0).all()


def test_a_tilted_view_that_fits_lies_within_the_image() -> None:
    mask = np.zeros((64, 80), np.uint8)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        perspective = draw_perspective(rng, (16, 24), 0.2)
        matrix = draw_view(rng, (64, 80), (16, 24), ViewRanges(zoom=(0.9, 1.4), rotation=20), perspective=perspective)
        assert (warp_mask(mask, matrix, (16, 24)) == 0).all()


def test_a_view_larger_than_the_image_shows_all_of_it() -> None:
    mask = np.zeros((5, 9), np.uint8)
    for seed in range(20):
        matrix = draw_view(np.random.default_rng(seed), (5, 9), (16, 16), ViewRanges())
        assert (warp_mask(mask, matrix, (16, 16)) == 0).sum() == 45


@pytest.mark.parametrize("shape", [(30, 90), (90, 30), (8, 8), (300, 400)])
def test_a_whole_image_fits_into_its_view(shape: tuple[int, int]) -> None:
    corners = np.zeros(shape, np.uint8)
    corners[:1, :1] = corners[:1, -1:] = corners[-1:, :1] = corners[-1:, -1:] = 1
    size = (48, 64)
    scale = min(48 / shape[0], 64 / shape[1])
    for seed in range(10):
        ranges = ViewRanges(whole_image=True, flip_horizontal=True)
        matrix = draw_view(np.random.default_rng(seed), shape, size, ranges)
        labels = warp_mask(corners, matrix, size)
        assert (labels != UNLABELLED).sum() == pytest.approx(shape[0] * shape[1] * scale**2, rel=0.05)
        (x, y) = matrix[:, :2] @ [[0.0, 63], [0, 47]]
        # The axis that decides the scale is covered edge to edge.
        reach = (abs(x[1] - x[0]) * 64 / 63 / shape[1], abs(y[1] - y[0]) * 48 / 47 / shape[0])
        assert min(reach) == pytest.approx(1)


def test_a_centred_view_shows_the_point() -> None:
    mask = np.zeros((100, 100), np.uint8)
    for seed, (x, y) in enumerate([(0, 0), (99, 99), (50, 20), (3, 77)]):
        mask[:] = 0
        mask[y, x] = 1
        matrix = draw_view(np.random.default_rng(seed), (100, 100), (32, 32), ViewRanges(), (x, y))
        assert (warp_mask(mask, matrix, (32, 32)) == 1).sum() == 1


def test_switching_a_range_off_leaves_other_draws_alone() -> None:
    on = draw_view(np.random.default_rng(3), (99, 99), (32, 32), ViewRanges(zoom=(0.5, 2), flip_horizontal=True))
    off = draw_view(np.random.default_rng(3), (99, 99), (32, 32), ViewRanges(zoom=(0.5, 2)))
    np.testing.assert_allclose(np.abs(on[:, :2]), np.abs(off[:, :2]))


def test_a_tilt_moves_the_corners_and_no_further_than_asked() -> None:
    height, width = 40, 60
    edges = np.array([[-0.5, width - 0.5] * 2, [-0.5, -0.5, height - 0.5, height - 0.5]])
    moved = []
    for seed in range(200):
        perspective = draw_perspective(np.random.default_rng(seed), (height, width), 0.1)
        mapped = apply(perspective, edges)
        assert mapped is not None
        moved.append((mapped - edges) / np.array([[width], [height]]))
    found = np.array(moved)
    assert 0.095 < np.abs(found).max() <= 0.1 + 1e-9
    assert np.abs(found.mean(0)).max() < 0.02
    np.testing.assert_allclose(draw_perspective(np.random.default_rng(0), (height, width), 0.0), np.eye(3), atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_the_strongest_tilt_keeps_the_horizon_away(seed: int, height: int, width: int) -> None:
    perspective = draw_perspective(np.random.default_rng(seed), (height, width), 0.2)
    edges = np.array([[-0.5, width - 0.5] * 2, [-0.5, -0.5, height - 0.5, height - 0.5]])
    assert apply(perspective, edges) is not None


@pytest.mark.parametrize(("size", "points", "expected"), [
    ((64, 64), 3, (3, 3)), ((64, 128), 3, (3, 5)), ((128, 64), 3, (5, 3)), ((96, 64), 5, (7, 5)), ((1, 9), 3, (2, 9)),
])  # fmt: skip
def test_grid_cells_are_about_square(size: tuple[int, int], points: int, expected: tuple[int, int]) -> None:
    assert grid(size, points) == expected


def test_a_bend_goes_through_its_grid_points_and_is_smooth() -> None:
    seed, size = 4, (65, 129)
    elastic = draw_elastic(np.random.default_rng(seed), size, 3.0)
    assert elastic.shape == (65, 129, 2)
    assert elastic.dtype == np.float32
    shifts = np.clip(np.random.default_rng(seed).standard_normal((2, 3, 5)), -2, 2) * 3.0
    np.testing.assert_allclose(elastic[::32, ::32].transpose(2, 0, 1), shifts, atol=1e-5)
    # By hand, halfway between two points of a line: Keys' weights are -1/16, 9/16, 9/16, -1/16.
    line = shifts[0, 1]
    assert elastic[32, 48, 0] == pytest.approx((-line[0] + 9 * line[1] + 9 * line[2] - line[3]) / 16, abs=1e-4)
    second = np.diff(elastic[:, :, 0], n=2, axis=1)
    assert np.abs(second).max() < 0.05


def test_the_steepest_bend_allowed_does_not_fold() -> None:
    size = (64, 64)
    for seed in range(300):
        points = 3 + seed % 5
        elastic = draw_elastic(np.random.default_rng(seed), size, STEEPEST * 63 / (points - 1), points)
        x_by_y, x_by_x = np.gradient(elastic[:, :, 0])
        y_by_y, y_by_x = np.gradient(elastic[:, :, 1])
        assert ((1 + x_by_x) * (1 + y_by_y) - x_by_y * y_by_x).min() > 0


def test_bends_have_the_deviation_asked_for() -> None:
    corners = [draw_elastic(np.random.default_rng(seed), (9, 9), 10.0)[0, 0] for seed in range(2000)]
    # A normal distribution cut at two deviations has 0.96 of its deviation with values moved to the cut.
    assert np.std(corners) == pytest.approx(9.6, rel=0.03)
    assert np.abs(np.mean(corners)) < 0.6


def test_ranges_come_from_the_settings() -> None:
    assert ViewRanges.of(Augmentation(rotation=5, quarter_turns=True)) == ViewRanges(rotation=5, quarter_turns=True)
    assert ViewRanges.of(Augmentation(whole_image=True)).whole_image


def test_the_whole_map_reaches_from_edge_to_edge() -> None:
    mapped = apply(whole((30, 20), (10, 10)), np.array([[-0.5, 9.5], [-0.5, 9.5]]))
    assert mapped is not None
    np.testing.assert_allclose(mapped, [[-0.5, 19.5], [-0.5, 29.5]])
