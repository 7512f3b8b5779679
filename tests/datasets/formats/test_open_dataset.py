"""Opening a data set: which class table its masks are read by, and what is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.classes import NO_CLASSES, ClassTable, LabelClass
from maskwright.datasets.formats import open_dataset
from maskwright.errors import ClassTableError, SizeMismatchError, UndeclaredValueError, UnreadableFileError

CELLS = """
[[class]]
name = "cell"
value = 9

[[class]]
name = "background"
value = 4
"""


def write(root: Path, masks: dict[str, list[list[int]]], folder: str = "masks") -> Path:
    """Images of zeros, with these masks."""
    for name, values in masks.items():
        mask = np.array(values, np.uint8)
        for part, pixels in (("images", np.zeros_like(mask)), (folder, mask)):
            (root / part).mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(pixels).save(root / part / f"{name}.png")
    return root


def run_table(*values: int, names: tuple[str, ...] = ("background", "cell")) -> ClassTable:
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=(i, i, i), values=(value,))
            for i, (name, value) in enumerate(zip(names, values, strict=True))
        )
    )


def masks_of(path: Path, classes: ClassTable | None = None) -> list[list[list[int]]]:
    data = open_dataset(path, classes=classes)
    return [data.read(sample).mask.tolist() for sample in data.samples]


def test_0_and_255_are_a_two_class_set_and_it_is_announced(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[0, 255]], "b": [[0, 0]]})
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "foreground"]
    assert masks_of(tmp_path) == [[[0, 1]], [[0, 0]]]
    assert data.notes[0] == f"{tmp_path}: 2 images with masks"
    assert "exactly the values 0 and 255" in data.notes[1]
    assert data.root == tmp_path


def test_one_other_value_anywhere_makes_255_unlabelled(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[0, 255]], "b": [[0, 1]], "c": [[1, 255]]})
    assert masks_of(tmp_path) == [[[0, 255]], [[0, 1]], [[1, 255]]]


def test_0_and_255_among_0_and_1_are_two_encodings(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[0, 255]], "b": [[0, 1]], "c": [[0, 0]]})
    with pytest.raises(ClassTableError, match=r"two encodings.*1 masks hold 0 and 255 \(a\.png\), 1 hold 0 and 1"):
        open_dataset(tmp_path)


def test_in_labels_255_is_always_unlabelled(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[0, 255]]}, "labels")
    with pytest.raises(ClassTableError, match="rename the folder to masks"):
        open_dataset(tmp_path)
    with pytest.raises(ClassTableError, match=r"labels folder, where 255 always means unlabelled.*'cell'"):
        open_dataset(tmp_path, classes=run_table(0, 255))
    (tmp_path / "classes.toml").write_text(CELLS.replace("9", "255"))
    with pytest.raises(ClassTableError, match="'cell'"):
        open_dataset(tmp_path)


def test_the_tables_of_the_data_is_used_and_no_mask_read(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[4, 9]], "b": [[4, 5]]})
    (tmp_path / "classes.toml").write_text(CELLS)
    data = open_dataset(tmp_path)  # b holds a 5, which shows when it is read
    assert data.classes.names == ["cell", "background"]
    assert data.read(data.samples[0]).mask.tolist() == [[1, 0]]
    with pytest.raises(UndeclaredValueError, match=r"b\.png"):
        data.read(data.samples[1])
    assert f"{tmp_path / 'classes.toml'} declares 2 classes: 9 = cell, 4 = background, 255 = unlabelled" in data.notes


def test_a_runs_table_orders_the_tables_of_the_data(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[4, 9, 255]]})
    (tmp_path / "classes.toml").write_text(CELLS)
    data = open_dataset(tmp_path, classes=run_table(0, 255))
    assert data.classes.names == ["background", "cell"]
    assert data.classes.colors.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert data.read(data.samples[0]).mask.tolist() == [[0, 1, 255]]


def test_a_runs_table_with_other_names_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[4, 9]]})
    (tmp_path / "classes.toml").write_text(CELLS)
    with pytest.raises(ClassTableError, match=r"classes\.toml does not agree .* lacks 'nucleus'.* 'cell'"):
        open_dataset(tmp_path, classes=run_table(0, 1, names=("background", "nucleus")))


def test_without_a_table_the_runs_values_read_the_masks(tmp_path: Path) -> None:
    # Judged alone, these masks would be unlabelled, or one class.
    write(tmp_path, {"a": [[0, 0]], "b": [[255, 255]]})
    assert masks_of(tmp_path, run_table(0, 255)) == [[[0, 0]], [[1, 1]]]
    write(tmp_path, {"a": [[0, 0]], "b": [[0, 0]]})
    assert masks_of(tmp_path, run_table(0, 255)) == [[[0, 0]], [[0, 0]]]
    (note,) = open_dataset(tmp_path, classes=run_table(0, 255)).notes[1:]
    assert note == "masks are read by the run's classes: 0 = background, 255 = cell"


def test_0_and_255_for_a_run_that_knows_no_255_are_not_silently_unlabelled(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[0, 255]], "b": [[0, 0]]})
    with pytest.raises(ClassTableError) as error:
        open_dataset(tmp_path, classes=run_table(0, 1))
    for part in ("exactly the values 0 and 255", "0 = background, 1 = cell", 'name = "cell" with value = 255'):
        assert part in str(error.value)
    # With another value somewhere, 255 means unlabelled as always.
    write(tmp_path, {"c": [[1, 255]]})
    assert masks_of(tmp_path, run_table(0, 1)) == [[[0, 255]], [[0, 0]], [[1, 255]]]
    # So it does where the run says so.
    write(tmp_path / "other", {"a": [[0, 255]]})
    told = ClassTable(classes=run_table(0, 1).classes, unlabelled=(255,))
    assert masks_of(tmp_path / "other", told) == [[[0, 255]]]


def test_colour_masks(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    colors = np.array([[[0, 0, 0], [255, 0, 0], [255, 255, 255]]], np.uint8)
    for name, mask in (("a", colors), ("b", colors * 0)):  # b is black, so it looks grey
        PillowImage.fromarray(colors[..., 0]).save(tmp_path / "images" / f"{name}.png")
        PillowImage.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(ClassTableError) as error:
        open_dataset(tmp_path)
    text = str(error.value)
    (tmp_path / "classes.toml").write_text(text[text.index("[[class]]") :])
    assert masks_of(tmp_path) == [[[0, 1, 2]], [[0, 0, 0]]]


def test_sizes_and_headers_are_checked_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[0, 1]], "b": [[0, 1]]})
    PillowImage.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "masks" / "b.png")
    with pytest.raises(SizeMismatchError, match=r"b\.png is 2 x 1 .* 5 x 5"):
        open_dataset(tmp_path)
    (tmp_path / "images" / "a.png").write_bytes(b"")
    with pytest.raises(UnreadableFileError, match=r"a\.png cannot be read: it is empty"):
        open_dataset(tmp_path, masks=False)


def test_splits_share_one_table(tmp_path: Path) -> None:
    # Only the whole set shows that there are three classes.
    write(tmp_path / "train", {"a": [[0, 1]]})
    write(tmp_path / "test", {"a": [[0, 2]]})
    data = open_dataset(tmp_path)
    assert data.classes.names == ["class 0", "class 1", "class 2"]
    assert [sample.id for sample in data.split("test").samples] == ["test/a"]


def test_without_masks_no_classes_are_needed(tmp_path: Path) -> None:
    PillowImage.fromarray(np.zeros((5, 4), np.uint8)).save(tmp_path / "a.png")
    for path in (tmp_path, tmp_path / "a.png"):
        data = open_dataset(path, masks=False)
        assert data.classes is NO_CLASSES
        assert data.read(data.samples[0]).image.shape == (5, 4, 1)
    assert open_dataset(tmp_path, masks=False, classes=run_table(0, 1)).classes.names == ["background", "cell"]
    (tmp_path / "classes.toml").write_text(CELLS)
    assert open_dataset(tmp_path, masks=False).classes.names == ["cell", "background"]


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    write(tmp_path, {"a": [[0, 1]]})
    assert open_dataset(str(tmp_path)).root == tmp_path
