"""Cityscapes: ids become trainIds, a group is a city."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.problems import Problem
from maskwright.errors import PairingError

IDS = np.array([[7, 8, 11, 12, 13, 17, 19, 20, 21, 22], [23, 24, 25, 26, 27, 28, 31, 32, 33, 255]], np.uint8)
TRAIN_IDS = [list(range(10)), [*range(10, 19), 255]]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def write(root: Path, endings: tuple[str, ...] = ("labelIds",)) -> Path:
    frames = {"train": ["aachen_000000_000019", "bochum_000000_000313"], "val": ["lindau_000000_000019"]}
    for split, names in (frames | {"test": ["berlin_000000_000019"]}).items():
        for name in names:
            city = name.split("_")[0]
            save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", np.zeros((2, 10, 3), np.uint8))
            for ending in (*endings, "color", "instanceIds"):
                mask = np.array(TRAIN_IDS, np.uint8) if ending == "labelTrainIds" else IDS
                save(root / "gtFine" / split / city / f"{name}_gtFine_{ending}.png", mask)
            (root / "gtFine" / split / city / f"{name}_gtFine_polygons.json").write_text("{}")
    return root


@pytest.mark.parametrize("endings", [("labelIds",), ("labelTrainIds",), ("labelIds", "labelTrainIds")])
def test_the_published_layout(tmp_path: Path, endings: tuple[str, ...]) -> None:
    data = open_dataset(write(tmp_path, endings))
    assert data.notes[0] == f"{tmp_path}: Cityscapes, 3 images with masks (2 in train, 1 in val)"
    assert "test: 1 image without published labels left out" in data.notes
    assert any(note.startswith("group: the city, 3 groups (aachen, bochum, lindau)") for note in data.notes)
    assert [(s.id, s.group) for s in data.samples] == [
        ("train/aachen_000000_000019", "aachen"),
        ("train/bochum_000000_000313", "bochum"),
        ("val/lindau_000000_000019", "lindau"),
    ]
    assert len(data.classes) == 19
    assert [data.classes.names[i] for i in (0, 6, 11, 18)] == ["road", "traffic light", "person", "bicycle"]
    assert data.read(data.samples[0]).mask.tolist() == TRAIN_IDS


def test_labels_that_are_not_evaluated_are_unlabelled(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path))
    sample = data.samples[0]
    assert sample.mask is not None
    save(
        sample.mask.path, np.array([[0, 1, 2, 3, 4, 5, 6, 9, 10, 14], [15, 16, 18, 29, 30, 255, 7, 7, 7, 7]], np.uint8)
    )
    assert data.read(sample).mask.tolist() == [[255] * 10, [255] * 6 + [0] * 4]


def test_a_frame_without_a_mask(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "gtFine/train/bochum/bochum_000000_000313_gtFine_labelIds.png").unlink()
    with pytest.raises(PairingError, match=r"bochum_000000_000313_leftImg8bit\.png has no mask"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert len(find_layout(tmp_path, problems=problems).samples) == 2
    assert [problem.kind for problem in problems] == ["unpaired"]
    assert len(find_layout(tmp_path, masks=False).samples) == 4
