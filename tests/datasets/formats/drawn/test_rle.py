"""Run lengths: against hand-counted masks, and against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from maskwright.datasets.formats.drawn.rle import compress, counts_of, decompress, mask_of

# pycocotools 2.0.11 does not take NumPy 2's `copy` argument yet; a coming release may.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def test_counts_by_hand() -> None:
    mask = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert counts_of(mask, by_columns=True).tolist() == [2, 1, 1, 2]
    assert counts_of(mask, by_columns=False).tolist() == [1, 2, 2, 1]
    assert counts_of(~mask, by_columns=False).tolist() == [0, 1, 2, 2, 1]


def test_text_by_hand() -> None:
    # 6 is the group 00110 -> "0" + 6. 40 is 01000 with "more", then 00001: chr(48 + 32 + 8), chr(48 + 1).
    assert compress(np.array([6, 1, 40])) == "61X1"
    # The fourth count is written as 3 - 1 = 2; the fifth as 37 - 40 = -3, in one group of two's complement: 11101.
    assert compress(np.array([6, 1, 40, 3, 37])) == "61X12M"
    assert decompress("61X12M").tolist() == [6, 1, 40, 3, 37]
    assert decompress("").tolist() == []


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40))
def test_any_counts_survive_the_text(counts: list[int]) -> None:
    assert decompress(compress(np.array(counts, np.int64))).tolist() == counts


@given(MASKS)
def test_masks_survive(mask: np.ndarray) -> None:
    for by_columns in (True, False):
        counts = counts_of(mask, by_columns=by_columns)
        assert np.array_equal(mask_of(counts, *mask.shape, by_columns=by_columns), mask)


@given(MASKS)
def test_text_is_what_pycocotools_writes_and_reads(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    text = compress(counts_of(mask, by_columns=True))
    assert text.encode() == coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    assert np.array_equal(coco.decode({"size": list(mask.shape), "counts": text.encode()}), mask)


@pytest.mark.parametrize("text", ["P", "6 1", "\x7f1", "é", "oooooooo0"])
def test_text_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="its text"):
        decompress(text)


@pytest.mark.parametrize("counts", [[5], [3, 4], [-1, 7], []])
def test_counts_that_do_not_cover_the_mask(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="the mask is 3 x 2 = 6"):
        mask_of(counts, 2, 3, by_columns=True)
