"""Shapes cover the pixels whose centres lie inside: by hand, by exact arithmetic, and by pycocotools and rasterio."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.datasets.formats.drawn.rle import counts_of
from maskwright.datasets.formats.drawn.shapes import Bitmap, Ellipse, PixelPolygon, Polygon, Runs, Shape, draw
from maskwright.imaging.decoders import Window

# pycocotools 2.0.11 does not take NumPy 2's `copy` argument yet; a coming release may.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 11, 13


def covered(shape: Shape, height: int = HEIGHT, width: int = WIDTH, top: int = 0, left: int = 0) -> np.ndarray:
    inside: np.ndarray = draw([(1, shape)], Window(top, left, height, width), 0) == 1
    return inside


def exactly(rings: list[list[tuple[float, float]]], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """The rule of the module, pixel by pixel, in exact arithmetic: an odd number of edges to the left, or through."""
    inside = np.zeros((height, width), bool)
    edges = [(ring[i - 1], ring[i]) for ring in rings for i in range(len(ring))]
    for row in range(height):
        for column in range(width):
            x, y = Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2)
            for (x0, y0), (x1, y1) in edges:
                if (Fraction(y0) <= y) != (Fraction(y1) <= y):
                    at = Fraction(x0) + (y - Fraction(y0)) * (Fraction(x1) - Fraction(x0)) / (
                        Fraction(y1) - Fraction(y0)
                    )
                    inside[row, column] ^= at <= x
    return inside


PLACE = st.one_of(st.integers(-3, 16).map(float), st.integers(-6, 32).map(lambda n: n / 2), st.floats(-3, 16, width=32))
RING = st.lists(st.tuples(PLACE, PLACE), min_size=3, max_size=8)


@given(st.lists(RING, min_size=1, max_size=3))
def test_polygons_follow_the_rule_exactly(rings: list[list[tuple[float, float]]]) -> None:
    expected = exactly(rings)
    found = covered(Polygon.of(*rings))
    # A centre within rounding of a slanted edge may fall on either side of it; nothing else may differ.
    for row, column in np.argwhere(found != expected):
        assert distance_to_edges(column + 0.5, row + 0.5, rings) < 1e-9


def distance_to_edges(x: float, y: float, rings: list[list[tuple[float, float]]]) -> float:
    point = np.array((x, y))
    best = np.inf
    for ring in rings:
        for i in range(len(ring)):
            a, b = np.array(ring[i - 1]), np.array(ring[i])
            along = b - a
            length = float(along @ along)
            t = 0.0 if length == 0 else min(1.0, max(0.0, float((point - a) @ along) / length))
            best = min(best, float(np.linalg.norm(point - a - t * along)))
    return best


@given(RING)
def test_whole_and_half_numbers_are_exact(ring: list[tuple[float, float]]) -> None:
    rounded = [(round(2 * x) / 2, round(2 * y) / 2) for x, y in ring]
    # Crossings of such edges are quotients of small numbers, which float64 gives correctly rounded: ties included.
    assert np.array_equal(covered(Polygon.of(rounded)), exactly([rounded]))


def test_a_square_by_hand() -> None:
    mask = covered(Polygon.of([(2, 1), (5, 1), (5, 4), (2, 4)]))
    assert mask.sum() == 9
    assert mask[1:4, 2:5].all()
    assert Polygon.of([(2, 1), (5, 1), (5, 4), (2, 4)]).area == 9


def test_edges_through_centres_belong_to_the_shape_on_the_right_and_below() -> None:
    mask = covered(Polygon.of([(2.5, 1.5), (5.5, 1.5), (5.5, 4.5), (2.5, 4.5)]))
    assert np.argwhere(mask).min(axis=0).tolist() == [1, 2]
    assert np.argwhere(mask).max(axis=0).tolist() == [3, 4]


def test_holes_and_crossings_follow_the_even_odd_rule() -> None:
    ring, hole = [(1, 1), (9, 1), (9, 9), (1, 9)], [(3, 3), (6, 3), (6, 6), (3, 6)]
    mask = covered(Polygon.of(ring, hole))
    assert mask.sum() == 64 - 9
    assert not mask[3:6, 3:6].any()
    # Walked twice round, a ring is outside of itself.
    assert not covered(Polygon.of(ring + ring)).any()
    assert Polygon.of(ring, hole).area == 55


@given(
    st.lists(st.tuples(PLACE, PLACE), min_size=4, max_size=4, unique=True),
    st.tuples(PLACE, PLACE),
)
def test_neighbours_share_no_pixel_and_leave_none(
    corners: list[tuple[float, float]], middle: tuple[float, float]
) -> None:
    """Four triangles round a point tile a quadrilateral, in the sense of the even-odd rule."""
    triangles = [[middle, corners[i - 1], corners[i]] for i in range(4)]
    together = np.logical_xor.reduce([covered(Polygon.of(triangle)) for triangle in triangles])
    assert np.array_equal(together, covered(Polygon.of(corners)))


@given(RING, st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9))
def test_a_window_shows_what_the_whole_shows(
    ring: list[tuple[float, float]], top: int, left: int, h: int, w: int
) -> None:
    whole = np.zeros((40, 40), bool)
    whole[10:30, 10:30] = covered(Polygon.of(ring), 20, 20)
    expected = np.zeros((h, w), bool)
    for row in range(h):
        for column in range(w):
            y, x = top + row, left + column
            expected[row, column] = 0 <= y < 20 and 0 <= x < 20 and whole[10 + y, 10 + x]
    inside = np.zeros((h, w), bool)
    rows, columns = np.arange(top, top + h)[:, None], np.arange(left, left + w)
    on_canvas = (rows >= 0) & (rows < 20) & (columns >= 0) & (columns < 20)
    inside[on_canvas] = covered(Polygon.of(ring), h, w, top, left)[on_canvas]
    assert np.array_equal(inside, expected)


@given(st.lists(st.tuples(st.floats(0, 40), st.floats(0, 30)), min_size=3, max_size=7))
def test_pycocotools_agrees_but_for_its_rounding(ring: list[tuple[float, float]]) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    flat = [float(part) for corner in ring for part in corner]
    theirs = coco.decode(coco.frPyObjects([flat], 30, 40))[..., 0].astype(bool)
    ours = covered(Polygon.of(ring), 30, 40)
    # It rounds corners to fifths of a pixel, and walks between them in steps of a fifth.
    for row, column in np.argwhere(ours != theirs):
        assert distance_to_edges(column + 0.5, row + 0.5, [ring]) < 0.3


def test_pycocotools_agrees_exactly_on_whole_pixels() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    ring = [(2, 1), (9, 1), (9, 5), (6, 5), (6, 8), (2, 8)]
    theirs = coco.decode(coco.frPyObjects([[float(p) for corner in ring for p in corner]], HEIGHT, WIDTH))[..., 0]
    assert np.array_equal(covered(Polygon.of(ring)), theirs)


def test_rasterio_agrees_where_no_centre_is_on_an_edge() -> None:
    features = pytest.importorskip("rasterio.features", reason="rasterio is not installed")
    rng = np.random.default_rng(0)
    for _ in range(30):
        ring = rng.uniform(-5, 35, (6, 2))
        shape = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
        theirs = features.rasterize([(shape, 1)], out_shape=(30, 30))
        assert np.array_equal(covered(Polygon.of(ring), 30, 30), theirs)


def test_turned_boxes() -> None:
    straight = Polygon.box(2, 4, 8, 6)
    assert covered(straight).sum() == 12
    # A quarter turn about the centre (5, 5).
    assert np.array_equal(covered(Polygon.box(2, 4, 8, 6, degrees=90)), covered(Polygon.box(4, 2, 6, 8)))
    turned = covered(Polygon.box(2, 4.5, 8, 5.5, degrees=45))
    # Clockwise on the screen: it falls from the upper left to the lower right.
    assert turned[3, 3]
    assert turned[6, 6]
    assert not turned[6, 3]


def test_ellipses() -> None:
    # Radius 1.5 about a centre of a pixel: 3 x 3, corners at distance sqrt(2) included.
    disc = covered(Ellipse(5.5, 5.5, 1.5, 1.5))
    assert disc.sum() == 9
    assert disc[4:7, 4:7].all()
    flat = covered(Ellipse(5.5, 5.5, 3, 1))
    assert np.flatnonzero(flat[5]).tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert np.flatnonzero(flat[:, 5]).tolist() == [4, 5, 6]
    assert np.array_equal(covered(Ellipse(5.5, 5.5, 3, 1, degrees=90)), covered(Ellipse(5.5, 5.5, 1, 3)))
    falling = covered(Ellipse(5.5, 5.5, 4, 0.8, degrees=45))
    assert falling[3, 3]
    assert not falling[7, 3]
    assert not covered(Ellipse(5, 5, 0, 3)).any()


def test_runs_and_bitmaps_are_placed_and_cut() -> None:
    mask = np.array([[1, 0], [1, 1], [0, 1]], bool)
    for shape in (
        Bitmap.of(mask, 2, 3),
        Runs.of(counts_of(mask, by_columns=True), 2, 3, 3, 2, by_columns=True),
        Runs.of(counts_of(mask, by_columns=False), 2, 3, 3, 2, by_columns=False),
    ):
        assert shape.area == 4
        assert np.array_equal(covered(shape)[2:5, 3:5], mask)
        assert covered(shape).sum() == 4
        assert np.array_equal(covered(shape, 2, 5, top=3, left=4), [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
        assert not covered(shape, 2, 2).any()


def test_pixel_polygons_own_their_outline() -> None:
    shape = PixelPolygon.of([(1, 1), (8, 1), (8, 8), (1, 8)], [(3, 3), (5, 3), (5, 5), (3, 5)])
    mask = covered(shape)
    assert mask[1:9, 1:9].sum() == mask.sum() == 64 - 9
    assert not mask[3:6, 3:6].any()
    assert covered(PixelPolygon.of([(-3, -3), (1, -3), (1, 1), (-3, 1)])).sum() == 4


def test_later_shapes_cover_earlier_ones() -> None:
    large, small = Polygon.box(0, 0, 6, 6), Polygon.box(2, 2, 4, 4)
    canvas = draw([(70000, large), (2, small)], Window(0, 0, 6, 6), 9)
    assert canvas.dtype == np.int32
    assert {value: int((canvas == value).sum()) for value in (70000, 2, 9)} == {70000: 32, 2: 4, 9: 0}


def test_shapes_are_small_and_travel() -> None:
    for shape in (Polygon.of([(0, 0), (4, 0), (4, 4)]), Ellipse(1, 2, 3, 4), Bitmap.of(np.ones((8, 8), bool), 0, 0)):
        again = pickle.loads(pickle.dumps(shape))  # as worker processes get them
        assert again == shape
        assert hash(again) == hash(shape)


@pytest.mark.parametrize(
    ("ring", "text"),
    [
        ([(0, 0), (1, 1)], "has 2 corners"),
        ([0, 0, 1], "pairs"),
        ([(0, 0), (1, 1), (float("nan"), 1)], "not a finite place"),
        ("abc", "no list of numbers"),
        ([[(0, 0)]], "pairs"),
    ],
)
def test_rings_that_are_none(ring: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Polygon.of(ring)


def test_runs_that_do_not_cover() -> None:
    with pytest.raises(ValueError, match="cover 5 pixels, and it is 3 x 2 = 6"):
        Runs.of(np.array([2, 3]), 0, 0, 2, 3, by_columns=True)
