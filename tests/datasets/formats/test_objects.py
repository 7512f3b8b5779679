"""One PNG for each object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Window
from maskwright.errors import PairingError, SizeMismatchError


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def write(home: Path) -> Path:
    """Two images of 4 x 6 pixels, RGBA as published: the first with two nuclei, the second with one in the corner."""
    for name, nuclei in {"00ae65": [(0, 1), (2, 5)], "0b1f22": [(0, 0)]}.items():
        save(home / name / "images" / f"{name}.png", np.full((4, 6, 4), 255, np.uint8))
        for number, (y, x) in enumerate(nuclei):
            mask = np.zeros((4, 6), np.uint8)
            mask[y, x] = 255
            save(home / name / "masks" / f"{name}{number}.png", mask)
    return home


@pytest.mark.parametrize("inner", [".", "stage1_train"])
def test_objects_are_merged(tmp_path: Path, inner: str) -> None:
    write(tmp_path / inner)
    data = open_dataset(tmp_path)
    assert data.notes[0] == f"{tmp_path}: one mask for each object, 2 images with masks"
    assert data.classes.names == ["background", "foreground"]
    assert [sample.id for sample in data.samples] == ["00ae65", "0b1f22"]
    masks = [data.read(sample).mask for sample in data.samples]
    assert np.argwhere(masks[0] == 1).tolist() == [[0, 1], [2, 5]]
    assert np.argwhere(masks[1] == 1).tolist() == [[0, 0]]
    assert data.read(data.samples[0]).image.shape == (4, 6, 3)


def test_splits_and_stages_without_masks(tmp_path: Path) -> None:
    write(tmp_path / "train")
    write(tmp_path / "val")
    save(tmp_path / "stage1_test" / "77" / "images" / "77.png", np.zeros((4, 6), np.uint8))
    found = find_layout(tmp_path)
    assert [s.id for s in found.samples] == ["train/00ae65", "train/0b1f22", "val/00ae65", "val/0b1f22"]
    assert f"{tmp_path / 'stage1_test'}: 1 image without masks left out" in found.notes
    assert len(find_layout(tmp_path, masks=False).samples) == 5


def test_a_mask_knows_its_files_and_windows(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path))
    mask = data.samples[0].mask
    assert mask is not None
    assert [path.name for path in mask.files] == ["00ae650.png", "00ae651.png"]
    assert mask.header().shape == (4, 6)
    assert np.argwhere(mask.cut(Window(1, 3, 3, 3)).read_mask()).tolist() == [[1, 2]]
    before = data.content_hash()["hash"]
    save(mask.files[1], np.zeros((4, 6), np.uint8))
    assert data.content_hash()["hash"] != before


def test_objects_of_another_size(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path))
    save(tmp_path / "00ae65" / "masks" / "00ae65z.png", np.zeros((5, 6), np.uint8))
    with pytest.raises(SizeMismatchError, match=r"00ae65z\.png is 6 x 5 pixels, and the masks before it .* are 6 x 4"):
        data.read(data.samples[0])


def test_images_without_masks(tmp_path: Path) -> None:
    save(write(tmp_path) / "77" / "images" / "77.png", np.zeros((4, 6), np.uint8))
    with pytest.raises(PairingError, match="77 has 1 image and no masks"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert len(find_layout(tmp_path, problems=problems).samples) == 2
    assert [problem.files for problem in problems] == [(tmp_path / "77",)]


def test_splits_of_images_and_masks_are_no_objects(tmp_path: Path) -> None:
    save(tmp_path / "train/images/a.png", np.zeros((4, 6), np.uint8))
    save(tmp_path / "train/masks/a.png", np.zeros((4, 6), np.uint8))
    assert find_layout(tmp_path).format == "folder"
