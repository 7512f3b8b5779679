"""Folders by other names, masks named after their images, images and masks side by side, splits within folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskwright.datasets.formats import find_layout
from maskwright.datasets.formats.pairing import names_of
from maskwright.datasets.problems import Problem
from maskwright.errors import DataError, PairingError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def pairs(root: Path, *, masks: bool = True) -> dict[str, tuple[str, str | None]]:
    """Id -> image and mask, relative to the root."""
    return {
        s.id: (
            s.image.path.relative_to(root).as_posix(),
            s.mask.path.relative_to(root).as_posix() if s.mask else None,
        )
        for s in find_layout(root, masks=masks).samples
    }


@pytest.mark.parametrize("images", ["images", "image", "img", "imgs", "IMG"])
@pytest.mark.parametrize("masks", ["annotations", "annots", "gt", "Ground Truth", "ground_truth", "mask", "seg"])
def test_other_folder_names(tmp_path: Path, images: str, masks: str) -> None:
    touch(tmp_path, f"{images}/a.png", f"{masks}/a.png")
    assert pairs(tmp_path) == {"a": (f"{images}/a.png", f"{masks}/a.png")}
    assert f"images are those of {tmp_path / images}, masks those of {tmp_path / masks}" in find_layout(tmp_path).notes


def test_two_folders_of_images_or_of_masks_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "a/images/a.png", "a/img/a.png", "a/masks/a.png", "b/images/a.png", "b/gt/a.png", "b/labels/a.png")
    with pytest.raises(DataError, match="has both images and img, so it is unclear which holds the images"):
        find_layout(tmp_path / "a")
    with pytest.raises(DataError, match="has both labels and gt, so it is unclear which holds the truth"):
        find_layout(tmp_path / "b")


def test_annotations_without_images_in_them_are_no_masks(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "annotations/notes.txt")
    assert pairs(tmp_path) == {"a": ("images/a.png", "masks/a.png")}
    assert f"{tmp_path}: not read: annotations/" in find_layout(tmp_path).notes


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}.png", "{}_mask.png"),
        ("{}.jpg", "{}_L.png"),
        ("{}.jpg", "{}-gt.tif"),
        ("{}.png", "mask_{}.png"),
        ("{}_sat.jpg", "{}_mask.png"),
        ("image_{}.png", "label_{}.png"),
        ("{}.png", "{}_gtFine_labelIds.png"),
    ],
)
def test_masks_named_after_images_in_two_folders(tmp_path: Path, image: str, mask: str) -> None:
    names = ["a", "a_b", "10"]
    touch(tmp_path, *[f"images/{image.format(n)}" for n in names], *[f"masks/{mask.format(n)}" for n in names])
    expected = {n: (f"images/{image.format(n)}", f"masks/{mask.format(n)}") for n in names}
    assert pairs(tmp_path) == expected
    assert any("masks are the files with '" in note for note in find_layout(tmp_path).notes)


@pytest.mark.parametrize("ending", ["_mask", "_label", "_gt", "_seg", "_L", ".mask", "-annotation"])
def test_images_and_masks_side_by_side(tmp_path: Path, ending: str) -> None:
    touch(tmp_path, "a.jpg", f"a{ending}.png", "b.png", f"b{ending}.png", "classes.toml")
    assert pairs(tmp_path) == {"a": ("a.jpg", f"a{ending}.png"), "b": ("b.png", f"b{ending}.png")}
    assert find_layout(tmp_path).table == tmp_path / "classes.toml"
    assert pairs(tmp_path, masks=False) == {"a": ("a.jpg", None), "b": ("b.png", None)}


def test_side_by_side_with_a_word_for_images(tmp_path: Path) -> None:
    touch(tmp_path, "a_image.png", "a_mask.png", "b_image.png", "b_mask.png")
    assert pairs(tmp_path) == {"a": ("a_image.png", "a_mask.png"), "b": ("b_image.png", "b_mask.png")}


def test_jpeg_images_with_masks_of_the_same_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b.JPEG", "b.tif")
    assert pairs(tmp_path) == {"a": ("a.jpg", "a.png"), "b": ("b.JPEG", "b.tif")}
    assert any("JPEG files are the images" in note for note in find_layout(tmp_path).notes)


def test_two_files_that_may_both_be_the_mask_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.tif", "one/a.png", "two/a.png", "two/a_mask.png", "two/a_label.png")
    with pytest.raises(DataError) as error:
        find_layout(tmp_path / "one")
    assert "either a.png is the image and a.tif its mask, or a.tif is the image and a.png its mask" in str(error.value)
    with pytest.raises(
        DataError, match="two masks for one image: names with '_mask' after the name, and with '_label'"
    ):
        find_layout(tmp_path / "two")


def test_side_by_side_within_images_and_within_splits(tmp_path: Path) -> None:
    touch(tmp_path, "one/images/a.png", "one/images/a_mask.png")
    assert pairs(tmp_path / "one") == {"a": ("images/a.png", "images/a_mask.png")}
    touch(tmp_path, "two/train/a.png", "two/train/a_mask.png", "two/test/b.png", "two/test/b_mask.png")
    assert pairs(tmp_path / "two") == {
        "train/a": ("train/a.png", "train/a_mask.png"),
        "test/b": ("test/b.png", "test/b_mask.png"),
    }


def test_side_by_side_without_a_partner_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a_mask.png", "b.png", "c_mask.png")
    with pytest.raises(PairingError) as error:
        find_layout(tmp_path)
    assert "1 image of 2 without a mask: b.png" in str(error.value)
    assert "1 mask without an image: c_mask.png" in str(error.value)


def test_splits_within_the_folders(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.png", "masks/train/a.png", "images/val/a.png", "masks/val/a.png")
    assert pairs(tmp_path) == {
        "train/a": ("images/train/a.png", "masks/train/a.png"),
        "val/a": ("images/val/a.png", "masks/val/a.png"),
    }
    assert find_layout(tmp_path).notes[0] == f"{tmp_path}: 2 images with masks (1 in train, 1 in val)"


@pytest.mark.parametrize(
    ("images", "masks"), [("train", "train_masks"), ("Train", "TrainAnnot"), ("train_images", "train_labels")]
)
def test_splits_as_twin_folders(tmp_path: Path, images: str, masks: str) -> None:
    test = images.lower().replace("train", "test")
    touch(tmp_path, f"{images}/a.png", f"{masks}/a.png", f"{test}/b.png")
    assert pairs(tmp_path) == {"train/a": (f"{images}/a.png", f"{masks}/a.png")}
    assert any(f"{test} has no masks or labels folder" in note for note in find_layout(tmp_path).notes)
    assert pairs(tmp_path, masks=False) == {"train/a": (f"{images}/a.png", None), "test/b": (f"{test}/b.png", None)}


def test_with_problems_the_rest_is_read(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c.png", "c.tif"]
    touch(tmp_path, *[f"images/{name}" for name in names], "masks/a.png", "masks/c.png", "masks/x.png")
    problems: list[Problem] = []
    found = find_layout(tmp_path, problems=problems)
    assert [sample.id for sample in found.samples] == ["a", "c"]
    assert {(p.kind, p.files[0].relative_to(tmp_path).as_posix()) for p in problems} == {
        ("duplicate-stem", "images/c.tif"),
        ("unpaired", "images/b.png"),
        ("unpaired", "masks/x.png"),
    }
    assert all(p.level == "error" and p.what and p.remedy for p in problems)


def test_with_problems_nothing_may_be_left(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/b.png")
    problems: list[Problem] = []
    assert find_layout(tmp_path, problems=problems).samples == ()
    assert len(problems) == 2


def test_with_problems_named_masks_still_pair(tmp_path: Path) -> None:
    touch(tmp_path, *[f"images/{n}.png" for n in "abc"], "masks/a_mask.png", "masks/b_mask.png", "masks/x.png")
    problems: list[Problem] = []
    assert [sample.id for sample in find_layout(tmp_path, problems=problems).samples] == ["a", "b"]
    assert sorted(p.files[0].name for p in problems) == ["c.png", "x.png"]


def test_names_as_long_as_needed() -> None:
    assert names_of([Path("x/a.png"), Path("y/b.tif")]) == ["a", "b"]
    assert names_of([Path("d/x/a.png"), Path("d/y/a.png")]) == ["x/a", "y/a"]
    assert names_of([]) == []
