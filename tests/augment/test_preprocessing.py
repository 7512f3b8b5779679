"""Preparation of whole images: known answers, any type and number of channels, and masks that move with images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from maskwright.augment.preprocessing import prepare, prepare_mask
from maskwright.config import Preparation
from maskwright.errors import SettingError

EVERYTHING = Preparation(resize=(20, 15), clip=(1, 99), flatten=9, clahe=2, bands=(0,))


def noise(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 250, shape)
    return (values * (200 if dtype == np.uint16 else 1)).astype(dtype)


def ramp(dtype: type = np.uint8) -> np.ndarray:
    """0..100, in both directions of one row each."""
    values = np.arange(101)
    return np.stack([values, values[::-1]])[..., None].astype(dtype)


def test_nothing_is_done_unless_asked() -> None:
    pixels = noise((4, 5, 3), np.uint8)
    assert (prepare(pixels, Preparation()) == pixels).all()
    mask = np.zeros((4, 5), np.uint8)
    assert prepare_mask(mask, EVERYTHING).shape == (20, 15)
    assert prepare_mask(mask, Preparation(clahe=2)) is mask


def test_bands_are_chosen_in_order() -> None:
    pixels = noise((4, 5, 6), np.uint16)
    found = prepare(pixels, Preparation(bands=(4, 0, 0)))
    assert (found == pixels[..., [4, 0, 0]]).all()
    assert found.flags.c_contiguous


@pytest.mark.parametrize(("channels", "text"), [(3, "3 channels"), (1, "1 channel,")])
def test_bands_that_are_not_there(channels: int, text: str) -> None:
    with pytest.raises(SettingError) as error:
        prepare(noise((4, 5, channels), np.uint8), Preparation(bands=(0, 5, 3)))
    for part in ("bands = 0, 5, 3", text, "no band 3, 5", f"from 0 to {channels - 1}"):
        assert part in str(error.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_clip_brings_outliers_to_the_percentiles(dtype: type) -> None:
    found = prepare(ramp(dtype), Preparation(clip=(10, 95)))
    assert found.dtype == dtype
    assert found[0, :, 0].tolist() == np.arange(101).clip(10, 95).tolist()


def test_clip_treats_each_channel_by_itself() -> None:
    pixels = np.concatenate([ramp(), ramp() + 100], axis=2)
    found = prepare(pixels, Preparation(clip=(10, 90)))
    assert found.min(axis=(0, 1)).tolist() == [10, 110]
    assert found.max(axis=(0, 1)).tolist() == [90, 190]


def light_and_texture(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """A fine checkerboard under light that doubles from one corner to the other; and where the board is bright."""
    y, x = np.mgrid[:160, :200]
    light = 0.5 + x / 400 + y / 600
    bright = (x // 2 + y // 2) % 2 == 1
    scale = 30000 if dtype == np.uint16 else 120
    return (scale * light * np.where(bright, 1.2, 0.8))[..., None].astype(dtype), bright


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flatten_removes_a_slow_change_of_light_and_keeps_texture(dtype: type) -> None:
    pixels, bright = light_and_texture(dtype)
    found = prepare(pixels, Preparation(flatten=5))
    assert found.dtype == dtype
    assert found.shape == pixels.shape

    def unevenness(image: np.ndarray) -> float:
        """Largest over smallest mean of the image's 20 x 20 tiles."""
        tiles = image[..., 0].astype(np.float64).reshape(8, 20, 10, 20).mean(axis=(1, 3))
        return float(tiles.max() / tiles.min())

    assert unevenness(pixels) > 2
    assert unevenness(found) < 1.05
    assert found.mean() == pytest.approx(pixels.mean(), rel=0.02)
    assert found[bright].mean() / found[~bright].mean() == pytest.approx(1.5, rel=0.04)


@pytest.mark.parametrize("sigma", [3.0, 17.0, 60.0, 400.0])
def test_flatten_divides_by_a_gaussian_blur(sigma: float) -> None:
    pixels, _ = light_and_texture(np.float32)
    blur = gaussian_filter(pixels[..., 0].astype(np.float64), sigma, mode="reflect", truncate=6)
    expected = pixels[..., 0] / blur * blur.mean()
    found = prepare(pixels, Preparation(flatten=sigma))[..., 0]
    assert np.abs(found / expected - 1).max() < 0.01


def test_flatten_leaves_an_even_image_and_black_alone() -> None:
    even = np.full((30, 40, 2), 77, np.uint8)
    assert (prepare(even, Preparation(flatten=20)) == even).all()
    black = np.zeros((30, 40, 1), np.float32)
    assert (prepare(black, Preparation(flatten=20)) == 0).all()
    half = even.copy()
    half[:, :20] = 0
    assert (prepare(half, Preparation(flatten=3))[:, :10] == 0).all()


