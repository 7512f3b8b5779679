"""Hyperspectral images: OpenCV 5 takes 128 channels at most, Maskwright any number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskwright.augment.antialias import antialiased
from maskwright.augment.mixing import paste
from maskwright.augment.photometric import PhotometricChange, apply_photometric
from maskwright.cli import app

CHANNELS = 200


@pytest.fixture(scope="module")
def bands(write_tiff: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index in range(4):
        image = rng.integers(0, 90, (48, 64, CHANNELS), dtype=np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        mask[8 * index : 8 * index + 20, 10:40] = 1
        image[mask == 1, 150:] += 100
        write_tiff(folder / "images" / f"{index}.tif", image)
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), mask)
    return folder


def test_check_preview_train_and_predict_take_200_bands(bands: Path, tmp_path: Path) -> None:
    augmented = [
        "--noise",
        "5",
        "--blur",
        "1.5",
        "--low-resolution",
        "0.5",
        "--degraded",
        "1",
        "--class-mix",
        "0.5",
        "--channel-noise",
        "0.1",
        "--clahe",
        "2",
    ]
    for words in (
        ["check", bands, "--out", tmp_path / "check"],
        ["preview", bands, "--out", tmp_path / "sheet.png"],
        ["train", bands, "--out", tmp_path / "run", "--steps", "2", "--model-options.widths", "8",
         "--model-options.widths", "16", *augmented],
        ["predict", tmp_path / "run", bands / "images", "--out", tmp_path / "predicted"],
    ):  # fmt: skip
        app([str(word) for word in words], exit_on_error=False, result_action="return_value")
    assert len(list((tmp_path / "predicted" / "masks").glob("*.png"))) == 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_each_channel_changes_as_it_does_alone(dtype: type) -> None:
    rng = np.random.default_rng(1)
    image: np.ndarray = (rng.random((20, 24, CHANNELS)) * 200).astype(dtype)
    shift = rng.normal(0, 3, CHANNELS)

    def changed(part: slice) -> np.ndarray:
        out = np.empty((20, 24, part.stop - part.start), np.float32)
        change = PhotometricChange(gain=1.1, offset=4.0, shift=shift[part], blur=1.3)
        apply_photometric(image[..., part], change, 0.0, out)
        return out

    both = np.concatenate([changed(slice(0, 100)), changed(slice(100, 200))], 2)
    np.testing.assert_array_equal(changed(slice(0, 200)), both)


@pytest.mark.parametrize("turn", [0.0, 0.5], ids=["upright", "slanted"])
def test_antialiasing_treats_channels_alike(turn: float) -> None:
    image = np.random.default_rng(2).random((40, 40, CHANNELS), np.float32)
    to_source = np.array([[1.6, turn, 0], [0, 1.2, 0]])
    whole, _ = antialiased(image, to_source, (20, 20))
    part, _ = antialiased(np.ascontiguousarray(image[..., 150:153]), to_source, (20, 20))
    np.testing.assert_allclose(whole[..., 150:153], part, atol=1e-6)


def test_regions_are_pasted_in_every_channel() -> None:
    rng = np.random.default_rng(3)
    below, above = rng.integers(0, 255, (2, 8, 8, CHANNELS), dtype=np.uint8)
    where = rng.random((8, 8)) < 0.5
    image, mask = paste((below, np.zeros((8, 8), np.uint8)), (above, np.ones((8, 8), np.uint8)), where)
    np.testing.assert_array_equal(image, np.where(where[..., None], above, below))
    np.testing.assert_array_equal(mask, where)
