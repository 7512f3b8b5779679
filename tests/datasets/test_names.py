"""Natural order, and short lists."""

from __future__ import annotations

from maskwright.datasets.sources import natural
from maskwright.errors import listed


def test_numbers_sort_as_numbers() -> None:
    names = ["f10", "f9", "F2", "1", "a", "f010", "", "10a"]
    assert sorted(names, key=natural) == ["", "1", "10a", "a", "F2", "f9", "f010", "f10"]


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
