from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwright.augment.views import ViewRanges, draw_elastic, draw_perspective, draw_view, whole
from maskwright.augment.warp import Fill, shifted, warp, window
from maskwright.config import Border
from maskwright.datasets.classes import UNLABELLED

IDENTITY = np.array([[1.0, 0, 0], [0, 1.0, 0]])
EVERYTHING = ViewRanges(
    zoom=(0.5, 2), rotation=30, shift=0.2, shear=10, flip_horizontal=True, flip_vertical=True, quarter_turns=True
)
MAGNIFYING = EVERYTHING._replace(zoom=(1.5, 3))


def pair(
    height: int = 7, width: int = 5, channels: int = 3, dtype: type[np.generic] = np.uint8
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * width)
    return (
        (rng.random((height, width, channels)) * 200).astype(dtype),
        rng.integers(0, 4, (height, width)).astype(np.uint8),
    )


def warp_image(
    image: np.ndarray,
    to_source: np.ndarray,
    size: tuple[int, int],
    border: Border,
    fill: Fill = 0.0,
    elastic: np.ndarray | None = None,
) -> np.ndarray:
    return warp(image, np.zeros(image.shape[:2], np.uint8), to_source, size, border, fill, elastic)[0]


def warp_mask(
    mask: np.ndarray, to_source: np.ndarray, size: tuple[int, int], elastic: np.ndarray | None = None
) -> np.ndarray:
    return warp(mask[:, :, None], mask, to_source, size, "reflect", elastic=elastic)[1]


