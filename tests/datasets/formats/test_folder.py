"""Folders of images and masks: layouts, pairing, and what is said where they do not pair."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout
from maskwright.errors import ClassTableError, DataError, EmptyDataError, PairingError, UnreadableFileError


def touch(root: Path, *names: str) -> Path:
    """Files that are only looked at by name; folders where a name ends in a slash."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"x")
    return root


def problem(root: Path, kind: type[Exception], *, masks: bool = True) -> str:
    with pytest.raises(kind) as error:
        find_layout(root, masks=masks)
    assert str(root) in str(error.value)
    return str(error.value)


def test_images_and_masks_pair_by_stem_whatever_the_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "images/f10.JPG", "images/f9.tiff", "masks/f9.png", "masks/f10.PNG")
    found = find_layout(tmp_path, masks=True)
    assert [sample.id for sample in found.samples] == ["f9", "f10"]
    first = found.samples[0]
    assert first.mask is not None
    assert (first.image.path.name, first.mask.path.name) == ("f9.tiff", "f9.png")
    assert first.split is None
    assert first.valid is None
    assert found.masks_folder == tmp_path / "masks"
    assert found.table is None
    assert found.notes == (f"{tmp_path}: 2 images with masks",)


def test_labels_and_capital_letters(tmp_path: Path) -> None:
    touch(tmp_path, "Images/a.png", "Labels/a.png")
    assert find_layout(tmp_path, masks=True).masks_folder == tmp_path / "Labels"


@pytest.mark.parametrize("name", ["labels", "masks"])
def test_images_directly_beside_the_folder_of_masks(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.png", "b.jpg", f"{name}/a.png", f"{name}/b.png", "classes.toml")
    found = find_layout(tmp_path, masks=True)
    assert [sample.id for sample in found.samples] == ["a", "b"]
    assert found.masks_folder == tmp_path / name
    assert found.table == tmp_path / "classes.toml"
    assert found.unlabelled_255 == (name == "labels")
    assert found.notes[0] == f"{tmp_path}: 2 images with masks"
    touch(tmp_path, "c.png")
    assert "c" in problem(tmp_path, PairingError), "outside a project a missing mask is an error"


def test_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        touch(tmp_path, f"{split}/images/a.png", f"{split}/masks/a.png")
    touch(tmp_path, "train/images/b.png", "train/masks/b.png", "classes.toml")
    found = find_layout(tmp_path, masks=True)
    assert [sample.id for sample in found.samples] == ["train/a", "train/b", "val/a", "test/a"]
    assert [sample.split for sample in found.samples] == ["train", "train", "val", "test"]
    assert found.table == tmp_path / "classes.toml"
    assert found.notes == (f"{tmp_path}: 4 images with masks (2 in train, 1 in val, 1 in test)",)


def test_a_folder_valid_with_images_in_it_is_the_validation_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "valid/images/b.png", "valid/masks/b.png")
    assert [sample.id for sample in find_layout(tmp_path, masks=True).samples] == ["train/a", "val/b"]
    touch(tmp_path, "validation/images/b.png", "validation/masks/b.png")
    assert "both the split 'val'" in problem(tmp_path, DataError)


def test_a_test_split_without_masks_is_left_out_with_a_note(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "test/images/b.png")
    found = find_layout(tmp_path, masks=True)
    assert [sample.id for sample in found.samples] == ["train/a"]
    assert any("test has no masks or labels folder: its images are left out" in note for note in found.notes)
    assert len(find_layout(tmp_path, masks=False).samples) == 2


def test_a_training_split_without_masks_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.png", "test/images/b.png", "test/masks/b.png")
    assert "train has images and no masks. Found there: images/." in problem(tmp_path, PairingError)
    touch(tmp_path, "other/test/images/b.png")
    assert "test has images and no masks" in problem(tmp_path / "other", PairingError)


def test_images_beside_splits_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "test/images/b.png", "test/masks/b.png")
    text = problem(tmp_path, DataError)
    assert "has an images folder and splits" in text
    assert "Give one of the folders, or move" in text


def test_masks_beside_labels_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "labels/a.png")
    assert "has both masks and labels" in problem(tmp_path, DataError)
    assert len(find_layout(tmp_path, masks=False).samples) == 1


def test_masks_in_one_split_and_labels_in_another_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "val/images/a.png", "val/labels/a.png")
    assert "Expected one name in all splits" in problem(tmp_path, DataError)


def test_valid_masks_pair_too(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png", "valid/a.xcf", "valid/a.png")
    text = problem(tmp_path, PairingError)
    for part in (
        "1 image of 2 without a partner in valid: b.png",
        "Expected for each image NAME one file NAME in valid",
    ):
        assert part in text
    touch(tmp_path, "valid/b.png")
    found = find_layout(tmp_path, masks=True)
    assert found.samples[1].valid is not None
    assert found.samples[1].valid.path == tmp_path / "valid" / "b.png"
    assert any("valid says where images have data" in note for note in found.notes)
    assert any("valid: not read, being no images: a.xcf" in note for note in found.notes)


def test_unpaired_files_are_listed_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, *[f"images/{i}.png" for i in range(9)], "masks/0.png", "masks/x.png")
    text = problem(tmp_path, PairingError)
    for part in (
        "8 images of 9 without a partner in masks: 1.png, 2.png, 3.png, 4.png, 5.png and 3 more",
        "1 file in masks without an image: x.png",
        "with the same stem",
        "Add what is missing",
    ):
        assert part in text


