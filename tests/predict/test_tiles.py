from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskwright.predict.tiles import Tile, blend, cover, starts, weight


def test_starts_meet_both_ends() -> None:
    assert starts(10, 16, 4) == [0]
    assert starts(16, 16, 4) == [0]
    assert starts(17, 16, 4) == [0, 1]
    assert starts(28, 16, 4) == [0, 12]
    assert starts(29, 16, 4) == [0, 6, 13]


def test_tiles_begin_on_the_grid_and_end_with_the_image() -> None:
    assert starts(2100, 1536, 256, 64) == [0, 512]
    assert [tile[2:] for tile in cover((10, 2100), 1536, 256, 64)] == [(0, 1536), (512, 2100)]
    assert starts(50, 16, 4, 4) == [0, 8, 20, 32]


@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 40), st.integers(0, 39))
def test_tiles_cover_every_pixel_and_share_the_overlap(height: int, width: int, size: int, overlap: int) -> None:
    overlap = min(overlap, size - 1)
    seen = np.zeros((height, width), int)
    for tile in cover((height, width), size, overlap):
        assert 0 <= tile.top < tile.bottom <= height
        assert 0 <= tile.left < tile.right <= width
        seen[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert seen.min() >= 1
    first = starts(height, size, overlap)
    assert all(a + size - b >= overlap for a, b in pairwise(first))


def test_blending_pieces_of_one_array_gives_it_back() -> None:
    whole = np.random.default_rng(0).random((3, 50, 70)).astype(np.float32)
    again = blend(lambda t: whole[:, t.top : t.bottom, t.left : t.right], (50, 70), 3, 32, 8)
    np.testing.assert_allclose(again, whole, rtol=1e-5)


def test_weights_fall_towards_the_edges() -> None:
    assert weight(1, 1).tolist() == [[1]]
    np.testing.assert_allclose(weight(3, 5), [[0.5] * 5, [0.5, 1, 1, 1, 0.5], [0.5] * 5])


def test_a_seam_is_averaged_by_distance() -> None:
    def predict(tile: Tile) -> np.ndarray:
        return np.full((1, tile.bottom - tile.top, tile.right - tile.left), float(tile.left > 0), np.float32)

    row = blend(predict, (3, 6), 1, 4, 2)[0, 1]
    np.testing.assert_allclose(row, [0, 0, 1 / 3, 2 / 3, 1, 1], atol=1e-6)