def test_flatten_refuses_values_below_0() -> None:
    with pytest.raises(SettingError, match=r"flatten = 3: .*below 0 \(down to -2\).*Leave flatten out"):
        prepare(np.full((4, 5, 1), -2, np.float32), Preparation(flatten=3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_clahe_raises_local_contrast_and_keeps_the_range(dtype: type, channels: int) -> None:
    top = 65535.0 if dtype == np.uint16 else 255.0
    values = np.random.default_rng(0).normal(0.4, 0.02, (64, 80, 1)).clip(0, 1) * top
    values[0, 0], values[0, 1] = 0, top  # so that floats have the same range
    pixels: np.ndarray = np.repeat(values, channels, axis=2).astype(dtype)
    found = prepare(pixels, Preparation(clahe=4))
    assert found.dtype == dtype
    assert found.shape == pixels.shape
    assert found.astype(np.float64)[10:-10].std() > 2 * pixels.astype(np.float64)[10:-10].std()
    assert found.min() >= 0
    assert found.max() <= top
    if channels == 3:  # grey stays grey
        assert np.ptp(found.astype(np.float64), axis=2).max() <= 0.012 * top


def test_clahe_on_rgb_keeps_hue() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = np.random.default_rng(0).normal(120, 5, (64, 64)).astype(np.uint8)
    found = prepare(red, Preparation(clahe=4)).astype(int)
    assert (found[..., 0] > found[..., 1] + 20).all()
    assert np.abs(found[..., 1] - found[..., 2]).mean() < 40


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (9, 17)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiny_images_pass_through_everything(shape: tuple[int, int], dtype: type, channels: int) -> None:
    pixels = noise((*shape, channels), dtype)
    found = prepare(pixels, Preparation(resize=(6, 5), clip=(1, 99), flatten=9, clahe=2))
    assert found.shape == (6, 5, channels)
    assert found.dtype == dtype
    assert np.isfinite(found.astype(np.float64)).all()


def test_shrinking_takes_the_mean() -> None:
    pixels = np.array([[0, 2, 10, 10], [4, 6, 10, 50]], np.uint8)[..., None]
    assert prepare(pixels, Preparation(resize=(1, 2)))[..., 0].tolist() == [[3, 20]]


def test_enlarging_is_linear_between_pixel_centres() -> None:
    pixels = np.array([[0, 100]], np.float32)[..., None]
    assert prepare(pixels, Preparation(resize=(1, 4)))[..., 0].tolist() == [[0, 25, 75, 100]]


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    pixels = np.array([[0, 100], [100, 200], [200, 300], [300, 400]], np.float32)[..., None]
    found = prepare(pixels, Preparation(resize=(2, 4)))
    assert found[..., 0].tolist() == [[50, 75, 125, 150], [250, 275, 325, 350]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
def test_any_number_of_channels_is_resized(channels: int) -> None:
    pixels = np.arange(channels, dtype=np.uint16) * 1000 + np.zeros((8, 6, 1), np.uint16)
    assert (prepare(pixels, Preparation(resize=(5, 7))) == np.arange(channels) * 1000).all()


def test_masks_take_the_value_at_the_pixel_centre() -> None:
    mask = np.array([[1, 2], [3, 255]], np.uint8)
    assert prepare_mask(mask, Preparation(resize=(4, 4))).tolist() == np.kron(mask, np.ones((2, 2), int)).tolist()
    wide = np.arange(6, dtype=np.uint8)[None]
    assert prepare_mask(wide, Preparation(resize=(1, 2))).tolist() == [[1, 4]]
    assert prepare_mask(wide, Preparation(resize=(1, 6))).tolist() == wide.tolist()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_mask_and_image_stay_together(height: int, width: int, rows: int, columns: int) -> None:
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 :, width // 2 :] = 1
    to = Preparation(resize=(rows, columns))
    small = prepare_mask(mask, to)
    image = prepare(mask[..., None].astype(np.float32), to)[..., 0]
    assert small.shape == image.shape == (rows, columns)
    assert set(np.unique(small)) <= {0, 1}
    # Where the resized image is wholly inside or outside, the mask agrees.
    assert (small[image > 0.999] == 1).all()
    assert (small[image < 0.001] == 0).all()


def test_the_order_is_bands_flatten_clip_clahe_resize() -> None:
    pixels = noise((40, 50, 3), np.uint8)
    step = prepare(pixels, Preparation(bands=(2,)))
    for one in (Preparation(flatten=9), Preparation(clip=(1, 99)), Preparation(clahe=2), Preparation(resize=(20, 15))):
        step = prepare(step, one)
    assert (prepare(pixels, Preparation(resize=(20, 15), clip=(1, 99), flatten=9, clahe=2, bands=(2,))) == step).all()
