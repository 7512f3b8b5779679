from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import adapted_rand_error, variation_of_information

from maskwright.evaluate.regions import Membranes, grouping_scores, membrane_class, region_scores, thin


def labels(*values: int) -> NDArray[np.int32]:
    return np.array([values], np.int32)


def test_the_same_grouping_scores_one() -> None:
    cells = labels(1, 1, 2, 2, 3, 0)
    assert grouping_scores(cells, labels(7, 7, 5, 5, 9, 0)) == pytest.approx((1, 1))


def test_merging_two_cells_by_hand() -> None:
    # p = (1/2, 1/2), s = (1), t = (1/2, 1/2): V_rand = (1/2) / (1/2 + 1/4); a single segment tells nothing.
    assert grouping_scores(labels(1, 1, 2, 2), labels(4, 4, 4, 4)) == pytest.approx((2 / 3, 0))


def test_splitting_one_of_two_cells_by_hand() -> None:
    # p = s = (1/2, 1/4, 1/4), t = (1/2, 1/2): V_rand = (3/8) / (3/16 + 1/4). H(S) = 3/2 bits, H(T) = I = 1 bit.
    scores = grouping_scores(labels(1, 1, 1, 1, 2, 2, 2, 2), labels(1, 1, 1, 1, 2, 2, 3, 3))
    assert scores == pytest.approx((6 / 7, 2 * 1 / (3 / 2 + 1)))


def test_a_pixel_without_a_segment_is_one_of_its_own() -> None:
    # p = s = (3/4, 1/4), t = (1): V_rand = (5/8) / (5/16 + 1/2), as if the last pixel were a segment 2.
    assert grouping_scores(labels(1, 1, 1, 1), labels(1, 1, 1, 0)) == pytest.approx((10 / 13, 0))
    # Two such pixels are two segments, not one.
    assert grouping_scores(labels(1, 2, 3, 3), labels(0, 0, 4, 4)) == pytest.approx((1, 1))


def test_pixels_without_a_true_cell_do_not_count() -> None:
    assert grouping_scores(labels(1, 1, 0, 2, 2), labels(1, 1, 1, 2, 2)) == pytest.approx((1, 1))


def test_no_true_cell_gives_no_score_and_one_cell_in_one_segment_is_right() -> None:
    assert all(math.isnan(value) for value in grouping_scores(labels(0, 0), labels(1, 2)))
    assert grouping_scores(labels(1, 1), labels(1, 1)) == (1, 1)


def test_grouping_scores_agree_with_scikit_image() -> None:
    rng = np.random.default_rng(0)
    cells = np.repeat(np.repeat(rng.integers(0, 12, (20, 20)), 12, 0), 12, 1)
    segments = np.repeat(np.repeat(rng.integers(1, 9, (30, 30)), 8, 0), 8, 1)
    segments = np.where(rng.random(cells.shape) < 0.6, cells + 20, segments)
    v_rand, v_info = grouping_scores(cells, segments)
    # scikit-image counts pairs of different pixels, we (as the challenge) all pairs: a difference of 1 / n.
    error = adapted_rand_error(cells, segments, ignore_labels=(0,))[0]  # type: ignore[no-untyped-call]
    assert v_rand == pytest.approx(1 - error, abs=1e-3)
    assert 0.2 < v_rand < 0.8
    # VI = H(S|T) + H(T|S) = H(S) + H(T) - 2 I, in bits.
    variation = sum(variation_of_information(cells, segments, ignore_labels=[0]))  # type: ignore[no-untyped-call]
    entropies = 0.0
    for image in (cells, segments):
        share = np.unique(image[cells > 0], return_counts=True)[1] / (cells > 0).sum()
        entropies -= float((share * np.log2(share)).sum())
    assert v_info == pytest.approx((entropies - variation) / entropies, abs=1e-9)


def test_thinning_leaves_a_line_in_the_middle() -> None:
    cells = np.ones((5, 7), bool)
    cells[:, 2:5] = False
    segments = thin(cells)
    assert (segments[:, 3] == 0).all()
    assert len(np.unique(segments[:, :3])) == 1
    assert len(np.unique(segments[:, 4:])) == 1
    assert segments[0, 0] != segments[0, 6]
    assert (segments != 0).sum() == 30


def test_a_wall_that_separates_nothing_vanishes() -> None:
    cells = np.ones((9, 9), bool)
    cells[4, :6] = False
    assert len(np.unique(thin(cells))) == 1
    assert (thin(cells) > 0).all()


