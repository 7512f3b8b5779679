"""Pascal VOC 2012."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.datasets.formats.voc import NAMES, colormap
from maskwright.datasets.problems import Problem
from maskwright.errors import ClassTableError, PairingError

INDICES = np.array([[0, 1, 2, 15], [20, 255, 0, 0]], np.uint8)


def save(path: Path, picture: PillowImage.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def voc(root: Path, *, colored: bool = False) -> Path:
    home = root / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"], "test": ["2008_000006"]}
    for split, stems in names.items():
        (lists / f"{split}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            save(home / "JPEGImages" / f"{stem}.jpg", PillowImage.new("RGB", (4, 2)))
            mask = PillowImage.fromarray(INDICES)
            mask.putpalette([part for index in range(256) for part in colormap(index)])
            if split != "test":
                save(home / "SegmentationClass" / f"{stem}.png", mask.convert("RGB") if colored else mask)
    (lists / "trainval.txt").write_text("2007_000032\n2007_000039\n2007_000033\n")
    save(home / "JPEGImages" / "2007_000027.jpg", PillowImage.new("RGB", (4, 2)))
    return root


@pytest.mark.parametrize("colored", [False, True])
@pytest.mark.parametrize("inner", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_published_layout(tmp_path: Path, inner: str, colored: bool) -> None:
    root = voc(tmp_path, colored=colored) / inner
    data = open_dataset(root)
    assert data.notes[0] == f"{root}: Pascal VOC, 3 images with masks (2 in train, 1 in val)"
    assert "test.txt: 1 image without published masks left out" in data.notes
    assert "1 image of JPEGImages are in no list for segmentation" in data.notes
    assert [sample.id for sample in data.samples] == ["train/2007_000032", "train/2007_000039", "val/2007_000033"]
    assert data.classes.names == list(NAMES)
    assert len(data.classes) == 21
    assert data.read(data.samples[0]).mask.tolist() == INDICES.tolist()
    assert len(open_dataset(root, masks=False).samples) == 4


def test_pillow_sees_the_same_indices_and_colours(tmp_path: Path) -> None:
    data = open_dataset(voc(tmp_path))
    sample = data.samples[0]
    assert sample.mask is not None
    with PillowImage.open(sample.mask.path) as picture:
        assert (np.asarray(picture) == data.read(sample).mask).all()
        colors = np.asarray(picture.convert("RGB"))
    labelled = INDICES != 255
    assert (data.classes.rgb(INDICES)[labelled] == colors[labelled]).all()
    assert colors[1, 1].tolist() == [224, 224, 192]


def test_colours_of_the_palette() -> None:
    # From the table of the development kit.
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: colormap(index) for index in known} == known
    assert colormap(255) == (224, 224, 192)


def test_missing_files(tmp_path: Path) -> None:
    home = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    (home / "SegmentationClass" / "2007_000039.png").unlink()
    (home / "JPEGImages" / "2007_000033.jpg").unlink()
    with pytest.raises(PairingError, match=r"train\.txt names 2007_000039, and .*SegmentationClass has no file"):
        find_layout(tmp_path)
    problems: list[Problem] = []
    assert [s.id for s in find_layout(tmp_path, problems=problems).samples] == ["train/2007_000032"]
    assert len(problems) == 2
    assert "JPEGImages has no file" in problems[1].what


def test_a_labelmap_of_other_classes(tmp_path: Path) -> None:
    home = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "leaf:10,20,30::", "stem:1,2,3::", "void:9,9,9::"]
    (home / "labelmap.txt").write_text("\n".join(lines))
    colors = np.array([[[0, 0, 0], [10, 20, 30], [1, 2, 3], [9, 9, 9]]] * 2, np.uint8)
    for path in (home / "SegmentationClass").iterdir():
        PillowImage.fromarray(colors).save(path)
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "leaf", "stem"]
    assert data.read(data.samples[0]).mask.tolist() == [[0, 1, 2, 255]] * 2
    (home / "labelmap.txt").write_text("background:0,0\nleaf:\n")
    with pytest.raises(ClassTableError, match=r"labelmap\.txt has the line 'background:0,0'"):
        find_layout(tmp_path)
