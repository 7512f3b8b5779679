"""Reading pairs, and what identifies a data set."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.samples import Dataset, Sample, Source, check_files, is_reduced, proportional
from maskwright.errors import DataError, SizeMismatchError, UndeclaredValueError, UnreadableFileError

CLASSES = ClassTable(
    classes=(
        LabelClass(name="ground", color=(0, 0, 0), values=(0,)),
        LabelClass(name="cell", color=(255, 0, 0), values=(7,)),
    )
)


def save(path: Path, pixels: np.ndarray) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)
    return Source(path=path)


def sample(
    root: Path, name: str = "a", *, image: np.ndarray | None = None, mask: np.ndarray | None = None, **more: Source
) -> Sample:
    image = np.full((2, 3), 9, np.uint8) if image is None else image
    mask = np.array([[0, 7, 7], [0, 0, 255]], np.uint8) if mask is None else mask
    return Sample(
        id=name,
        image=save(root / "images" / f"{name}.png", image),
        mask=save(root / "masks" / f"{name}.png", mask),
        valid=more.get("valid"),
    )


def dataset(root: Path, *samples: Sample) -> Dataset:
    return Dataset(root=root, samples=samples, classes=CLASSES)


def test_a_pair_is_read(tmp_path: Path) -> None:
    one = sample(tmp_path)
    pair = dataset(tmp_path, one).read(one)
    assert pair.image.shape == (2, 3, 1)
    assert pair.image.dtype == np.uint8
    assert pair.mask.tolist() == [[0, 1, 1], [0, 0, 255]]
    assert pair.mask.dtype == np.uint8
    assert pair.valid is None


def test_invalid_pixels_are_unlabelled(tmp_path: Path) -> None:
    valid = save(tmp_path / "valid" / "a.png", np.array([[1, 0, 255], [1, 1, 1]], np.uint8))
    rgba = np.full((2, 3, 4), 255, np.uint8)
    rgba[1, 0, 3] = 0
    one = sample(tmp_path, image=rgba, valid=valid)
    pair = dataset(tmp_path, one).read(one)
    assert pair.mask.tolist() == [[0, 255, 1], [255, 0, 255]]
    assert pair.valid is not None
    assert pair.valid.tolist() == [[True, False, True], [False, True, True]]
    assert pair.image.shape == (2, 3, 3)


def test_a_valid_mask_in_colour_and_one_that_is_true_everywhere(tmp_path: Path) -> None:
    color = np.zeros((2, 3, 3), np.uint8)
    color[0, 0] = (0, 3, 0)
    one = sample(tmp_path, valid=save(tmp_path / "valid" / "a.png", color))
    valid = dataset(tmp_path, one).read(one).valid
    assert valid is not None
    assert valid.tolist() == [[True, False, False], [False, False, False]]
    one = sample(tmp_path, valid=save(tmp_path / "valid" / "a.png", np.ones((2, 3), np.uint8)))
    assert dataset(tmp_path, one).read(one).valid is None


def test_without_a_mask_all_is_unlabelled(tmp_path: Path) -> None:
    one = Sample(id="a", image=save(tmp_path / "a.png", np.zeros((2, 3), np.uint8)))
    assert (dataset(tmp_path, one).read(one).mask == 255).all()


def test_an_undeclared_value_names_the_file(tmp_path: Path) -> None:
    one = sample(tmp_path, mask=np.full((2, 3), 8, np.uint8))
    with pytest.raises(UndeclaredValueError, match=r"masks.a\.png holds values .* 8 \(6 pixels\)"):
        dataset(tmp_path, one).read(one)


def test_check_values_looks_at_all_masks(tmp_path: Path) -> None:
    good, bad = sample(tmp_path, "a"), sample(tmp_path, "b", mask=np.array([[9, 9, 5], [0, 7, 255]], np.uint8))
    dataset(tmp_path, good).check_values()
    with pytest.raises(UndeclaredValueError) as error:
        dataset(tmp_path, good, bad).check_values()
    for part in (str(tmp_path), "9 (2 pixels, first in b.png), 5 (1 pixels", "0 = ground, 7 = cell", "classes.toml"):
        assert part in str(error.value)


@pytest.mark.parametrize("what", ["mask", "valid mask"])
def test_a_size_mismatch_names_both_files_and_sizes(tmp_path: Path, what: str) -> None:
    if what == "mask":
        one = sample(tmp_path, mask=np.zeros((3, 4), np.uint8))
    else:
        one = sample(tmp_path, valid=save(tmp_path / "valid" / "a.png", np.zeros((3, 4), np.uint8)))
    for check in (lambda: check_files([one]), lambda: dataset(tmp_path, one).read(one)):
        with pytest.raises(SizeMismatchError) as error:
            check()
        for part in ("images", "a.png is 3 x 2 pixels", f"its {what} ", "is 4 x 3", f"Export the {what} again"):
            assert part in str(error.value)
        assert "EXIF" not in str(error.value)


def test_a_mask_drawn_on_the_image_as_the_camera_stored_it(tmp_path: Path) -> None:
    one = sample(tmp_path)
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.fromarray(np.zeros((2, 3), np.uint8)).save(one.image.path, exif=exif)
    with pytest.raises(SizeMismatchError, match=r"is 2 x 3 pixels .* is 3 x 2.*EXIF orientation turns it upright"):
        check_files([one])


def test_many_mismatches_are_counted(tmp_path: Path) -> None:
    wrong = [sample(tmp_path, f"{i}", mask=np.zeros((5, 5), np.uint8)) for i in range(8)]
    with pytest.raises(SizeMismatchError) as error:
        check_files(wrong)
    assert str(error.value).count("Expected the same size") == 5
    assert str(error.value).endswith("3 more differ in size.")


def test_unreadable_files_are_listed_and_counted(tmp_path: Path) -> None:
    samples = [sample(tmp_path, f"{i}") for i in range(9)]
    for one in samples[2:]:
        one.image.path.write_bytes(b"nothing")
    with pytest.raises(UnreadableFileError) as error:
        check_files(samples)
    text = str(error.value)
    assert text.count("cannot be read:") == 5
    assert "2.png" in text
    assert "1.png" not in text
    assert text.endswith("2 more files cannot be read.")


def test_alpha_channels_are_announced(tmp_path: Path) -> None:
    plain = sample(tmp_path, "a")
    assert check_files([plain]) == ((), None)
    clear = sample(tmp_path, "b", image=np.zeros((2, 3, 4), np.uint8))
    (*_, note), _ = check_files([plain, clear])
    assert note.startswith("1 of 2 images have an alpha channel (first b.png)")


def test_splits(tmp_path: Path) -> None:
    samples = tuple(
        Sample(id=f"{split}/a", image=Source(path=tmp_path / split / "a.png"), split=split)
        for split in ("train", "test")
    )
    data = Dataset(root=tmp_path, samples=samples, classes=CLASSES, notes=("n",))
    assert data.splits == {"train", "test"}
    assert data.split("test").samples == samples[1:]
    assert data.split("test").notes == ("n",)
    assert data.with_samples(samples[:1]).splits == {"train"}
    with pytest.raises(DataError, match=r"no split 'val'. Found: test, train"):
        data.split("val")


def test_the_fingerprint_travels_with_the_data(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "elsewhere" / "there"
    samples = tuple(sample(here, name) for name in "abc")
    before = dataset(here, *samples).content_hash()
    assert json.loads(json.dumps(before)) == before
    assert before["samples"] == 3
    assert before["bytes"] == sum(path.stat().st_size for path in here.rglob("*.png"))
    shutil.copytree(here, there)
    for path in there.rglob("*.png"):
        os.utime(path, (0, 0))

    def moved(one: Sample) -> Sample:
        assert one.mask is not None
        return Sample(
            id=one.id,
            image=Source(path=there / "images" / one.image.path.name),
            mask=Source(path=there / "masks" / one.mask.path.name),
        )

    assert dataset(there, *map(moved, reversed(samples))).content_hash() == before


def test_the_fingerprint_changes_with_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    big = rng.integers(0, 255, (100, 100), dtype=np.uint8)
    samples = [sample(tmp_path, "a"), sample(tmp_path, "b", image=big, mask=np.zeros((100, 100), np.uint8))]
    seen = [dataset(tmp_path, *samples).content_hash()["hash"]]

    def differs() -> None:
        now = dataset(tmp_path, *samples).content_hash()["hash"]
        assert now not in seen
        seen.append(now)

    one, other = samples
    assert one.mask is not None
    sample(tmp_path, "a", mask=np.array([[7, 7, 7], [0, 0, 255]], np.uint8))
    differs()
    content = bytearray(other.image.path.read_bytes())
    assert len(content) > 9000
    content[-5000 + 4000] ^= 1  # the size stays
    other.image.path.write_bytes(content)
    differs()
    samples[0] = Sample(id="renamed", image=one.image, mask=one.mask)
    differs()
    samples[0] = Sample(id="renamed", image=one.image)
    differs()
    samples.pop()
    differs()
    changed = ClassTable(classes=(CLASSES.classes[0], LabelClass(name="cell", color=(255, 0, 0), values=(8,))))
    assert Dataset(root=tmp_path, samples=tuple(samples), classes=changed).content_hash()["hash"] not in seen


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    one = sample(tmp_path)
    one.image.path.unlink()
    with pytest.raises(UnreadableFileError, match=r"a\.png cannot be read"):
        dataset(tmp_path, one).content_hash()


def test_16_bits_and_masks_with_16_bits_pass_whole(tmp_path: Path) -> None:
    one = sample(tmp_path)
    assert one.mask is not None
    pixels = np.array([[1, 300, 65535], [0, 256, 9]], np.uint16)
    assert cv2.imwrite(str(one.image.path), pixels)
    assert cv2.imwrite(str(one.mask.path), np.array([[1000, 0, 0], [0, 0, 255]], np.uint16))
    classes = ClassTable(classes=(CLASSES.classes[0], LabelClass(name="cell", color=(1, 1, 1), values=(1000,))))
    pair = Dataset(root=tmp_path, samples=(one,), classes=classes).read(one)
    assert pair.image[..., 0].tolist() == pixels.tolist()
    assert pair.mask.tolist() == [[1, 0, 0], [0, 0, 255]]


def test_a_header_without_rows_is_in_no_proportion() -> None:
    assert not proportional((0, 5), (3, 3))
    assert not is_reduced((0, 5), (3, 3))
    assert proportional((8, 10), (4, 5))
