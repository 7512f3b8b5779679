from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from maskwright.evaluate.bootstrap import bootstrap_iou, bootstrap_miou
from maskwright.evaluate.boundary import boundary_counts, boundary_f1
from maskwright.evaluate.metrics import Scores, class_iou, confusion, mean_of_present

nan = math.nan


def mask(*rows: list[int]) -> NDArray[np.uint8]:
    return np.array(rows, np.uint8)


def test_confusion_has_truth_in_rows_and_prediction_in_columns() -> None:
    truth = mask([0, 0, 1], [1, 2, 2], [2, 2, 0])
    prediction = mask([0, 1, 1], [1, 2, 0], [2, 2, 0])
    counted = confusion(truth, prediction, 3)
    assert counted.dtype == np.int64
    assert counted.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 3]]


def test_confusion_leaves_out_255_on_either_side() -> None:
    truth = mask([0, 255], [1, 1])
    prediction = mask([0, 1], [255, 0])
    assert confusion(truth, prediction, 2).tolist() == [[1, 0], [1, 0]]
    nothing = mask([255, 255])
    assert confusion(nothing, mask([0, 1]), 2).tolist() == [[0, 0], [0, 0]]


def test_confusion_holds_the_last_of_255_classes() -> None:
    counted = confusion(mask([254, 254, 0]), mask([254, 0, 254]), 255)
    assert (counted[254, 254], counted[254, 0], counted[0, 254], counted.sum()) == (1, 1, 1, 3)


def test_confusion_refuses_an_index_beyond_the_classes() -> None:
    with pytest.raises(AssertionError, match="beyond the classes"):
        confusion(mask([0, 1]), mask([0, 2]), 2)


def test_scores_by_hand_with_a_class_that_is_absent() -> None:
    scores = Scores.from_confusion(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    np.testing.assert_allclose(scores.iou, [3 / 6, 4 / 7, nan])
    np.testing.assert_allclose(scores.dice, [6 / 9, 8 / 11, nan])
    np.testing.assert_allclose(scores.precision, [3 / 5, 4 / 5, nan])
    np.testing.assert_allclose(scores.recall, [3 / 4, 4 / 6, nan])
    np.testing.assert_allclose(scores.truth_share, [0.4, 0.6, 0.0])
    assert scores.miou == pytest.approx((1 / 2 + 4 / 7) / 2)
    assert scores.mean_dice == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(0.7)


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    scores = Scores.from_confusion(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(scores.iou, [3 / 4, 0])
    assert scores.miou == pytest.approx(3 / 8)
    assert math.isnan(scores.recall[1])
    assert scores.mean_accuracy == pytest.approx(3 / 4)


def test_scores_of_no_pixel_are_nan_and_warn_of_nothing() -> None:
    scores = Scores.from_confusion(np.zeros((2, 2), np.int64))
    values = [scores.miou, scores.mean_dice, scores.mean_accuracy, scores.pixel_accuracy, *scores.iou]
    assert all(math.isnan(value) for value in values)


def test_class_iou_of_a_stack_is_that_of_each() -> None:
    stack = np.array([[[3, 1], [2, 4]], [[1, 0], [0, 0]]])
    np.testing.assert_allclose(class_iou(stack), [[3 / 6, 4 / 7], [1, nan]])
    np.testing.assert_allclose(mean_of_present(class_iou(stack)), [(3 / 6 + 4 / 7) / 2, 1])


def test_bootstrap_of_alike_images_is_a_point() -> None:
    confusions = np.repeat(np.array([[[3, 1], [2, 4]]]), 5, axis=0)
    low, high = bootstrap_miou(confusions)
    assert low == high == pytest.approx((3 / 6 + 4 / 7) / 2)


def test_bootstrap_of_a_right_and_a_wrong_image_spans_everything() -> None:
    # Of two draws, a quarter are twice the right image (mIoU 1), a quarter twice the wrong one (0).
    confusions = np.array([[[5, 0], [0, 5]], [[0, 5], [5, 0]]])
    assert bootstrap_miou(confusions) == (0.0, 1.0)


def test_bootstrap_is_the_same_every_time_and_in_chunks() -> None:
    rng = np.random.default_rng(3)
    confusions = rng.integers(0, 50, (40, 3, 3))
    low, high = bootstrap_miou(confusions, seed=1)
    assert (low, high) == bootstrap_miou(confusions, seed=1)
    point = Scores.from_confusion(confusions.sum(0)).miou
    assert low < point < high
    # The mean of 40 images has about 1 / sqrt(40) of their spread.
    spread = float(np.std(mean_of_present(class_iou(confusions))))
    assert 0.5 * spread / math.sqrt(40) < (high - low) / 3.92 < 2 * spread / math.sqrt(40)


@pytest.mark.parametrize("images", [0, 1])
def test_bootstrap_of_fewer_than_two_images_gives_no_interval(images: int) -> None:
    low, high = bootstrap_miou(np.ones((images, 2, 2), np.int64))
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.0)])
def test_boundary_within_two_pixels_is_found(shift: int, expected: float) -> None:
    truth = np.zeros((5, 16), np.uint8)
    prediction = truth.copy()
    truth[:, 8:] = 1
    prediction[:, 8 + shift :] = 1
    counts = boundary_counts(truth, prediction, 2)
    assert counts[:, [1, 3]].tolist() == [[5, 5], [5, 5]]
    np.testing.assert_allclose(boundary_f1(counts), [expected, expected])