def test_thinning_without_cells_gives_nothing() -> None:
    assert not thin(np.zeros((3, 3), bool)).any()


def _walled(width: int, size: int = 41) -> NDArray[np.bool_]:
    """Four cells between walls of odd `width` that cross in the middle."""
    cells = np.ones((size, size), bool)
    middle, half = size // 2, width // 2
    cells[middle - half : middle + half + 1, :] = False
    cells[:, middle - half : middle + half + 1] = False
    return cells


@pytest.mark.parametrize("width", [1, 3, 7, 11])
def test_width_of_the_predicted_wall_does_not_count(width: int) -> None:
    assert region_scores(_walled(1), _walled(width)) == pytest.approx((1, 1))


def test_a_gap_in_a_wall_merges_cells() -> None:
    truth = np.ones((5, 9), bool)
    truth[:, 4] = False
    prediction = truth.copy()
    prediction[2, 4] = True
    assert region_scores(truth, truth) == pytest.approx((1, 1))
    assert region_scores(truth, prediction) == pytest.approx((2 / 3, 0))


def test_a_spurious_wall_splits_a_cell_and_its_line_counts() -> None:
    truth = np.ones((1, 9), bool)
    prediction = truth.copy()
    prediction[0, 4] = False
    # Segments of 4 and 4 pixels, and the line's pixel alone: p = s = (4, 4, 1) / 9, t = 1.
    squares = (16 + 16 + 1) / 81
    assert region_scores(truth, prediction) == pytest.approx((squares / (squares / 2 + 1 / 2), 0))


def test_cells_touch_at_corners_without_being_one() -> None:
    truth = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], bool)
    assert region_scores(truth, np.ones((4, 4), bool)) == pytest.approx((2 / 3, 0))


def _honeycomb(pitch: int = 16, wall: int = 3, size: int = 96) -> NDArray[np.uint8]:
    """Square cells (1) between thin walls (0)."""
    inside = np.arange(size) % pitch >= wall
    return (inside[:, None] & inside[None, :]).astype(np.uint8)


def test_thin_walls_between_cells_are_membranes_whatever_their_index() -> None:
    masks = [_honeycomb(), _honeycomb(20, 4)]
    index, reason = membrane_class(masks, ["wall", "cell"])
    assert index == 0
    assert "0% of wall survives" in reason
    assert "largest connected piece of cell" in reason
    assert membrane_class([1 - one for one in masks])[0] == 1


def test_strokes_on_unlabelled_ground_are_not_thin() -> None:
    strokes = np.full((96, 96), 255, np.uint8)
    strokes[::16] = 0
    strokes[8::16] = 1
    index, reason = membrane_class([strokes])
    assert index is None
    assert "100% of class 0 survives" in reason


def test_objects_on_a_ground_and_branches_are_no_membranes() -> None:
    y, x = np.mgrid[:96, :96]
    discs = (((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2) < 81).astype(np.uint8)
    index, reason = membrane_class([discs])
    assert index is None
    assert "class 0" in reason
    assert "class 1" in reason
    vessels = np.zeros((96, 96), np.uint8)
    vessels[:, 46:49] = 1
    vessels[20:23, 10:80] = 1
    assert membrane_class([vessels])[0] is None


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_set_of_one_class_is_no_set_of_membranes(value: int) -> None:
    assert membrane_class([np.full((8, 8), value, np.uint8)])[0] is None


def test_membranes_average_over_images_and_then_choose_the_threshold() -> None:
    nan = math.nan
    membranes = Membranes(
        index=0,
        thresholds=(0.2, 0.5),
        scores_NT2=np.array([[[0.9, 0.5], [0.4, 0.7]], [[0.5, 0.5], [0.8, 0.9]], [[nan, nan], [nan, nan]]]),
        argmax_N2=np.array([[0.4, 0.7], [0.8, 0.9], [nan, nan]]),
    )
    # The best of each image would be 0.85; the challenge takes one threshold for all.
    assert membranes.best(0) == pytest.approx((0.7, 0.2))
    assert membranes.best(1) == pytest.approx((0.8, 0.5))
    assert membranes.plain(0) == pytest.approx(0.6)
    empty = Membranes(
        index=0, thresholds=(0.5,), scores_NT2=np.full((1, 1, 2), np.nan), argmax_N2=np.full((1, 2), np.nan)
    )
    assert all(math.isnan(value) for value in (*empty.best(0), empty.plain(1)))
