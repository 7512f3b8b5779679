"""Run lengths of Kaggle: down the columns, counted from 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.problems import Problem
from maskwright.datasets.sources import Window
from maskwright.errors import DataError, PairingError, UnreadableFileError


def write(root: Path, text: str, folder: str = "train", name: str = "train.csv") -> Path:
    """Images a, b and c of 3 x 4 pixels, and the CSV file."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for stem in "abc":
        PillowImage.fromarray(np.full((3, 4, 3), 50, np.uint8)).save(root / folder / f"{stem}.png")
    (root / name).write_text(text)
    return root


@pytest.mark.parametrize("folder", ["train", "images", "train_images", "."])
@pytest.mark.parametrize("suffix", ["", ".png"])
def test_objects_down_the_columns(tmp_path: Path, folder: str, suffix: str) -> None:
    # The second column is pixels 4 to 6; pixel 12 is the last one.
    text = f"ImageId,EncodedPixels\na{suffix},4 3\na{suffix},1 1 12 1\nb{suffix},\nc{suffix},3 2\n"
    write(tmp_path, text, folder)
    for path in (tmp_path, tmp_path / "train.csv"):
        data = open_dataset(path)
        assert data.notes[0] == f"{path}: run lengths in train.csv, 3 images with masks"
        assert data.classes.names == ["background", "foreground"]
        masks = {sample.id: data.read(sample).mask.tolist() for sample in data.samples}
        assert masks == {
            "a": [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1]],
            "b": [[0] * 4] * 3,
            "c": [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]],
        }


@pytest.mark.parametrize(
    "text",
    [
        "ImageId,ClassId,EncodedPixels\na.png,3,1 3\na.png,1,4 1\nb.png,1,2 1\n",
        "ImageId_ClassId,EncodedPixels\na.png_3,1 3\na.png_1,4 1\na.png_2,\nb.png_1,2 1\n",
    ],
)
def test_classes_that_are_numbers(tmp_path: Path, text: str) -> None:
    data = open_dataset(write(tmp_path, text))
    numbers = [name for name in data.classes.names if name != "background"]
    assert numbers == (["class 1", "class 3"] if "_" not in text.split(",")[0] else ["class 1", "class 2", "class 3"])
    sample = data.samples[0]
    assert sample.mask is not None
    assert sample.mask.read_mask().tolist() == [[3, 1, 0, 0], [3, 0, 0, 0], [3, 0, 0, 0]]


def test_classes_that_are_names(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path, "Image_Label,EncodedPixels\na.png_Sugar,1 3\na.png_Fish,3 2\nb.png_Fish,\n"))
    assert data.classes.names == ["background", "Fish", "Sugar"]
    # The row further down lies above.
    assert data.read(data.samples[0]).mask.tolist() == [[2, 1, 0, 0], [2, 0, 0, 0], [1, 0, 0, 0]]


def test_images_without_a_row_are_noted(tmp_path: Path) -> None:
    found = find_layout(write(tmp_path, "id,rle_mask\na,1 1\n"))
    assert [sample.id for sample in found.samples] == ["a"]
    assert "2 images without a row in train.csv left out: b.png, c.png" in found.notes


def test_rows_without_an_image(tmp_path: Path) -> None:
    write(tmp_path, "ImageId,EncodedPixels\na,1 1\nx,1 1\n")
    with pytest.raises(PairingError, match="has a mask for x, and there is no image of that name"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert len(find_layout(tmp_path, problems=problems).samples) == 1
    assert len(problems) == 1


def test_names_that_may_be_two_images(tmp_path: Path) -> None:
    write(tmp_path, "")
    write(tmp_path, "ImageId,EncodedPixels\na,1 1\n", "images")
    with pytest.raises(DataError, match=r"names a, which may be .*images.a\.png and .*train.a\.png"):
        find_layout(tmp_path)


@pytest.mark.parametrize(
    ("runs", "what"),
    [
        ("1 2 3", "3 numbers are no pairs"),
        ("1 0", "it covers no pixel"),
        ("1 b", "are not whole numbers"),
        ("5 -2", "-2"),
    ],
)
def test_broken_rows_are_lost(tmp_path: Path, runs: str, what: str) -> None:
    root = write(tmp_path, f"ImageId,EncodedPixels\nb,1 3\na,{runs}\n")
    data = open_dataset(root)
    (told,) = [note for note in data.notes if "1 object of 2 cannot be drawn" in note]
    assert what in told
    assert "train.csv, line 3" in told
    assert [int((data.read(sample).mask == 1).sum()) for sample in data.samples] == [0, 3]
    with pytest.raises(DataError, match=f"1 object of 1 cannot be drawn.*{what}"):
        find_layout(write(tmp_path, f"ImageId,EncodedPixels\na,{runs}\n"))


def test_runs_beyond_the_image(tmp_path: Path) -> None:
    (sample,) = find_layout(write(tmp_path, "ImageId,EncodedPixels\na,12 2\n")).samples
    assert sample.mask is not None
    with pytest.raises(UnreadableFileError, match=r"train\.csv: the mask of a\.png .*outside the 4 x 3 = 12 pixels"):
        sample.mask.read_mask()


def test_starts_from_0_count_all_of_the_file_from_0(tmp_path: Path) -> None:
    root = write(tmp_path, "ImageId,EncodedPixels\na,0 2\nb,3 3 11 1\n")
    data = open_dataset(root)
    assert any("a start is 0: all are counted from 0" in note for note in data.notes)
    masks = [data.read(sample).mask.T.reshape(-1).tolist() for sample in data.samples]
    assert masks == [[1, 1] + 10 * [0], [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1]]


def test_runs_in_another_order_and_relative_ones(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path, "ImageId,EncodedPixels\na,7 6 1 2\nb,1 1\n"))
    assert any("their order does not matter" in note for note in data.notes)
    assert data.read(data.samples[0]).mask.T.reshape(-1).tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    data = open_dataset(write(tmp_path, "ImageId,EncodedPixels\na,3 2 1 2\nb,0 2 2 2 2 2\n"))
    assert any("relative" in note for note in data.notes)
    assert data.read(data.samples[0]).mask.T.reshape(-1).tolist() == [0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    with pytest.raises(DataError, match="do not ascend, or its runs overlap"):
        open_dataset(write(tmp_path, "ImageId,EncodedPixels\na,1 4 2 6\nb,1 1 4 2\nc,1 1 4 2\n"))


def test_a_class_0_is_no_background(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path, "ImageId,EncodedPixels,ClassId\na,1 3,0\na,4 2,1\nb,1 1,1\n"))
    assert data.classes.names == ["background", "class 0", "class 1"]
    assert np.bincount(data.read(data.samples[0]).mask.ravel()).tolist() == [7, 3, 2]


def test_windows_and_sizes(tmp_path: Path) -> None:
    (sample,) = find_layout(write(tmp_path, "ImageId,EncodedPixels\na,4 3\n")).samples
    assert sample.mask is not None
    assert sample.mask.header().shape == (3, 4)
    assert sample.mask.cut(Window(1, 1, 2, 2)).read_mask().tolist() == [[1, 0], [1, 0]]
