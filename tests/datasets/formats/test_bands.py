"""Scenes of one file for each band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Window
from maskwright.errors import PairingError, SizeMismatchError


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels)


def band(value: int, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    return (np.arange(size[0] * size[1], dtype=np.uint16).reshape(size) + 1000 * value).astype(np.uint16)


MASK = np.array([[0, 1, 0, 1, 0, 1]] * 4, np.uint8)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/S{s}_B{b}.tif", "masks/S{s}.tif"),
        ("images/S{s}_B{b}.TIF", "masks/S{s}_mask.tif"),
        ("images/S{s}/B{b}.tif", "masks/S{s}.tif"),
        ("images/S{s}/T31UFQ_2019_B{b}_10m.tif", "masks/S{s}.tif"),
        ("S{s}/B{b}.tif", "S{s}/mask.tif"),
        ("S{s}_B{b}.tif", "S{s}_mask.tif"),
        ("train/S{s}/x_B{b}.tif", "train/S{s}/x_labels.tif"),
    ],
)
def test_bands_are_channels_in_natural_order(tmp_path: Path, image: str, mask: str) -> None:
    for scene in (1, 2):
        for place, name in enumerate(("11", "8A", "02", "8")):
            save(tmp_path / image.format(s=scene, b=name), band(place))
        save(tmp_path / mask.format(s=scene), MASK)
    data = open_dataset(tmp_path)
    split = "train/" if image.startswith("train") else ""
    assert [sample.id for sample in data.samples] == [f"{split}S1", f"{split}S2"]
    assert "one file for each of 4 bands (B02, B8, B8A, B11), 2 images with masks" in data.notes[0]
    pair = data.read(data.samples[1])
    assert pair.image.dtype == np.uint16
    assert pair.image[0, 1].tolist() == [2001, 3001, 1001, 1]
    assert pair.mask.tolist() == MASK.tolist()
    assert len(data.samples[0].image.files) == 4


def test_coarse_bands_are_repeated(tmp_path: Path) -> None:
    save(tmp_path / "images" / "S_B2.tif", band(0))
    save(tmp_path / "images" / "S_B11.tif", band(1, (2, 3)))
    save(tmp_path / "masks" / "S.tif", MASK)
    data = open_dataset(tmp_path)
    image = data.read(data.samples[0]).image
    assert image[..., 1].tolist() == band(1, (2, 3)).repeat(2, 0).repeat(2, 1).tolist()
    for window in (Window(1, 1, 3, 4), Window(0, 3, 1, 1), Window(3, 5, 1, 1)):
        part = data.samples[0].image.cut(window)
        assert part.read_image().pixels.tolist() == image[window.slices].tolist()
        assert part.header().shape == (window.height, window.width)
    save(tmp_path / "images" / "S_B11.tif", band(1, (3, 4)))
    with pytest.raises(SizeMismatchError, match=r"S_B11\.tif is 4 x 3 pixels, and the largest band is 6 x 4"):
        open_dataset(tmp_path)


def test_a_pixel_without_data_in_any_band_is_invalid(tmp_path: Path) -> None:
    first, second = np.ones((4, 6), np.float32), np.ones((4, 6), np.float32)
    first[0, 1], second[3, 2] = np.nan, np.nan
    save(tmp_path / "images" / "S_red.tif", first)
    save(tmp_path / "images" / "S_nir.tif", second)
    save(tmp_path / "masks" / "S.tif", MASK)
    data = open_dataset(tmp_path)
    valid = data.read(data.samples[0]).valid
    assert valid is not None
    assert np.argwhere(~valid).tolist() == [[0, 1], [3, 2]]


def test_scenes_differ_in_their_bands_or_have_no_mask(tmp_path: Path) -> None:
    for scene, names in (("S1", "23"), ("S2", "24"), ("S3", "23")):
        for name in names:
            save(tmp_path / "images" / f"{scene}_B{name}.tif", band(1))
    for scene in ("S1", "S2"):
        save(tmp_path / "masks" / f"{scene}.tif", MASK)
    with pytest.raises(PairingError, match=r"The scene S2 .* has the bands B2, B4; S1 has B2, B3"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert [sample.id for sample in find_layout(tmp_path, problems=problems).samples] == ["S1"]
    assert {problem.kind for problem in problems} == {"unlike-bands", "unpaired"}


def test_names_that_only_look_like_bands(tmp_path: Path) -> None:
    for name in ("car_red", "car_blue"):
        save(tmp_path / "images" / f"{name}.tif", band(1))
        save(tmp_path / "masks" / f"{name}.tif", MASK)
    assert [sample.id for sample in find_layout(tmp_path).samples] == ["car_blue", "car_red"]
