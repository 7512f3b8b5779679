"""Values, ramps and spots of masks small enough to count by hand."""

from __future__ import annotations

import numpy as np

from maskwright.check.edges import ramps_of
from maskwright.check.measure import count_values, find_spots, to_keys


def test_values_are_counted_with_where_they_lie() -> None:
    raw = np.zeros((6, 8), np.uint8)
    raw[:, 4:] = 9
    raw[:, 4] = 5  # a column between 0 and 9
    counts, distinct, edges = count_values(to_keys(raw), None)
    by_value = {count.value: count for count in counts}
    assert distinct == 3
    assert (by_value[0].pixels, by_value[9].pixels, by_value[5].pixels) == (24, 18, 6)
    # Columns 0 to 2 and 6 to 7 touch no other value; OpenCV leaves out what lies outside.
    assert (by_value[0].flat, by_value[9].flat, by_value[5].flat) == (18, 12, 0)
    assert (by_value[0].between, by_value[9].between, by_value[5].between) == (0, 0, 6)
    assert edges == 48 - 30
    assert [count.value for count in counts] == [0, 9, 5]  # most frequent first


def test_invalid_pixels_are_counted_apart() -> None:
    invalid = np.zeros((4, 4), bool)
    invalid[0] = True
    ((count,), _, _) = count_values(to_keys(np.ones((4, 4), np.uint16)), invalid)
    assert (count.value, count.pixels, count.invalid) == (1, 16, 4)


def test_large_values_and_colours_become_keys() -> None:
    raw = np.array([[70000, -3], [70000, 5]], np.int32)
    mask = to_keys(raw)
    assert mask.keys_HW.tolist() == [[2, 0], [2, 1]]
    assert [mask.value(key) for key in range(3)] == [-3, 5, 70000]
    assert mask.of({5, 70000, 12}).tolist() == [1, 2]
    colors = np.array([[[255, 0, 0], [0, 0, 16]]], np.uint8)
    mask = to_keys(colors)
    assert mask.colored
    assert [mask.value(int(key)) for key in mask.keys_HW.ravel()] == ["#ff0000", "#000010"]


def test_ramps_lie_between_opposite_neighbours() -> None:
    row = np.array([0, 0, 3, 7, 7, 2, 7, 5, 1], np.uint8)
    expected = [False, False, True, False, False, False, False, True, False]
    for raw in (np.tile(row, (3, 1)), np.tile(row, (3, 1)).T):
        found = ramps_of(np.ascontiguousarray(raw))
        middle = found[1] if raw.shape[1] == 9 else found[:, 1]
        assert middle.tolist() == expected
    assert not ramps_of(np.array([[0, 1], [2, 3]], np.uint8)).any()


def test_spots_are_small_regions_inside_one_other() -> None:
    raw = np.zeros((40, 60), np.uint8)
    raw[20:] = 4
    raw[5, 5] = 4  # one pixel
    raw[10:12, 30:32] = 4  # four
    raw[30:33, 50:53] = 0  # nine, the other way round
    raw[5:9, 40:44] = 4  # sixteen are no spot
    raw[19:21, 10] = 7  # on the border of two regions: a spot of neither
    count, shown = find_spots(to_keys(raw))
    assert count == 3
    places = {(spot.y, spot.x): (spot.value, spot.around) for spot in shown}
    assert places[5, 5] == (4, 0)
    assert places[31, 51] == (0, 4)
    assert any(10 <= y <= 11 and 30 <= x <= 31 for y, x in places)


def test_a_mask_without_spots() -> None:
    assert find_spots(to_keys(np.zeros((10, 10), np.uint8))) == (0, ())
