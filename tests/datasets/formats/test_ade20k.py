"""ADE20K of SceneParsing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.errors import ClassTableError


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def write(root: Path) -> Path:
    home = root / "ADEChallengeData2016"
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        save(home / "images" / split / f"{name}.jpg", np.zeros((1, 4, 3), np.uint8))
        save(home / "annotations" / split / f"{name}.png", np.array([[0, 1, 2, 150]], np.uint8))
    return root


@pytest.mark.parametrize("inner", [".", "ADEChallengeData2016"])
def test_the_published_layout(tmp_path: Path, inner: str) -> None:
    root = write(tmp_path) / inner
    data = open_dataset(root)
    assert data.notes[0] == f"{root}: ADE20K, 2 images with masks (1 in train, 1 in val)"
    assert [sample.id for sample in data.samples] == ["train/ADE_train_00000001", "val/ADE_val_00000001"]
    assert len(data.classes) == 150
    assert [data.classes.names[i] for i in (0, 1, 89, 149)] == ["wall", "building", "television", "flag"]
    assert data.read(data.samples[0]).mask.tolist() == [[255, 0, 1, 149]]


def test_names_from_the_file(tmp_path: Path) -> None:
    home = write(tmp_path) / "ADEChallengeData2016"
    rows = [f"{i}\t0.1\t9\t9\tname {i}, other\n" for i in range(1, 149)]
    rows += ["149\t0.1\t9\t9\tscreen, silver\n", "150\t0.1\t9\t9\tscreen, crt \n"]
    (home / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + "".join(rows))
    names = open_dataset(tmp_path).classes.names
    assert names[0] == "name 1"
    assert names[148:] == ["screen, silver", "screen, crt"]
    (home / "objectInfo150.txt").write_text("Idx\tName\n1\ta\n3\tb\n")
    with pytest.raises(ClassTableError, match="not numbered from 1 on"):
        open_dataset(tmp_path)


def test_other_names_are_plain_folders(tmp_path: Path) -> None:
    save(tmp_path / "images/training/a.png", np.zeros((1, 2), np.uint8))
    save(tmp_path / "annotations/training/a.png", np.array([[0, 1]], np.uint8))
    assert find_layout(tmp_path).format == "folder"
