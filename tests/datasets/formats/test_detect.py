"""Claims of formats: cheap, shared, and a reader is imported only where its format is claimed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.check.audit import audit
from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.formats.detect import FORMATS, Listing, read_with
from maskwright.errors import ClassTableError


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)
    return path


def folder(root: Path, masks: str = "masks", split: str = "", values: tuple[int, ...] = (0, 1)) -> Path:
    for name in "ab":
        save(root / "images" / split / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
        save(root / masks / split / f"{name}.png", np.resize(np.array(values, np.uint8), (8, 8)))
    return root


def test_a_folder_of_png_imports_no_other_reader(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom maskwright.datasets.formats import open_dataset\n"
        f"assert len(open_dataset({str(folder(tmp_path))!r}).samples) == 2\n"
        "print(*[name.removeprefix('maskwright.') for name in sys.modules if name.startswith('maskwright.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith(("datasets.formats.", "imaging."))}
    assert loaded == {f"datasets.formats.{name}" for name in ("detect", "folder", "layout", "pairing")} | {
        f"imaging.{name}" for name in ("colors", "decoders", "images", "memory")
    }


def test_every_row_names_a_reader() -> None:
    for row in FORMATS:
        assert callable(read_with(row)), row.module
    assert len({row.module for row in FORMATS}) == len(FORMATS)
    assert FORMATS[-1].module == "folder"


def test_a_listing_looks_at_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing(folder(tmp_path, split="train"))
    looked: list[str] = []
    original = Listing._list

    def watching(self: Listing, inside: str) -> object:
        looked.append(inside)
        return original(self, inside)

    monkeypatch.setattr(Listing, "_list", watching)
    for row in FORMATS:
        row.claims(listing)
    assert sorted(looked) == ["", "images", "images/train", "masks", "masks/train"]
    assert listing.has(".png", depth=2)
    assert not listing.has(".png", depth=1)


@pytest.mark.parametrize(("masks", "split"), [("labels", ""), ("label", ""), ("labels", "train"), ("Labels", "val")])
def test_255_is_always_unlabelled_in_labels(tmp_path: Path, masks: str, split: str) -> None:
    root = folder(tmp_path, masks, split, values=(0, 255))
    assert find_layout(root).unlabelled_255
    with pytest.raises(ClassTableError, match="255 means unlabelled"):
        open_dataset(root)


def test_0_and_255_are_two_classes_in_masks_of_a_split(tmp_path: Path) -> None:
    root = folder(tmp_path, "masks", "train", values=(0, 255))
    assert not find_layout(root).unlabelled_255
    assert open_dataset(root).classes.names == ["background", "foreground"]


@pytest.mark.parametrize(("masks", "split"), [("label", ""), ("labels", "train")])
def test_check_refuses_a_class_at_255_as_opening_does(tmp_path: Path, masks: str, split: str) -> None:
    root = folder(tmp_path, masks, split, values=(0, 255))
    (root / "classes.toml").write_text(
        '[[class]]\nname = "no"\nvalue = 0\n[[class]]\nname = "yes"\nvalue = 255\n', encoding="utf-8"
    )
    with pytest.raises(ClassTableError, match="always means unlabelled") as error:
        open_dataset(root)
    found = [problem for problem in audit(root).problems if problem.kind == "class-table"]
    assert [problem.level for problem in found] == ["error"]
    assert (found[0].what, found[0].remedy) == (error.value.what, error.value.remedy)
    assert error.value.file == root / "classes.toml"


def test_images_with_an_ending_pair_with_bare_masks(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "images" / f"{name}_image.png", np.zeros((8, 8, 3), np.uint8))
        save(tmp_path / "masks" / f"{name}.png", np.resize(np.array((0, 1), np.uint8), (8, 8)))
    layout = find_layout(tmp_path)
    assert [(sample.id, sample.mask.path.name) for sample in layout.samples if sample.mask] == [
        ("a", "a.png"),
        ("b", "b.png"),
    ]
    assert "named like images without their word for image" in " ".join(layout.notes)


def test_readers_of_published_sets_say_what_they_pass_over(tmp_path: Path) -> None:
    save(tmp_path / "JPEGImages" / "a.jpg", np.zeros((8, 8, 3), np.uint8))
    save(tmp_path / "SegmentationClass" / "a.png", np.zeros((8, 8), np.uint8))
    save(tmp_path / "SegmentationObject" / "a.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    assert find_layout(tmp_path).notes[-1] == f"{tmp_path}: not read: SegmentationObject/"
