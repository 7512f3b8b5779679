"""Split text files."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskwright.datasets.formats import find_layout
from maskwright.datasets.formats.layout import Layout
from maskwright.datasets.problems import Problem
from maskwright.errors import PairingError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def pairs(layout: Layout, root: Path) -> dict[str, tuple[str, str]]:
    return {
        s.id: (s.image.path.relative_to(root).as_posix(), s.mask.path.relative_to(root).as_posix())
        for s in layout.samples
        if s.mask
    }


@pytest.mark.parametrize("place", ["", "splits/", "lists/", "ImageSets/Segmentation/"])
@pytest.mark.parametrize("line", ["{}", "{}.jpg", "images/{}.jpg"])
def test_stems_and_file_names(tmp_path: Path, place: str, line: str) -> None:
    touch(tmp_path, *[f"images/{n}.jpg" for n in "abcd"], *[f"masks/{n}.png" for n in "abcd"])
    touch(tmp_path, f"{place}train.txt")
    (tmp_path / f"{place}train.txt").write_text(f"# two\n{line.format('b')}\n\n{line.format('a')}\n")
    (tmp_path / f"{place}val.txt").write_text(line.format("c"))
    found = find_layout(tmp_path)
    assert pairs(found, tmp_path) == {
        "train/b": ("images/b.jpg", "masks/b.png"),
        "train/a": ("images/a.jpg", "masks/a.png"),
        "val/c": ("images/c.jpg", "masks/c.png"),
    }
    assert [sample.split for sample in found.samples] == ["train", "train", "val"]
    assert found.notes[0] == f"{tmp_path}: lists train.txt, val.txt, 3 images with masks (2 in train, 1 in val)"
    assert any("1 image in no list left out: d.jpg" in note for note in found.notes)


def test_the_lists_of_segnet_with_paths_of_another_machine(tmp_path: Path) -> None:
    # Not the names of CamVid, whose own reader comes before.
    touch(tmp_path, "frames/a.png", "truth/a.png", "frames/b.png", "truth/b.png")
    lines = [f"/SegNet/Data/frames/{n}.png /SegNet/Data/truth/{n}.png\n" for n in "ab"]
    (tmp_path / "train.txt").write_text(lines[0])
    (tmp_path / "test.txt").write_text(lines[1])
    found = find_layout(tmp_path)
    assert pairs(found, tmp_path) == {
        "train/a": ("frames/a.png", "truth/a.png"),
        "test/b": ("frames/b.png", "truth/b.png"),
    }
    assert f"paths that begin with /SegNet/Data/ are read below {tmp_path}" in found.notes


@pytest.mark.parametrize("between", [" ", "\t", ", ", ","])
def test_pairs_with_blanks_in_their_names(tmp_path: Path, between: str) -> None:
    touch(tmp_path, "my images/a 1.jpg", "my masks/a 1.png")
    (tmp_path / "train.txt").write_text(f"my images/a 1.jpg{between}my masks/a 1.png\n")
    assert pairs(find_layout(tmp_path), tmp_path) == {"train/a 1": ("my images/a 1.jpg", "my masks/a 1.png")}


def test_one_list_in_place_of_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "images/b.png", "masks/b.png", "classes.toml")
    (tmp_path / "mine.txt").write_text("b\n")
    found = find_layout(tmp_path / "mine.txt")
    assert pairs(found, tmp_path) == {"b": ("images/b.png", "masks/b.png")}
    assert found.table == tmp_path / "classes.toml"


def test_missing_and_doubled_entries(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "images/b.png", "masks/b.png")
    for text, what in (("a\nnone\n", "names none, which cannot be used"), ("a\na\n", "named twice")):
        (tmp_path / "train.txt").write_text(text)
        with pytest.raises(PairingError, match=what):
            find_layout(tmp_path)
    problems: list[Problem] = []
    (tmp_path / "train.txt").write_text("images/a.png masks/a.png\nimages/b.png masks/none.png\n")
    found = find_layout(tmp_path, problems=problems)
    assert [sample.id for sample in found.samples] == ["train/a"]
    (problem,) = problems
    assert problem.files == (tmp_path / "train.txt",)
    assert "masks/none.png" in problem.what
    assert "Correct line 2" in problem.remedy


def test_split_folders_go_before_lists(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.png", "train/masks/a.png")
    (tmp_path / "train.txt").write_text("a\n")
    assert find_layout(tmp_path).format == "folder"


def test_without_masks(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png")
    (tmp_path / "train.txt").write_text("b\n")
    (sample,) = find_layout(tmp_path, masks=False).samples
    assert (sample.id, sample.mask) == ("train/b", None)
