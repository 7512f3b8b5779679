from __future__ import annotations

import math
import re

import numpy as np
import pytest

from maskwright.evaluate.figures import (
    POINTS,
    Line,
    confusion_figure,
    line_figure,
    ranking_figure,
    smoothed,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1487, [0, 500, 1000]),
        (0.13, 0.41, [0.2, 0.3, 0.4]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (2, 2, [2]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_smoothing_is_a_centred_mean_that_shrinks_at_the_ends() -> None:
    assert smoothed([0, 3, 6, 0], 3) == pytest.approx([1.5, 3, 3, 3])
    assert smoothed([1, 2], 1) == [1, 2]
    assert smoothed([], 5) == []


def _points(svg: str) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]
        for line in re.findall(r'<polyline points="([^"]+)"', svg)
    ]


def test_a_line_rises_with_its_values() -> None:
    svg = line_figure([Line(x=[0, 5, 10], y=[0, 0.5, 1], label="up")], title="t", low=0, high=1)
    ((first, middle, last),) = _points(svg)
    assert first[0] < middle[0] < last[0]
    assert first[1] > middle[1] > last[1]
    assert middle[1] == pytest.approx((first[1] + last[1]) / 2)


def test_values_that_are_not_finite_are_left_out_and_long_lines_thinned() -> None:
    x = list(range(5000))
    y = [math.nan if step % 7 == 0 else 1 + step / 5000 for step in x]
    ((*points,),) = _points(line_figure([Line(x=x, y=y, label="long")], title="t"))
    assert len(points) == POINTS


def test_no_line_gives_no_figure() -> None:
    assert line_figure([], title="t") == ""
    assert line_figure([Line(x=[1], y=[1], label="one point")], title="t") == ""
    assert ranking_figure(np.array([np.nan]), ["a"], title="t") == ""


def test_names_are_escaped_everywhere() -> None:
    evil = '"><script>alert(1)</script>'
    drawn = [
        line_figure([Line(x=[0, 1], y=[0, 1], label=evil, color=evil)], title=evil, unit=evil),
        ranking_figure(np.array([0.5, 0.7]), [evil, "b"], title=evil),
        confusion_figure(np.array([[3, 1], [0, 2]]), [evil, "b"], ["#000000", evil]),
        confusion_figure(np.eye(5, dtype=np.int64), [evil, *"bcde"], ["#000000"] * 5),
    ]
    for svg in drawn:
        assert "<script" not in svg
        assert "&lt;script" in svg


def test_confusion_is_shown_in_percent_of_each_row() -> None:
    svg = confusion_figure(np.array([[3, 1], [0, 0]]), ["sky", "road"], ["#0000ff", "#808080"])
    assert re.findall(r'class="value[^>]*>([^<]+)<', svg) == ["75", "25"]
    assert "sky → road: 25.00 %" in svg
    # The class without a pixel has a blank row.
    assert svg.count('class="cell none"') == 2


@pytest.mark.parametrize(("kinds", "numbers", "names"), [(16, True, True), (40, False, True), (150, False, False)])
def test_large_confusions_drop_numbers_and_then_names(kinds: int, numbers: bool, names: bool) -> None:
    matrix = np.full((kinds, kinds), 0, np.int64)
    np.fill_diagonal(matrix, 10)
    matrix[0, 1] = 10
    svg = confusion_figure(matrix, [f"c{index}" for index in range(kinds)], ["#123456"] * kinds)
    assert ('class="value' in svg) == numbers
    assert ('class="name"' in svg) == names
    assert svg.count('class="cell right"') == kinds
    assert "c0 → c1: 50.00 %" in svg


def test_ranking_goes_from_worst_to_best_with_the_median() -> None:
    svg = ranking_figure(np.array([0.9, np.nan, 0.1, 0.5]), ["a", "unlabelled", "b", "c"], title="t")
    assert re.findall(r"<title>([abc]): ([0-9.]+)</title>", svg) == [("b", "0.100"), ("c", "0.500"), ("a", "0.900")]
    assert "median 0.500" in svg
    assert "unlabelled" not in svg


def test_ranking_of_very_many_images_is_one_shape() -> None:
    svg = ranking_figure(np.linspace(0, 1, 5000), [str(n) for n in range(5000)], title="t")
    assert "<rect" not in svg
    assert svg.count("<polygon") == 1