def draw_map(
    seed: int,
    shape: tuple[int, int],
    size: tuple[int, int],
    ranges: ViewRanges,
    *,
    with_perspective: bool,
    with_elastic: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    perspective = draw_perspective(rng, size, 0.15) if with_perspective else None
    elastic = draw_elastic(rng, size, min(size) / 25) if with_elastic else None
    return draw_view(rng, shape, size, ranges, perspective=perspective), elastic


def source_points(
    to_source: np.ndarray, size: tuple[int, int], elastic: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Written out in float64, as the module's docstring defines a map."""
    x, y = np.meshgrid(np.arange(size[1], dtype=float), np.arange(size[0], dtype=float))
    if elastic is not None:
        x, y = x + elastic[:, :, 0], y + elastic[:, :, 1]
    full = np.vstack([to_source, [0, 0, 1]]) if len(to_source) == 2 else to_source
    u, v, w = np.einsum("ij,jhw->ihw", full, np.stack([x, y, np.ones_like(x)]))
    return u / w, v / w


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_the_identity_changes_nothing(dtype: type[np.generic], channels: int) -> None:
    image, mask = pair(channels=channels, dtype=dtype)
    for to_source in (IDENTITY, np.eye(3)):
        for elastic in (None, np.zeros((7, 5, 2), np.float32)):
            shown, labels = warp(image, mask, to_source, (7, 5), "reflect", elastic=elastic)
            assert shown.dtype == dtype
            np.testing.assert_array_equal(shown, image)
            np.testing.assert_array_equal(labels, mask)


def test_a_shift_by_half_a_pixel_averages_neighbours_and_rounds_masks_up() -> None:
    image = np.array([[0, 10, 20, 30]], np.float32)[:, :, None]
    mask = np.array([[0, 1, 2, 3]], np.uint8)
    half = np.array([[1.0, 0, 0.5], [0, 1.0, 0]])
    shown, labels = warp(image, mask, half, (1, 3), "nearest")
    np.testing.assert_allclose(shown[0, :, 0], [5, 15, 25])
    np.testing.assert_array_equal(labels[0], [1, 2, 3])


def test_halving_takes_every_second_label_whatever_the_place() -> None:
    mask = np.tile(np.arange(200, dtype=np.uint8), (2, 1))
    for first in (0, 100, 101):
        labels = warp_mask(mask[:, first:], whole((2, 200 - first), (1, (200 - first) // 2)), (1, (200 - first) // 2))
        np.testing.assert_array_equal(labels[0], mask[0, first + 1 :: 2][: labels.shape[1]])


def test_outside_is_unlabelled_in_the_mask_and_the_border_decides_the_image() -> None:
    image = np.array([[1, 2, 3]], np.uint8)[:, :, None]
    mask = np.zeros((1, 3), np.uint8)
    left = np.array([[1.0, 0, -2], [0, 1.0, 0]])
    between = np.array([[1.0, 0, -2 + 1e-9], [0, 1.0, 0]])  # not aligned: the other way to the same answer
    for to_source in (left, between):
        np.testing.assert_array_equal(warp_mask(mask, to_source, (1, 5))[0], [UNLABELLED, UNLABELLED, 0, 0, 0])
        np.testing.assert_array_equal(warp_image(image, to_source, (1, 5), "reflect")[0, :, 0], [3, 2, 1, 2, 3])
        np.testing.assert_array_equal(warp_image(image, to_source, (1, 5), "nearest")[0, :, 0], [1, 1, 1, 2, 3])
        np.testing.assert_array_equal(warp_image(image, to_source, (1, 5), "constant", 9)[0, :, 0], [9, 9, 1, 2, 3])


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_a_constant_border_has_a_value_for_each_channel(channels: int) -> None:
    image = np.zeros((4, 4, channels), np.float32)
    fill = np.arange(1.0, channels + 1)
    for shift in (-20.0, -20.25):
        shown = warp_image(image, np.array([[1.0, 0, shift], [0, 1.0, 0]]), (4, 4), "constant", fill)
        np.testing.assert_array_equal(shown, np.broadcast_to(fill, shown.shape))


def test_flips_and_quarter_turns_are_exact_permutations() -> None:
    image, mask = pair(6, 6)
    seen = set()
    ranges = ViewRanges(flip_horizontal=True, flip_vertical=True, quarter_turns=True)
    eight = {np.rot90(m, k).tobytes() for m in (mask, mask[:, ::-1]) for k in range(4)}
    for seed in range(60):
        matrix = draw_view(np.random.default_rng(seed), (6, 6), (6, 6), ranges)
        shown, labels = warp(image, mask, matrix, (6, 6), "reflect")
        assert labels.tobytes() in eight
        resampled, same = warp(image, mask, matrix, (6, 6), "reflect", elastic=np.zeros((6, 6, 2), np.float32))
        np.testing.assert_array_equal(shown, resampled)
        np.testing.assert_array_equal(labels, same)
        seen.add(labels.tobytes())
    assert seen == eight


@pytest.mark.parametrize("with_perspective", [False, True])
@pytest.mark.parametrize("with_elastic", [False, True])
def test_image_and_mask_show_the_analytic_points_without_bias(with_perspective: bool, with_elastic: bool) -> None:
    # Each pixel tells its column (or row): a ramp interpolates to the very coordinate, a label to the nearest pixel.
    shape, size = (200, 240), (64, 96)
    columns = np.broadcast_to(np.arange(240, dtype=np.float32), shape)
    rows = np.broadcast_to(np.arange(200, dtype=np.float32)[:, None], shape)
    image = np.stack([columns, rows], 2)
    errors, roundings = [], []
    for seed in range(40):
        to_source, elastic = draw_map(
            seed, shape, size, MAGNIFYING, with_perspective=with_perspective, with_elastic=with_elastic
        )
        shown = warp_image(image, to_source, size, "nearest", elastic=elastic)
        expected = np.stack(source_points(to_source, size, elastic), 2)
        inner = ((expected >= 0) & (expected <= [239, 199])).all(2)
        errors.append((shown - expected)[inner])
        for axis, plane in enumerate((columns, rows)):
            labels = warp_mask(plane.astype(np.uint8), to_source, size, elastic)
            margin = np.minimum(expected + 0.5, [239.5, 199.5] - expected).min(2)
            np.testing.assert_array_equal((labels == UNLABELLED)[abs(margin) > 1e-3], (margin < 0)[abs(margin) > 1e-3])
            far = labels[inner] - expected[..., axis][inner]
            assert np.abs(far).max() < 0.5 + 1e-3
            roundings.append(far)
    assert sum(map(len, errors)) > 100_000
    assert np.abs(np.concatenate(errors)).max() < 1 / 16
    assert np.abs(np.concatenate(errors).mean(0)).max() < 1 / 256
    # Rounding to the nearest pixel is off by up to a half, evenly to both sides.
    assert abs(np.concatenate(roundings).mean()) < 1 / 256


def test_the_mask_has_no_shift_against_an_analytic_disc() -> None:
    y, x = np.mgrid[:201, :201]
    centre = (100.3, 99.6)
    mask = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 30**2).astype(np.uint8)
    image = (mask * 255)[:, :, None].astype(np.uint8)
    offsets = []
    for seed in range(100):
        matrix = draw_view(np.random.default_rng(seed), (201, 201), (201, 201), ViewRanges(rotation=180))
        shown, labels = warp(image, mask, matrix, (201, 201), "constant")
        inside = labels == 1
        if inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any():
            continue  # the disc is cut by the view's edge
        rows, columns = np.nonzero(inside)
        back = matrix @ [columns.mean(), rows.mean(), 1]
        offsets.append(back - centre)
        grey = shown[:, :, 0].astype(float)
        seen = matrix @ [
            (grey.sum(0) * np.arange(201)).sum() / grey.sum(),
            (grey.sum(1) * np.arange(201)).sum() / grey.sum(),
            1,
        ]
        assert np.abs(seen - centre).max() < 1 / 16
    assert len(offsets) > 80
    # A view nearly parallel to the image's axes rounds a whole mask one way, by up to half a pixel: unavoidable for
    # labels, so a single mask may be off, but the typical one is not, and all together are not.
    assert np.median(np.abs(offsets)) < 1 / 16
    # Rasterising the disc itself moved its centre by this much.
    drawn = np.array([np.nonzero(mask)[1].mean(), np.nonzero(mask)[0].mean()]) - centre
    assert np.abs(np.mean(offsets, 0) - drawn).max() < 1 / 32


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    shown = warp_image(stripes, whole((64, 64), (16, 16)), (16, 16), "reflect")
    assert abs(float(shown.mean()) - 127.5) < 4
    assert int(np.ptp(shown[:, 2:-2])) < 24


@pytest.mark.parametrize("times", [1.5, 4.0, 9.0])
def test_unequal_shrinking_blurs_one_direction_only(times: float) -> None:
    upright = np.zeros((72, 72, 1), np.float32)
    upright[:, ::2] = 100
    size = (72, round(72 / times))
    to_source = whole((72, 72), size)
    inner = np.s_[4:-4, 2:-2]
    assert float(np.std(warp_image(upright, to_source, size, "reflect")[inner])) < 12
    level = np.ascontiguousarray(upright.swapaxes(0, 1))
    kept = warp_image(level, to_source, size, "reflect")
    np.testing.assert_allclose(kept, level[:, : size[1]], atol=0.01)


def test_unequal_shrinking_along_a_diagonal_blurs_that_direction_only() -> None:
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    linear = turn @ np.diag([4.0, 1.0])  # one step to the right in the view is four along the diagonal
    middle = np.array([60.0, 60.0])
    size = (24, 12)
    to_source = np.column_stack([linear, middle - linear @ [5.5, 11.5]])
    y, x = np.mgrid[:121, :121]

    def contrast(direction: np.ndarray) -> float:
        waves = 50 * np.cos(2 * np.pi * (x * direction[0] + y * direction[1]) / 3.3)
        return float(np.std(warp_image(waves[:, :, None].astype(np.float32), to_source, size, "reflect")))

    assert contrast(turn[:, 0]) < 2.0  # along the diagonal, periods of 3.3 / 4 view pixels cannot be shown
    assert contrast(turn[:, 1]) > 15.0  # across it, 3.3 view pixels can; plain bilinear interpolation leaves about 20


@pytest.mark.parametrize("times", [1.3, 2.7, 5.3, 13.0])
def test_shrinking_does_not_shift(times: float) -> None:
    y, x = np.mgrid[:300, :300]
    blob = np.exp(-((x - 160.4) ** 2 + (y - 143.7) ** 2) / (2 * 40**2)).astype(np.float32)[:, :, None]
    size = (round(300 / times), round(300 / times))
    shown = warp_image(blob, whole((300, 300), size), size, "reflect")[:, :, 0].astype(float)
    v, u = np.mgrid[: size[0], : size[1]]
    seen = whole((300, 300), size) @ [(shown * u).sum() / shown.sum(), (shown * v).sum() / shown.sum(), 1]
    truth = [(blob[..., 0] * x).sum() / blob.sum(), (blob[..., 0] * y).sum() / blob.sum()]
    assert np.abs(seen - truth).max() < times / 16


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24), st.integers(1, 6),
    st.sampled_from([np.uint8, np.uint16, np.float32]), st.sampled_from(["reflect", "nearest", "constant"]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_pair_survives_any_view_and_no_label_is_invented(
    seed: int, height: int, width: int, channels: int, dtype: type[np.generic], border: Border,
    with_perspective: bool, with_elastic: bool,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (height, width)).astype(np.uint8)
    image = (rng.random((height, width, channels)) * 250).astype(dtype)
    to_source, elastic = draw_map(
        seed, (height, width), (12, 20), EVERYTHING, with_perspective=with_perspective, with_elastic=with_elastic
    )
    shown, labels = warp(image, mask, to_source, (12, 20), border, 7, elastic)
    assert shown.shape == (12, 20, channels)
    assert shown.dtype == dtype
    assert min(image.min(), 7) - 1e-3 <= shown.min() <= shown.max() <= max(image.max(), 7) + 1e-3
    assert labels.shape == (12, 20)
    assert set(np.unique(labels)) <= {*np.unique(mask), UNLABELLED}


@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24), st.booleans(), st.booleans())
def test_a_one_hot_mask_as_an_image_goes_where_the_mask_goes(
    seed: int, height: int, width: int, with_perspective: bool, with_elastic: bool
) -> None:
    mask = np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)
    one_hot = (mask[:, :, None] == np.arange(3)).astype(np.float32)
    to_source, elastic = draw_map(
        seed, (height, width), (15, 21), MAGNIFYING, with_perspective=with_perspective, with_elastic=with_elastic
    )
    # Where a view is not smaller than the image it is not blurred, and bilinear weights obey exact bounds.
    weights, labels = warp(one_hot, mask, to_source, (15, 21), "nearest", elastic=elastic)
    inside = labels != UNLABELLED
    own = np.take_along_axis(weights, np.where(inside, labels, 0)[:, :, None], 2)[:, :, 0]
    slack = 0.05  # OpenCV before 5 rounds the coordinates in images to 1/32 pixel
    # The nearest of four pixels has a quarter of the weight at least; what has three quarters is the nearest.
    assert (own[inside] >= 0.25 - slack).all()
    sure = inside[:, :, None] & (weights > 0.75 + slack)
    np.testing.assert_array_equal(np.nonzero(sure)[2], labels[sure.any(2)])


def test_thresholding_a_warped_shape_is_warping_it() -> None:
    y, x = np.mgrid[:160, :160]
    shape = (((x - 80) / 50) ** 2 + ((y - 70) / 30) ** 2 < 1).astype(np.uint8)
    wrong = edge = 0
    for seed in range(20):
        to_source, elastic = draw_map(seed, (160, 160), (96, 96), MAGNIFYING, with_perspective=True, with_elastic=True)
        shown, labels = warp(
            shape[:, :, None].astype(np.float32), shape, to_source, (96, 96), "constant", elastic=elastic
        )
        inside = labels != UNLABELLED
        wrong += int(((shown[:, :, 0] > 0.5) != (labels == 1))[inside].sum())
        edge += int(((shown > 0) & (shown < 1)).sum())
    # Only at the corners of the staircase that a rasterised curve is do the two round differently.
    assert edge > 5000
    assert wrong < edge / 8


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60), st.booleans(), st.booleans(),
    st.sampled_from(["reflect", "nearest", "constant"]),
)  # fmt: skip
@settings(max_examples=60)
def test_what_lies_outside_the_window_has_no_influence(
    seed: int, height: int, width: int, with_perspective: bool, with_elastic: bool, border: Border
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((height, width, 2)).astype(np.float32)
    mask = rng.integers(0, 3, (height, width)).astype(np.uint8)
    ranges = EVERYTHING._replace(shift=0.6)
    to_source, elastic = draw_map(
        seed, (height, width), (9, 13), ranges, with_perspective=with_perspective, with_elastic=with_elastic
    )
    needed = window((height, width), to_source, (9, 13), elastic)
    assert 0 <= needed.top < needed.top + needed.height <= height
    assert 0 <= needed.left < needed.left + needed.width <= width
    other_image, other_mask = np.full_like(image, 1e6), np.full_like(mask, 77)
    other_image[needed.slices], other_mask[needed.slices] = image[needed.slices], mask[needed.slices]
    for found, expected in zip(
        warp(other_image, other_mask, to_source, (9, 13), border, 3, elastic),
        warp(image, mask, to_source, (9, 13), border, 3, elastic),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    cut = warp(
        image[needed.slices], mask[needed.slices], shifted(to_source, needed), (9, 13), border, 3, elastic
    )  # fmt: skip
    expected_image, expected_mask = warp(image, mask, to_source, (9, 13), border, 3, elastic)
    np.testing.assert_allclose(cut[0], expected_image, atol=1e-3)
    assert (cut[1] != expected_mask).mean() <= 0.02  # a point within rounding of two pixels' border may change sides


def test_a_view_mostly_beyond_an_edge_sees_its_mirror_image() -> None:
    image = np.arange(100, dtype=np.float32)[None, :, None]
    for first, expected in ((-60.25, 60.25 - np.arange(20)), (140.25, 2 * 99 - 140.25 - np.arange(20))):
        to_source = np.array([[1.0, 0, first], [0, 1, 0]])
        needed = window((1, 100), to_source, (1, 20))
        assert needed.width < 80
        part = image[needed.slices]
        shown = warp_image(part, shifted(to_source, needed), (1, 20), "reflect")
        np.testing.assert_allclose(shown[0, :, 0], expected, atol=1e-3)


def test_a_view_reads_a_small_part_of_a_large_image() -> None:
    to_source = draw_view(np.random.default_rng(0), (50_000, 40_000), (256, 256), ViewRanges(rotation=20))
    needed = window((50_000, 40_000), to_source, (256, 256))
    assert needed.height < 400
    assert needed.width < 400


def test_images_longer_than_opencv_counts_are_shown_whole() -> None:
    mask = np.repeat(np.arange(8, dtype=np.uint8), 5000)[None]
    image = (mask[:, :, None] * 10).astype(np.uint8)
    shown, labels = warp(image, mask, whole((1, 40_000), (1, 16)), (1, 16), "reflect")
    np.testing.assert_array_equal(labels[0], np.repeat(np.arange(8), 2))
    assert np.abs(shown[0, :, 0].astype(int) - labels[0] * 10).max() <= 5
