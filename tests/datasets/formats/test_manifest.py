"""CSV manifests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.problems import Problem
from maskwright.errors import DataError, PairingError


def write(root: Path, text: str, name: str = "data.csv") -> Path:
    """A manifest, with an image and a mask of its place in the alphabet for each of scans/a..d."""
    for place, stem in enumerate("abcd"):
        for folder, value in (("scans", 100), ("truth", place % 2)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(np.full((2, 3), value, np.uint8)).save(root / folder / f"{stem}.png")
    (root / name).write_text(text, "utf-8-sig")
    return root


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_by_name(tmp_path: Path, separator: str) -> None:
    rows = [
        "Mask,image,group,split,age",
        "truth/a.png,scans/a.png,p1,train,7",
        "truth\\b.png,scans/b.png,p2,validation,8",
    ]
    write(tmp_path, "\n".join(rows).replace(",", separator))
    for path in (tmp_path, tmp_path / "data.csv"):
        data = open_dataset(path)
        assert [(s.id, s.split, s.group) for s in data.samples] == [("train/a", "train", "p1"), ("val/b", "val", "p2")]
        assert [data.read(s).mask.tolist()[0][0] for s in data.samples] == [0, 1]
        assert data.notes[0] == f"{path}: manifest data.csv, 2 images with masks (1 in train, 1 in val)"
        assert "data.csv: columns not read: age" in data.notes


def test_a_manifest_for_each_split(tmp_path: Path) -> None:
    write(tmp_path, "image,mask\nscans/a.png,truth/a.png\n", "train.csv")
    write(tmp_path, "image,mask\nscans/b.png,truth/b.png\n", "test.csv")
    assert [s.id for s in find_layout(tmp_path).samples] == ["test/b", "train/a"]
    write(tmp_path, "image,mask\nscans/b.png,truth/b.png\n", "other.csv")
    with pytest.raises(DataError, match=r"has other\.csv and test\.csv and train\.csv, and each reads as"):
        find_layout(tmp_path)


def test_a_valid_mask(tmp_path: Path) -> None:
    write(tmp_path, "image,mask,valid\nscans/a.png,truth/a.png,\nscans/b.png,truth/b.png,truth/a.png\n")
    data = open_dataset(tmp_path)
    assert [data.read(s).mask[0, 0] for s in data.samples] == [0, 255]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("scans/none.png,truth/a.png,", "line 3, names scans/none.png, which does not exist"),
        ("scans/b.png,,", "line 3, has no mask"),
        ("scans/a.png,truth/a.png,", "two rows for the image"),
    ],
)
def test_broken_rows(tmp_path: Path, row: str, what: str) -> None:
    write(tmp_path, f"image,mask,split\nscans/a.png,truth/a.png,\n{row}\n")
    with pytest.raises(PairingError, match=what):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert [s.id for s in find_layout(tmp_path, problems=problems).samples] == ["a"]
    assert len(problems) == 1


def test_a_split_that_is_none(tmp_path: Path) -> None:
    write(tmp_path, "image,mask,split\nscans/a.png,truth/a.png,trian\n")
    with pytest.raises(DataError, match=r"line 2: split = 'trian'\. Expected train, val, test"):
        find_layout(tmp_path)


def test_equal_stems_get_longer_ids(tmp_path: Path) -> None:
    write(tmp_path, "image,mask\nscans/a.png,truth/a.png\ntruth/a.png,truth/a.png\n")
    assert [s.id for s in find_layout(tmp_path).samples] == ["scans/a", "truth/a"]
