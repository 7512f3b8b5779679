"""Outlines along pixel edges: filling them gives back exactly the pixels they were drawn round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from maskwright.datasets.formats.drawn.outlines import joined, regions, rings
from maskwright.datasets.formats.drawn.shapes import Polygon, draw
from maskwright.imaging.decoders import Window

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def filled(outlines: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    shapes = [(1, Polygon.of(*outlines))] if outlines else []
    inside: np.ndarray = draw(shapes, Window(0, 0, shape[0], shape[1]), 0) == 1
    return inside


def test_one_pixel() -> None:
    (ring,) = rings(np.array([[0, 0, 0], [0, 0, 1]], bool))
    assert ring.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]


def test_a_ring_and_its_hole() -> None:
    outer, hole = rings(np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool))
    assert {tuple(corner) for corner in outer.tolist()} == {(0, 0), (4, 0), (4, 3), (0, 3)}
    assert {tuple(corner) for corner in hole.tolist()} == {(1, 1), (3, 1), (3, 2), (1, 2)}


@pytest.mark.parametrize("diagonal", [[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
def test_pixels_that_touch_at_a_corner_are_parted(diagonal: list[list[int]]) -> None:
    found = rings(np.array(diagonal, bool))
    assert [len(ring) for ring in found] == [4, 4]
    assert len(list(regions(np.array(diagonal, bool)))) == 2


def test_nothing() -> None:
    assert rings(np.zeros((3, 4), bool)) == []
    assert list(regions(np.zeros((3, 4), bool))) == []


@given(MASKS)
def test_filling_all_outlines_gives_the_mask(mask: np.ndarray) -> None:
    found = rings(mask)
    assert np.array_equal(filled(found, mask.shape), mask)
    for ring in found:
        steps = np.abs(ring - np.roll(ring, 1, axis=0))
        assert ((steps == 0).sum(axis=1) == 1).all(), "edges run along rows and columns, in turn"


@given(MASKS)
def test_joined_rings_fill_like_their_parts(mask: np.ndarray) -> None:
    together = np.zeros_like(mask)
    for top, left, inside in regions(mask):
        ring = np.add(joined(rings(inside)), (left, top))
        part = filled([ring], mask.shape)
        assert not (together & part).any()
        assert part.sum() == inside.sum()
        together |= part
    assert np.array_equal(together, mask)
