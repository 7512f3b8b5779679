from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.config import Augmentation
from maskwright.data.classes import UNLABELLED
from maskwright.data.transforms import ViewRanges, draw_tone, draw_view, warp, warp_image, warp_mask, whole

IDENTITY = np.array([[1.0, 0, 0], [0, 1.0, 0]])
EVERYTHING = ViewRanges(
    zoom=(0.5, 2), rotation=30, shift=0.2, shear=10, flip_horizontal=True, flip_vertical=True, quarter_turns=True
)


def pair(
    height: int = 7, width: int = 5, channels: int = 3, dtype: type[np.generic] = np.uint8
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * width)
    return (
        (rng.random((height, width, channels)) * 200).astype(dtype),
        rng.integers(0, 4, (height, width)).astype(np.uint8),
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_the_identity_changes_nothing(dtype: type[np.generic], channels: int) -> None:
    image, mask = pair(channels=channels, dtype=dtype)
    shown, labels = warp(image, mask, IDENTITY, (7, 5), "reflect")
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


def test_outside_is_unlabelled_in_the_mask_and_the_border_decides_the_image() -> None:
    image = np.array([[1, 2, 3]], np.uint8)[:, :, None]
    mask = np.zeros((1, 3), np.uint8)
    left = np.array([[1.0, 0, -2], [0, 1.0, 0]])
    np.testing.assert_array_equal(warp_mask(mask, left, (1, 5))[0], [UNLABELLED, UNLABELLED, 0, 0, 0])
    np.testing.assert_array_equal(warp_image(image, left, (1, 5), "reflect")[0, :, 0], [3, 2, 1, 2, 3])
    np.testing.assert_array_equal(warp_image(image, left, (1, 5), "nearest")[0, :, 0], [1, 1, 1, 2, 3])
    np.testing.assert_array_equal(warp_image(image, left, (1, 5), "constant", 9)[0, :, 0], [9, 9, 1, 2, 3])


def test_flips_and_quarter_turns_are_exact_permutations() -> None:
    image, mask = pair(6, 6)
    seen = set()
    ranges = ViewRanges(flip_horizontal=True, flip_vertical=True, quarter_turns=True)
    eight = {np.rot90(m, k).tobytes() for m in (mask, mask[:, ::-1]) for k in range(4)}
    for seed in range(60):
        matrix = draw_view(np.random.default_rng(seed), (6, 6), (6, 6), ranges)
        shown, labels = warp(image, mask, matrix, (6, 6), "reflect")
        assert labels.tobytes() in eight
        place = np.argwhere(np.all(image == shown[0, 0], axis=2))
        assert len(place) == 1, "pixel values of the test image are all different"
        seen.add(labels.tobytes())
    assert seen == eight


def test_a_view_that_fits_lies_within_the_image() -> None:
    mask = np.zeros((40, 60), np.uint8)
    for seed in range(50):
        matrix = draw_view(np.random.default_rng(seed), (40, 60), (16, 16), ViewRanges(zoom=(0.7, 1.4), rotation=20))
        assert (warp_mask(mask, matrix, (16, 16)) == 0).all()


def test_a_view_larger_than_the_image_shows_all_of_it() -> None:
    mask = np.zeros((5, 9), np.uint8)
    for seed in range(20):
        matrix = draw_view(np.random.default_rng(seed), (5, 9), (16, 16), ViewRanges())
        assert (warp_mask(mask, matrix, (16, 16)) == 0).sum() == 45


def test_a_centred_view_shows_the_point() -> None:
    mask = np.zeros((100, 100), np.uint8)
    for seed, (x, y) in enumerate([(0, 0), (99, 99), (50, 20), (3, 77)]):
        mask[:] = 0
        mask[y, x] = 1
        matrix = draw_view(np.random.default_rng(seed), (100, 100), (32, 32), ViewRanges(), (x, y))
        assert (warp_mask(mask, matrix, (32, 32)) == 1).sum() == 1


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


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24), st.integers(1, 6),
    st.sampled_from([np.uint8, np.uint16, np.float32]),
)  # fmt: skip
def test_no_view_invents_a_label_and_image_and_mask_stay_together(
    seed: int, height: int, width: int, channels: int, dtype: type[np.generic]
) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (height, width)).astype(np.uint8)
    image = np.repeat(mask[:, :, None] * 100, channels, 2).astype(dtype)
    matrix = draw_view(rng, (height, width), (12, 20), EVERYTHING)
    shown, labels = warp(image, mask, matrix, (12, 20), "reflect")
    assert shown.shape == (12, 20, channels)
    assert shown.dtype == dtype
    assert set(np.unique(labels)) <= {*np.unique(mask), UNLABELLED}
    # Where the four source pixels around a point agree, the image must show what the mask says.
    if abs(np.linalg.det(matrix[:, :2])) <= 1:
        whole_there = labels != UNLABELLED
        for label in range(3):
            certain = (
                warp_image((mask == label).astype(np.float32)[:, :, None], matrix, (12, 20), "reflect")[..., 0] > 0.999
            )
            np.testing.assert_array_equal(labels[certain & whole_there], label)
            np.testing.assert_allclose(shown[certain & whole_there].astype(float), label * 100, atol=1)


def test_switching_a_range_off_leaves_other_draws_alone() -> None:
    on = draw_view(np.random.default_rng(3), (99, 99), (32, 32), ViewRanges(zoom=(0.5, 2), flip_horizontal=True))
    off = draw_view(np.random.default_rng(3), (99, 99), (32, 32), ViewRanges(zoom=(0.5, 2)))
    np.testing.assert_allclose(np.abs(on[:, :2]), np.abs(off[:, :2]))


def test_tone_keeps_the_mean_and_is_bounded() -> None:
    for seed in range(20):
        tone = draw_tone(np.random.default_rng(seed), 0.0, 0.25, 100, 30)
        assert 0.75 <= tone.gain <= 1.25
        assert tone.gain * 100 + tone.offset == pytest.approx(100)
        bright = draw_tone(np.random.default_rng(seed), 0.5, 0.0, 100, 30)
        assert bright.gain == 1
        assert abs(bright.offset) <= 15


def test_ranges_come_from_the_settings() -> None:
    assert ViewRanges.of(Augmentation(rotation=5, quarter_turns=True)) == ViewRanges(rotation=5, quarter_turns=True)