def test_a_strange_ending_of_few_mask_names_is_pointed_out(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a_mask.png", "masks/b.png")
    assert "These names end in '_mask': rename them without it." in problem(tmp_path, PairingError)


def test_two_files_for_one_stem_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png")
    text = problem(tmp_path, PairingError)
    assert "images has two files for one name: a.jpg and a.png" in text
    assert "Remove or rename one" in text


def test_accents_written_in_two_ways_pair(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "größé") for form in ("NFC", "NFD"))
    touch(tmp_path, f"images/{decomposed}.png", f"masks/{composed}.png")
    assert [sample.id for sample in find_layout(tmp_path, masks=True).samples] == [composed]


def test_what_is_no_image_is_noted_and_system_files_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "images/notes.txt", "images/old/", "images/b.xcf")
    touch(tmp_path, "images/.DS_Store", "images/Thumbs.db", "images/._a.png", "masks/classes.toml", "masks/desktop.ini")
    assert find_layout(tmp_path, masks=True).notes[1:] == (
        f"{tmp_path / 'images'}: not read, being no images: b.xcf, notes.txt, old/",
    )


def test_folders_that_are_not_read_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "old/a.png", ".git/a", "readme.txt")
    assert find_layout(tmp_path, masks=True).notes[1:] == (f"{tmp_path}: not read: old/",)
    touch(tmp_path, "set/train/images/a.png", "set/train/masks/a.png", "set/more/images/a.png")
    assert find_layout(tmp_path / "set", masks=True).notes[1:] == (f"{tmp_path / 'set'}: not read: more/",)


def test_empty_folders_are_errors(tmp_path: Path) -> None:
    touch(tmp_path, "images/", "masks/")
    text = problem(tmp_path, EmptyDataError)
    assert "images has no images. It is empty. Expected files with .bmp, .dcm, .gif" in text
    touch(tmp_path, "images/city/a.png")
    assert "Found: city/." in problem(tmp_path, EmptyDataError)


def test_an_unknown_layout_shows_what_is_there_and_what_is_expected(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/a.png", "truth/a.png", ".hidden")
    assert "Found there: pictures/, truth/." in problem(tmp_path, EmptyDataError)
    assert f"maskwright adopt {tmp_path} --as 1" in problem(tmp_path, EmptyDataError)
    (tmp_path / "pictures/a.png").unlink()
    text = problem(tmp_path, EmptyDataError)
    for part in (
        "Found there: pictures/, truth/.",
        "├── images/ ",
        "├── masks/ ",
        "(or labels/)",
        "└── classes.toml",
    ):
        assert part in text


@pytest.mark.parametrize("inner", ["images", "masks"])
def test_the_folder_above_is_suggested(tmp_path: Path, inner: str) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")
    assert f"Did you mean {tmp_path}?" in problem(tmp_path / inner, EmptyDataError)


def test_images_without_masks_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "truth/a.png")
    text = problem(tmp_path, PairingError)
    for part in ("has images and no masks", "Found there: images/, truth/", "masks or labels beside images"):
        assert part in text


def test_missing_paths_and_files(tmp_path: Path) -> None:
    assert "does not exist" in problem(tmp_path / "none", DataError)
    touch(tmp_path, "a.png", "a.txt")
    assert "is a file. Expected a folder" in problem(tmp_path / "a.png", DataError)
    assert "is no image" in problem(tmp_path / "a.txt", UnreadableFileError, masks=False)


def test_without_masks_a_plain_folder_or_one_image_will_do(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.tif", "notes.txt")
    found = find_layout(tmp_path, masks=False)
    assert [sample.id for sample in found.samples] == ["a", "b"]
    assert found.notes == (f"{tmp_path}: 2 images", f"{tmp_path}: not read, being no images: notes.txt")
    (one,) = find_layout(tmp_path / "b.png", masks=False).samples
    assert (one.id, one.image.path, one.mask) == ("b", tmp_path / "b.png", None)
    touch(tmp_path, "set/images/c.png", "set/masks/c.png", "set/valid/c.png")
    (one,) = find_layout(tmp_path / "set", masks=False).samples
    assert one.mask is None
    assert one.valid is not None


def test_the_class_table_beside_the_images_or_above_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "classes.toml")
    assert find_layout(tmp_path / "train", masks=True).table == tmp_path / "classes.toml"
    touch(tmp_path, "train/classes.toml")
    assert find_layout(tmp_path / "train", masks=True).table == tmp_path / "train" / "classes.toml"
    touch(tmp_path, "other/images/a.png", "other/masks/a.png")
    assert find_layout(tmp_path / "other", masks=True).table is None


def test_class_tables_of_splits_have_to_be_equal(tmp_path: Path) -> None:
    for split in ("train", "val"):
        touch(tmp_path, f"{split}/images/a.png", f"{split}/masks/a.png", f"{split}/classes.toml")
    assert find_layout(tmp_path, masks=True).table == tmp_path / "train" / "classes.toml"
    (tmp_path / "val" / "classes.toml").write_bytes(b"y")
    text = problem(tmp_path, ClassTableError)
    assert "differ. Expected one class table for all splits" in text


def test_a_relative_path_inside_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "classes.toml")
    PillowImage.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "train" / "images" / "a.png")
    monkeypatch.chdir(tmp_path / "train")
    assert find_layout(Path(), masks=True).table == tmp_path / "classes.toml"
