"""Which class table a set with damaged masks is judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskwright.check.class_table import settle
from maskwright.check.measure import _labels
from maskwright.check.scan_result import Labels, Settled
from maskwright.datasets.formats.layout import Layout
from maskwright.datasets.sources import Source


def labels(*masks: np.ndarray) -> list[tuple[str, Labels]]:
    source = Source(path=Path("mask.png"))
    return [(f"{place}.png", _labels(source, mask, None, None, frozenset())) for place, mask in enumerate(masks)]


def drawn(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """Stripes of 8 rows, one for each value."""
    return np.repeat(np.array(values, dtype), 8)[:, None] * np.ones((1, 20), dtype)


def settled(folder: str, *masks: np.ndarray) -> Settled:
    layout = Layout(format="folder", samples=(), masks_folder=Path("data") / folder, unlabelled_255=folder == "labels")
    return settle(layout, None, labels(*masks))


def test_sound_masks_give_what_training_infers() -> None:
    found = settled("masks", drawn(0, 255), drawn(0, 255))
    assert found.problem is None
    assert [item.values for item in found.table.classes] == [(0,), (255,)]


def test_one_odd_mask_does_not_decide() -> None:
    sound = [drawn(0, 255)] * 6
    for odd in (drawn(0, 128, 255), np.arange(256, dtype=np.uint8).reshape(16, 16), drawn(0, 1)):
        found = settled("masks", *sound, odd)
        assert found.problem is None, odd
        assert [item.values for item in found.table.classes] == [(0,), (255,)]


def test_colours_among_indices_do_not_decide() -> None:
    color = np.zeros((16, 20, 3), np.uint8)
    color[8:] = (200, 30, 0)
    found = settled("labels", *[drawn(0, 1, 2)] * 5, color)
    assert found.table.names == ["class 0", "class 1", "class 2"]


def test_255_and_1_in_one_mask_are_no_mixture() -> None:
    found = settled("masks", drawn(0, 1, 255), drawn(0, 1), drawn(0, 255))
    assert [item.values for item in found.table.classes] == [(0,), (1,)]


def test_classes_counted_from_one() -> None:
    found = settled("masks", drawn(1, 2, 3), drawn(1, 3), drawn(2, 1))
    assert found.problem is not None
    assert (found.problem.level, found.problem.kind) == ("error", "off-by-one")
    assert [item.values for item in found.table.classes] == [(1,), (2,), (3,)]
    assert found.certain


def test_values_that_say_nothing_are_an_error_with_a_table_to_start_from() -> None:
    found = settled("masks", drawn(0, 17, 30), drawn(0, 17), drawn(30, 17))
    assert found.problem is not None
    assert (found.problem.level, found.problem.kind) == ("error", "undecided-classes")
    assert "[[class]]" in found.problem.remedy
    assert not found.certain
    assert [item.values for item in found.table.classes] == [(0,), (17,), (30,)]
