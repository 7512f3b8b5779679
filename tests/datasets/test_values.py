"""Counting mask values, and the class tables they suggest."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from maskwright.datasets.adopt import adopt
from maskwright.datasets.classes import ClassTable, Value
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.proposals import infer_classes
from maskwright.datasets.samples import Source
from maskwright.datasets.values import Found, mask_values
from maskwright.errors import ClassTableError

MASKS, LABELS = Path("data/masks"), Path("data/labels")


def counted(*values: Value, pixels: int = 100) -> dict[Value, Found]:
    return {value: Found(pixels, f"{place}.png") for place, value in enumerate(values)}


def write(folder: Path, **masks: np.ndarray) -> list[Source]:
    for name, values in masks.items():
        PillowImage.fromarray(values).save(folder / f"{name}.png")
    return [Source(path=folder / f"{name}.png") for name in masks]


def pasted(text: str, tmp_path: Path) -> ClassTable:
    """The class table that an error offers, saved as it stands."""
    path = tmp_path / "classes.toml"
    path.write_text(text[text.index("[[class]]") :], "utf-8")
    return ClassTable.load(path)


def test_values_are_counted_over_the_set_with_the_first_file(tmp_path: Path) -> None:
    sources = write(
        tmp_path,
        a=np.array([[0, 0, 3]], np.uint8),
        b=np.array([[3, 255], [3, 0]], np.uint8),
        c=np.array([[1]], np.uint8),
    )
    assert mask_values(sources) == {
        0: Found(3, "a.png", solid=1),
        1: Found(1, "c.png"),
        3: Found(3, "a.png"),
        255: Found(1, "b.png"),
    }
    assert list(mask_values(sources)) == [0, 1, 3, 255]


def test_wide_integers_are_counted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-1, 70000, -1]], np.int32))
    assert mask_values([Source(path=tmp_path / "a.tif")]) == {-1: Found(2, "a.tif"), 70000: Found(1, "a.tif")}


def test_colours_are_counted_and_greys_beside_them_are_colours(tmp_path: Path) -> None:
    color = np.zeros((1, 3, 3), np.uint8)
    color[0, 1] = (255, 0, 0)
    sources = write(tmp_path, a=np.zeros((2, 2, 3), np.uint8), b=color)
    assert mask_values(sources) == {"#000000": Found(6, "a.png", solid=2), "#ff0000": Found(1, "b.png")}


def test_0_and_255_in_masks_are_two_classes() -> None:
    classes, note = infer_classes(counted(0, 255), MASKS)
    assert classes.names == ["background", "foreground"]
    assert [item.values for item in classes.classes] == [(0,), (255,)]
    assert classes.colors[0].tolist() == [0, 0, 0]
    for part in ("data/masks", "exactly the values 0 and 255", "background (0) and foreground (255)"):
        assert part in note


def test_0_and_255_in_labels_are_one_class_and_unlabelled() -> None:
    with pytest.raises(ClassTableError) as error:
        infer_classes(counted(0, 255), LABELS, unlabelled_255=True)
    for part in ("data/labels", "255 means unlabelled", "rename the folder to masks", "data/classes.toml"):
        assert part in str(error.value)


@pytest.mark.parametrize("folder", [MASKS, LABELS])
def test_0_and_1_are_two_classes_and_255_stays_unlabelled(folder: Path) -> None:
    classes, note = infer_classes(counted(0, 1), folder, unlabelled_255=folder == LABELS)
    assert classes.names == ["background", "foreground"]
    assert classes.encode(np.array([[0, 1, 255]], np.uint8), "a").tolist() == [[0, 1, 255]]
    assert "background (0) and foreground (1)" in note
    assert "255" not in note
    _, note = infer_classes(counted(0, 1, 255), folder, unlabelled_255=folder == LABELS)
    assert "255 is unlabelled (33.3% of the pixels)" in note


def test_indices_without_a_gap_are_numbered_classes() -> None:
    classes, note = infer_classes(counted(0, 1, 2, 3, 255), LABELS, unlabelled_255=True)
    assert classes.names == ["class 0", "class 1", "class 2", "class 3"]
    assert classes.encode(np.array([[3, 0, 255]], np.uint8), "a").tolist() == [[3, 0, 255]]
    for part in ("values 0 to 3", "4 classes, named class 0 to class 3", "255 is unlabelled", "data/classes.toml"):
        assert part in note


@pytest.mark.parametrize("values", [(0, 1, 3), (1, 2, 3), (0, 128), (-1, 0), (0, 1, 2, 1000), (0, 38, 75, 255)])
def test_gaps_are_an_error_with_a_table_ready_to_paste(values: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ClassTableError) as error:
        infer_classes(counted(*values), MASKS)
    text = str(error.value)
    for place, value in enumerate(values):
        assert f"{value} (100 pixels, first in {place}.png)" in text
    for part in ("data/masks holds", "no classes.toml", "Expected", "without a gap", "data/classes.toml, for example"):
        assert part in text
    table = pasted(text, tmp_path)
    # Also 255, which may be a class like any other: no value of the masks disappears.
    assert [item.values for item in table.classes] == [(value,) for value in values]


def test_colours_are_an_error_with_a_table_ready_to_paste(tmp_path: Path) -> None:
    with pytest.raises(ClassTableError) as error:
        infer_classes(counted("#000000", "#ff0000", "#00ff00"), MASKS)
    table = pasted(str(error.value), tmp_path)
    assert [item.values for item in table.classes] == [("#000000",), ("#ff0000",), ("#00ff00",)]
    assert table.colors.tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0]]


@pytest.mark.parametrize(
    ("suffix", "cause"), [(".jpg", "saved as JPEG"), (".png", "resized with smoothing, or drawn with soft edges")]
)
def test_smooth_edges_are_recognised(suffix: str, cause: str, tmp_path: Path) -> None:
    found: dict[Value, Found] = {value: Found(3, f"a{suffix}") for value in range(256)}
    found[0], found[254] = Found(9000, f"a{suffix}", solid=8900), Found(5000, f"a{suffix}", solid=4900)
    with pytest.raises(ClassTableError) as error:
        infer_classes(found, MASKS)
    text = str(error.value)
    for part in (
        "256 values: 0 (9000 pixels",
        "254 (5000 pixels",
        "and 248 more",
        cause,
        "254 of them",
        "check data --fix data-fixed",
    ):
        assert part in text
    assert len(text) < 2000
    assert pasted(text, tmp_path).classes[1].values == (254,)


@pytest.mark.parametrize("value", [0, 255, 7])
def test_a_single_value_is_an_error(value: int, tmp_path: Path) -> None:
    with pytest.raises(ClassTableError, match=re.escape(f"holds 1 value: {value} (100 pixels")) as error:
        infer_classes(counted(value), MASKS)
    assert "two classes at least" in str(error.value)


@pytest.mark.parametrize("empty", [-1, -9999, 65535])
def test_values_like_no_data_are_proposed_as_unlabelled(tmp_path: Path, empty: int) -> None:
    """Pasted or adopted, the proposal trains two classes, and no value disappears."""
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    mask = np.zeros((8, 9), np.int32)
    mask[2:4, 2:5], mask[6:] = 1, empty
    for name in "ab":
        tifffile.imwrite(tmp_path / "set" / "images" / f"{name}.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
        tifffile.imwrite(tmp_path / "set" / "masks" / f"{name}.tif", mask)
    with pytest.raises(ClassTableError, match=f"{empty} looks like no data") as error:
        open_dataset(tmp_path / "set")
    pasted = str(error.value).partition("for example:\n\n")[2]
    adopt(tmp_path / "set", 1)
    for text in (None, pasted):
        if text is not None:
            (tmp_path / "set" / "classes.toml").write_text(text)
        data = open_dataset(tmp_path / "set")
        assert empty in data.classes.unlabelled
        assert np.bincount(data.read(data.samples[0]).mask.ravel())[[0, 1, 255]].tolist() == [48, 6, 18]
