from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskwright.errors import ProjectError
from maskwright.imaging.decoders import Window
from maskwright.label.patches import KEEP, Packer, Runs, decode, encode, restored

CELLS = arrays.arrays(
    np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 254, 255, 513, KEEP])
)


def test_runs_are_lengths_and_values() -> None:
    assert encode(np.array([[7, 7, 7], [7, KEEP, 0]], np.uint16)) == bytes.fromhex(
        "040000000700 01000000ffff 010000000000"
    )


@given(CELLS)
def test_cells_come_back(cells: np.ndarray) -> None:
    assert (decode(encode(cells), Window(3, 5, *cells.shape)) == cells).all()


@given(CELLS, st.data())
def test_any_band_of_rows_comes_back(cells: np.ndarray, data: st.DataObject) -> None:
    top = data.draw(st.integers(0, len(cells) - 1))
    bottom = data.draw(st.integers(top + 1, len(cells)))
    runs = Runs(encode(cells), Window(0, 0, *cells.shape))
    assert (runs.rows(top, bottom) == cells[top:bottom]).all()
    assert runs.values == set(cells.ravel().tolist())


@given(CELLS, CELLS)
def test_bands_are_packed_one_after_the_other(above: np.ndarray, below: np.ndarray) -> None:
    below = np.resize(below, (len(below), above.shape[1]))
    packer = Packer()
    packer.add(above)
    packer.add(below)
    whole = np.concatenate([above, below])
    assert (restored(packer.blob(), Window(0, 0, *whole.shape)).rows(0, len(whole)) == whole).all()


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x01", encode(np.zeros((2, 2), np.uint16)), encode(np.zeros((4, 2), np.uint16)), bytes(12)],
    ids=["empty", "cut off", "short", "long", "runs of nothing"],
)
def test_runs_that_do_not_cover_their_box_are_refused(payload: bytes) -> None:
    with pytest.raises(ProjectError, match="cover"):
        decode(payload, Window(0, 0, 3, 2))