@pytest.mark.parametrize(("to", "near"), [((4, 4), True), ((3, 5), True), ((4, 5), False), ((3, 6), False)])
def test_boundary_distance_is_euclidean(to: tuple[int, int], near: bool) -> None:
    truth = np.zeros((9, 9), np.uint8)
    prediction = truth.copy()
    truth[3, 3] = 1
    prediction[to] = 1
    assert boundary_counts(truth, prediction, 2)[1].tolist() == [int(near), 1, int(near), 1]


def test_boundary_f1_by_hand() -> None:
    # Precision 6/8, recall 3/6: F1 = 2 * 0.75 * 0.5 / 1.25.
    counts = np.array([[6, 8, 3, 6], [0, 4, 0, 0], [0, 0, 0, 7], [0, 0, 0, 0]])
    np.testing.assert_allclose(boundary_f1(counts), [0.6, 0, 0, nan])


def test_image_edge_and_unlabelled_neighbours_are_no_boundary() -> None:
    whole = np.ones((4, 4), np.uint8)
    assert not boundary_counts(whole, whole, 2).any()
    truth = mask([0, 0, 255, 1, 1])
    prediction = mask([0, 0, 1, 1, 1])
    assert not boundary_counts(truth, prediction, 2).any()
    # The same with the hole in the prediction.
    assert not boundary_counts(prediction, truth, 2).any()


def test_a_predicted_boundary_in_an_unlabelled_area_neither_counts_nor_matches() -> None:
    truth = mask([0, 1, 1, 1, 255, 255, 255, 255])
    prediction = mask([0, 0, 0, 0, 0, 1, 1, 1])
    # Truth has its boundary at columns 0 and 1; the predicted one lies where nothing is labelled.
    assert boundary_counts(truth, prediction, 2).tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]


def _slow_boundary_counts(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int, tolerance: float
) -> list[list[int]]:
    """The definition, pixel by pixel, with an exact distance transform."""
    height, width = truth.shape
    counted = (truth != 255) & (prediction != 255)

    def boundary(of: NDArray[np.uint8], kind: int) -> NDArray[np.bool_]:
        found = np.zeros(of.shape, bool)
        for y in range(height):
            for x in range(width):
                if of[y, x] != kind or not counted[y, x]:
                    continue
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    if 0 <= v < height and 0 <= u < width and counted[v, u] and of[v, u] != kind:
                        found[y, x] = True
        return found

    rows = []
    for kind in range(classes):
        true, predicted = boundary(truth, kind), boundary(prediction, kind)
        near_true = distance_transform_edt(~true) <= tolerance if true.any() else np.zeros(true.shape, bool)
        near_predicted = distance_transform_edt(~predicted) <= tolerance if predicted.any() else np.zeros_like(true)
        rows.append(
            [
                int((predicted & near_true).sum()),
                int(predicted.sum()),
                int((true & near_predicted).sum()),
                int(true.sum()),
            ]
        )
    return rows


@pytest.mark.parametrize(("classes", "tolerance"), [(2, 2), (3, 1), (11, 2), (20, 3), (70, 2), (140, 1.5)])
def test_boundary_counts_agree_with_the_definition(classes: int, tolerance: float) -> None:
    rng = np.random.default_rng(classes)
    shape = (13, 29)
    truth = np.repeat(np.repeat(rng.integers(0, classes, (5, 10)), 3, 0), 3, 1)[: shape[0], : shape[1]].astype(np.uint8)
    prediction = np.roll(truth, (1, 1), (0, 1))
    prediction[rng.random(shape) < 0.1] = rng.integers(classes)
    truth[rng.random(shape) < 0.1] = 255
    prediction[2:4, 5:9] = 255
    counts = boundary_counts(truth, prediction, classes, tolerance)
    assert counts.tolist() == _slow_boundary_counts(truth, prediction, classes, tolerance)
    assert counts[:, 0].sum() > 0


def test_bootstrap_over_groups_draws_them_whole() -> None:
    # IoU of class 0 in group a (two images): 1 + 3 right of 8; in group b: 1 of 5; class 1 is wrong throughout.
    def image(right: int, wrong: int) -> np.ndarray:
        return np.array([[right, wrong], [0, 0]])

    confusions = np.stack([image(1, 3), image(1, 4), image(3, 1)]).astype(np.int64)
    (iou_RK,) = bootstrap_iou([confusions], ["a", "b", "a"], resamples=4000)
    values, times = np.unique(iou_RK[:, 0], return_counts=True)
    # b twice, one of each, a twice: chances 1/4, 1/2, 1/4.
    assert values == pytest.approx([1 / 5, 5 / 13, 4 / 8])
    assert times / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert bootstrap_miou(confusions, ["a", "b", "a"]) == pytest.approx((1 / 10, 4 / 16))
    # One group tells nothing of others, and each image in a group of its own is as no groups at all.
    assert np.isnan(bootstrap_miou(confusions, ["a", "a", "a"])).all()
    assert bootstrap_miou(confusions, ["x", "y", "z"]) == bootstrap_miou(confusions)


def test_bootstrap_draws_the_same_images_for_all_models() -> None:
    rng = np.random.default_rng(1)
    confusions = rng.integers(1, 50, (12, 3, 3))
    one, other = bootstrap_iou([confusions, confusions])
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one[:, 0])) > 100
