"""Stacks of TIFF pages beside their labels, and in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.problems import Problem
from maskwright.errors import PairingError, UnreadableFileError


def stack(path: Path, pages: int = 4, size: tuple[int, int] = (40, 50), *, labels: bool = False) -> np.ndarray:
    """A stack of noise, or of labels whose page p has p pixels of 255 in its first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(pages).integers(0, 255, (pages, *size), dtype=np.uint8)
    if labels:
        pixels[:] = 0
        for page in range(pages):
            pixels[page, 0, :page] = 255
    tifffile.imwrite(path, pixels, photometric="minisblack", compression="zlib")
    return pixels


def test_isbi_as_published(tmp_path: Path) -> None:
    pixels = stack(tmp_path / "train-volume.tif", 30, (512, 512))
    stack(tmp_path / "train-labels.tif", 30, (512, 512), labels=True)
    stack(tmp_path / "test-volume.tif", 30, (512, 512))
    data = open_dataset(tmp_path)
    assert data.notes[0] == f"{tmp_path}: TIFF stacks train-volume.tif, 1 image with masks"
    assert "1 file without labels left out: test-volume.tif" in data.notes
    assert "1 stack (train-volume.tif): each page is a sample" in data.notes
    assert "30 samples together" in data.notes
    assert data.classes.names == ["membrane", "cell"]
    assert [sample.id for sample in data.samples][:2] == ["train-volume-000", "train-volume-001"]
    assert {(sample.group, sample.split) for sample in data.samples} == {("train-volume", None)}
    pair = data.read(data.samples[17])
    assert (pair.image[..., 0] == pixels[17]).all()
    assert pair.mask.sum() == 17


@pytest.mark.parametrize(
    ("volume", "labels"), [("training.tif", "training_groundtruth.tif"), ("a-volume.tif", "a-labels.tif")]
)
def test_other_names(tmp_path: Path, volume: str, labels: str) -> None:
    stack(tmp_path / volume)
    stack(tmp_path / labels, labels=True)
    for path in (tmp_path, tmp_path / volume):
        data = open_dataset(path)
        assert data.classes.names == ["background", "foreground"]
        assert [data.read(sample).mask.sum() for sample in data.samples] == [0, 1, 2, 3]


def test_two_stacks_are_two_groups(tmp_path: Path) -> None:
    for name in ("training", "testing"):
        stack(tmp_path / f"{name}.tif")
        stack(tmp_path / f"{name}_groundtruth.tif", labels=True)
    found = find_layout(tmp_path)
    assert {(sample.group, sample.split) for sample in found.samples} == {("testing", "test"), ("training", "train")}


def test_stacks_in_folders(tmp_path: Path) -> None:
    stack(tmp_path / "images" / "a.tif")
    stack(tmp_path / "masks" / "a.tif", labels=True)
    stack(tmp_path / "valid" / "a.tif", labels=True)
    found = find_layout(tmp_path)
    assert [sample.id for sample in found.samples] == ["a-000", "a-001", "a-002", "a-003"]
    assert [(s.image.page, s.mask.page, s.valid.page) for s in found.samples if s.mask and s.valid][3] == (3, 3, 3)
    assert len(find_layout(tmp_path / "images", masks=False).samples) == 4


def test_other_numbers_of_pages(tmp_path: Path) -> None:
    stack(tmp_path / "images" / "a.tif")
    stack(tmp_path / "masks" / "a.tif", 3, labels=True)
    stack(tmp_path / "images" / "b.tif")
    stack(tmp_path / "masks" / "b.tif", labels=True)
    with pytest.raises(PairingError, match=r"images.a\.tif has 4 pages and its mask .*masks.a\.tif has 3"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert [s.group for s in find_layout(tmp_path, problems=problems).samples] == ["b"] * 4
    assert [problem.sample for problem in problems] == ["a"]


def test_pages_with_one_mask_are_taken_for_bands_and_explained(tmp_path: Path) -> None:
    stack(tmp_path / "images" / "a.tif")
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "a.tif", np.zeros((40, 50), np.uint8))
    with pytest.raises(UnreadableFileError, match=r"a\.tif cannot be read: it has 4 pages .*Expected one picture"):
        open_dataset(tmp_path)
