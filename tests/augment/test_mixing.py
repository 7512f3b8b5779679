from __future__ import annotations

import numpy as np
import pytest

from maskwright.augment.mixing import draw_classes, draw_regions, paste
from maskwright.datasets.classes import UNLABELLED

FOUR = np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, UNLABELLED, 3]], np.uint8)


def test_half_the_classes_are_taken_whole() -> None:
    seen = set()
    for seed in range(100):
        where = draw_classes(np.random.default_rng(seed), FOUR)
        taken = frozenset(np.unique(FOUR[where]).tolist())
        assert len(taken) == 2
        assert UNLABELLED not in taken
        np.testing.assert_array_equal(where, np.isin(FOUR, list(taken)))
        seen.add(taken)
    assert len(seen) == 6, "every pair of classes comes up"


@pytest.mark.parametrize(("present", "count"), [([5], 0), ([0, 5], 1), ([0, 5, 7], 2), ([255], 0), ([], 0)])
def test_half_is_rounded_up_but_never_all(present: list[int], count: int) -> None:
    mask = np.array([present], np.uint8).reshape(1, -1)
    where = draw_classes(np.random.default_rng(0), mask)
    assert len(np.unique(mask[where])) == count


def test_regions_are_connected_and_the_ground_stays() -> None:
    mask = np.zeros((5, 9), np.uint8)
    mask[0, 0] = mask[1, 1] = 1  # touch at a corner: one region
    mask[4, 0:2] = 1
    mask[0:2, 5:7] = 2
    mask[4, 8] = UNLABELLED
    regions = [{(0, 0), (1, 1)}, {(4, 0), (4, 1)}, {(0, 5), (0, 6), (1, 5), (1, 6)}]
    counts = np.zeros(3)
    for seed in range(200):
        taken = {(int(y), int(x)) for y, x in np.argwhere(draw_regions(np.random.default_rng(seed), mask))}
        chosen = [region <= taken for region in regions]
        assert taken == set().union(*(region for region, on in zip(regions, chosen, strict=True) if on))
        counts += chosen
    assert (np.abs(counts - 100) < 30).all()


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_and_labels_are_pasted_together(channels: int, dtype: type[np.generic]) -> None:
    rng = np.random.default_rng(0)
    below, above = ((rng.random((4, 5, channels)) * 200).astype(dtype) for _ in range(2))
    labels, others = (rng.integers(0, 4, (4, 5)).astype(np.uint8) for _ in range(2))
    where = rng.random((4, 5)) < 0.5
    kept = below.copy(), labels.copy()
    image, mask = paste((below[::-1][::-1], labels), (above, others), where)
    np.testing.assert_array_equal(image[where], above[where])
    np.testing.assert_array_equal(image[~where], below[~where])
    np.testing.assert_array_equal(mask, np.where(where, others, labels))
    np.testing.assert_array_equal(below, kept[0])
    np.testing.assert_array_equal(labels, kept[1])
