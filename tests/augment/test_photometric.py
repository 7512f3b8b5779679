from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.augment.photometric import (
    PhotometricChange,
    apply_photometric,
    asks_for_more,
    color_matrix,
    draw_brightness_contrast,
    draw_photometric,
    refuse_without_effect,
)
from maskwright.config import Augmentation
from maskwright.errors import SettingError

ALL = Augmentation(
    saturation=0.5, hue=30.0, gamma=(0.5, 2.0), channel_noise=0.3, noise=0.5, blur=2.0, low_resolution=0.3, jpeg=30,
    cut_out=0.5, degraded=1.0,
)  # fmt: skip
LUMA = np.array([0.299, 0.587, 0.114])


def noise_image(shape: tuple[int, ...] = (20, 30, 3), dtype: type[np.generic] = np.uint8, top: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top + 1, shape).astype(dtype)


def changed(image: np.ndarray, change: PhotometricChange, mean: float | np.ndarray = 100.0) -> np.ndarray:
    before = image.copy()
    out = np.full(image.shape, np.nan, np.float32)
    apply_photometric(image, change, mean, out)
    np.testing.assert_array_equal(image, before)
    assert np.isfinite(out).all()
    return out


def draw(
    seed: int, augmentation: Augmentation, channels: int = 3, size: tuple[int, int] = (20, 30)
) -> PhotometricChange:
    return draw_photometric(
        np.random.default_rng(seed), augmentation, size, channels, 40.0, PhotometricChange(), (seed,)
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_nothing_drawn_changes_nothing(dtype: type[np.generic], channels: int) -> None:
    image = noise_image((6, 5, channels), dtype)
    np.testing.assert_array_equal(changed(image, PhotometricChange()), image)
    assert draw(0, Augmentation(brightness=0.5), channels) == PhotometricChange(seed=(0,))


def test_tone_keeps_the_mean_and_is_bounded() -> None:
    for seed in range(20):
        change = draw_brightness_contrast(np.random.default_rng(seed), 0.0, 0.25, 100, 30)
        assert 0.75 <= change.gain <= 1.25
        assert change.gain * 100 + change.offset == pytest.approx(100)
        bright = draw_brightness_contrast(np.random.default_rng(seed), 0.5, 0.0, 100, 30)
        assert bright.gain == 1
        assert abs(float(np.max(bright.offset))) <= 15


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_linear_change_is_exact_and_integers_keep_their_range(dtype: type[np.generic], channels: int) -> None:
    top = 255 if dtype == np.uint8 else 65535
    image = noise_image((6, 5, channels), dtype, top)
    offset = np.arange(channels) * 0.1 * top - 0.2 * top
    expected = image * np.float64(1.5) + offset
    if dtype != np.float32:
        assert (expected < 0).any()
        assert (expected > top).any()
        expected = expected.clip(0, top)
    np.testing.assert_allclose(changed(image, PhotometricChange(1.5, offset)), expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        changed(image, PhotometricChange(1.5, -3.0, shift=offset + 3)), expected, rtol=1e-5, atol=top * 1e-6
    )  # fmt: skip


def test_gamma_keeps_the_range_of_a_view_and_bends_between() -> None:
    for dtype, low, high in ((np.uint8, 10, 210), (np.uint16, 1000, 3000), (np.float32, -2, 6)):
        image = np.array([low, (low + high) / 2, high], dtype)[None, :, None]
        shown = changed(image, PhotometricChange(gamma=2.0))[0, :, 0]
        np.testing.assert_allclose(shown, [low, low + (high - low) / 4, high], rtol=1e-5)
    np.testing.assert_array_equal(changed(np.full((2, 2, 1), 7, np.float32), PhotometricChange(gamma=0.5)), 7)


def test_saturation_and_hue_keep_lightness_and_greys() -> None:
    matrix = color_matrix(1.7, 0.6)
    np.testing.assert_allclose(LUMA @ matrix, LUMA, atol=1e-12)
    np.testing.assert_allclose(matrix @ np.ones(3), np.ones(3), atol=1e-5)
    np.testing.assert_allclose(color_matrix(0.0, 1.0), np.tile(LUMA, (3, 1)), atol=1e-5)
    np.testing.assert_allclose(color_matrix(1.0, 0.0), np.eye(3), atol=1e-12)
    third = color_matrix(1.0, 2 * np.pi / 3)
    np.testing.assert_allclose(third @ third @ third, np.eye(3), atol=1e-9)
    image = noise_image(dtype=np.float32)
    shown = changed(image, PhotometricChange(saturation=0.4, hue=0.9))
    np.testing.assert_allclose(shown @ LUMA, image @ LUMA, atol=1e-3)
    assert np.abs(shown - image).max() > 50


def test_contrast_acts_after_the_colours_turn() -> None:
    image = noise_image(dtype=np.float32)
    expected = (image @ color_matrix(1.3, 0.2).T) * 0.8 + 7
    np.testing.assert_allclose(
        changed(image, PhotometricChange(0.8, 7.0, saturation=1.3, hue=0.2)), expected, atol=1e-3
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_noise_has_its_deviation_and_its_seed(dtype: type[np.generic]) -> None:
    image = np.full((200, 200, 3), 120, dtype)
    added = changed(image, PhotometricChange(noise=np.array([2.0, 4.0, 8.0]), seed=(5, 1))) - 120
    np.testing.assert_allclose(added.std((0, 1)), [2, 4, 8], rtol=0.02)
    np.testing.assert_allclose(added.mean((0, 1)), 0, atol=0.15)
    shares = [(np.abs(added[..., 1]) > 4 * z).mean() for z in (1, 2, 3)]
    np.testing.assert_allclose(shares, [0.3173, 0.0455, 0.0027], atol=0.006)
    np.testing.assert_array_equal(
        added, changed(image, PhotometricChange(noise=np.array([2.0, 4, 8]), seed=(5, 1))) - 120
    )
    assert (added != changed(image, PhotometricChange(noise=np.array([2.0, 4, 8]), seed=(5, 2))) - 120).mean() > 0.9
    neighbours = np.corrcoef(added[:, :-1, 0].ravel(), added[:, 1:, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.02


def test_blur_spreads_a_point_as_a_gaussian() -> None:
    image = np.zeros((31, 31, 5), np.float32)
    image[15, 15] = 1000
    shown = changed(image, PhotometricChange(blur=2.0))[:, :, 4]
    x = np.arange(31) - 15
    assert shown.sum() == pytest.approx(1000, rel=1e-3)
    assert (shown.sum(0) * x**2).sum() / 1000 == pytest.approx(4, rel=0.03)


def test_low_resolution_loses_detail_and_keeps_the_level() -> None:
    image = noise_image((64, 64, 3))
    shown = changed(image, PhotometricChange(resolution=0.25))
    assert shown.mean() == pytest.approx(image.mean(), abs=1)
    assert shown.std() < 0.4 * image.std()
    smooth = np.broadcast_to(np.arange(64, dtype=np.float32)[:, None, None], (64, 64, 2))
    np.testing.assert_allclose(changed(smooth, PhotometricChange(resolution=0.5))[2:-2], smooth[2:-2], atol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_of_low_quality_is_worse(channels: int) -> None:
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[:, None, None], (64, 64, channels))
    image = np.clip(ramp + np.random.default_rng(0).normal(0, 9, (64, 64, 1)), 0, 255).astype(np.uint8)
    errors = [np.abs(changed(image, PhotometricChange(jpeg=quality)) - image).mean() for quality in (10, 95)]
    assert errors[1] < 3 < errors[0] < 15


def test_the_hidden_square_shows_the_mean_and_nothing_else_changes() -> None:
    image = noise_image((10, 12, 3))
    shown = changed(image, PhotometricChange(hole=(slice(2, 5), slice(8, 12))), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(shown[2:5, 8:12], np.broadcast_to([1, 2, 3], (3, 4, 3)))
    shown[2:5, 8:12] = image[2:5, 8:12]
    np.testing.assert_array_equal(shown, image)


def test_squares_are_placed_evenly_and_cut_off_at_the_edge() -> None:
    hidden = np.zeros((20, 30))
    for seed in range(600):
        hole = draw(seed, Augmentation(cut_out=0.5, degraded=1.0)).hole
        assert hole is not None
        one = np.zeros((20, 30))
        one[hole] = 1
        assert one.sum() <= 100
        hidden += one
    assert hidden[0, 0] > 0
    assert hidden[-1, -1] > 0
    assert hidden[5:15, 5:25].std() < 0.25 * hidden[5:15, 5:25].mean()


def test_draws_keep_to_their_ranges_and_their_share() -> None:
    changes = [draw(seed, ALL) for seed in range(300)]
    for name, low, high in (
        ("saturation", 0.5, 1.5), ("hue", -np.pi / 6, np.pi / 6), ("gamma", 0.5, 2.0), ("noise", 0.0, 20.0),
        ("blur", 0.0, 2.0), ("resolution", 0.3, 1.0), ("jpeg", 30, 95),
    ):  # fmt: skip
        values = np.array([getattr(change, name) for change in changes], float)
        width = high - low
        assert low <= values.min() < low + 0.1 * width, name
        assert high - 0.1 * width < values.max() <= high, name
    assert np.median([change.gamma for change in changes]) == pytest.approx(1, abs=0.1)


def test_degradations_act_on_their_share_each_by_itself() -> None:
    kept = Augmentation(noise=0.5, blur=2.0, jpeg=30)
    changes = [draw(seed, kept) for seed in range(800)]
    acts = np.array([[bool(change.noise), bool(change.blur), bool(change.jpeg)] for change in changes])
    np.testing.assert_allclose(acts.mean(0), 0.25, atol=0.05)
    assert acts.all(1).mean() == pytest.approx(0.25**3, abs=0.02)
    half = Augmentation(noise=0.5, degraded=0.5)
    assert np.mean([bool(draw(seed, half).noise) for seed in range(800)]) == pytest.approx(0.5, abs=0.06)


def test_switching_one_off_leaves_the_others_as_they_were() -> None:
    with_noise = draw(7, Augmentation(noise=0.5, blur=2.0, gamma=(0.5, 2.0), degraded=1.0))
    without = draw(7, Augmentation(blur=2.0, gamma=(0.5, 2.0), degraded=1.0))
    assert with_noise._replace(noise=0.0) == without
    assert with_noise.noise != 0


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(1, 6),
    st.sampled_from([np.uint8, np.uint16, np.float32]),
)  # fmt: skip
def test_any_image_survives_everything(
    seed: int, height: int, width: int, channels: int, dtype: type[np.generic]
) -> None:
    top = {np.uint8: 255, np.uint16: 65535}.get(dtype, 10)
    rgb, coded = channels == 3, dtype == np.uint8 and channels in (1, 3)
    asked = Augmentation(
        saturation=0.5 if rgb else None, hue=40.0 if rgb else None, gamma=(0.5, 2.0), channel_noise=0.3, noise=0.5,
        blur=2.0, low_resolution=0.3, jpeg=30 if coded else None, cut_out=0.5, degraded=0.7,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    image = (rng.random((height, width, channels)) * top).astype(dtype)
    change = draw_brightness_contrast(rng, 0.5, 0.3, top / 2, top / 4)
    change = draw_photometric(rng, asked, (height, width), channels, top / 4, change, (seed,))
    shown = changed(image, change, top / 2)
    if dtype != np.float32:
        assert shown.min() >= 0
        assert shown.max() <= top


@pytest.mark.parametrize(
    ("asked", "channels", "dtype", "message"),
    [
        (
            Augmentation(hue=10.0),
            4,
            np.uint8,
            r"hue = 10 is for RGB, and the images have 4 channels of uint8. .*--bands",
        ),
        (Augmentation(saturation=0.2), 1, np.uint8, r"saturation = 0.2 is for RGB, and the images have 1 channel of"),
        (Augmentation(jpeg=40), 3, np.uint16, r"jpeg = 40 is for 1 or 3 channels of uint8, and .* uint16"),
        (Augmentation(jpeg=40), 2, np.uint8, r"jpeg = 40 is for 1 or 3 channels"),
        (Augmentation(elastic_grid=5), 3, np.uint8, r"elastic_grid = 5 has no effect without elastic"),
        (Augmentation(degraded=0.5, blur=0.0), 3, np.uint8, r"degraded = 0.5 is the fraction .* none of them is given"),
    ],
)
def test_what_images_cannot_have_is_refused(
    asked: Augmentation, channels: int, dtype: type[np.generic], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        refuse_without_effect(asked, channels, np.dtype(dtype))


def test_plain_settings_need_no_second_generator() -> None:
    assert not asks_for_more(Augmentation(brightness=0.4, contrast=0.2, gamma=(1.0, 1.0), blur=0.0))
    for asked in (Augmentation(gamma=(0.9, 1.1)), Augmentation(jpeg=50), Augmentation(hue=3.0)):
        assert asks_for_more(asked)
        refuse_without_effect(asked, 3, np.dtype(np.uint8))
