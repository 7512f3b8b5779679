"""CVAT for images 1.1: a small export in its own layout, against hand-counted pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.drawn import cvat
from maskwright.datasets.problems import Problem
from maskwright.errors import DataError, PairingError

HEIGHT, WIDTH = 12, 16

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>4</id>
      <name>leaves</name>
      <labels>
        <label><name>leaf</name><color>#ff6037</color><type>any</type><attributes></attributes></label>
        <label><name>stem</name><color>#66ff66</color><type>polygon</type><attributes></attributes></label>
        <label><name>knee</name><type>points</type><parent>skeleton</parent></label>
      </labels>
    </task>
  </meta>
"""
SQUARE = '<polygon label="leaf" source="manual" occluded="0" points="1.00,1.00;9.00,1.00;9.00,9.00;1.00,9.00" {}/>'


def image(name: str, shapes: str, more: str = "") -> str:
    return f'  <image id="0" name="{name}" {more}width="{WIDTH}" height="{HEIGHT}">\n{shapes}\n  </image>\n'


def write(root: Path, images: str, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(root / name)
    (root / "annotations.xml").write_text(f"{HEAD}{images}</annotations>\n")
    return root


def test_every_kind_of_shape(tmp_path: Path) -> None:
    shapes = (
        SQUARE.format('z_order="1"')
        + '<box label="stem" occluded="0" xtl="0.00" ytl="4.00" xbr="16.00" ybr="6.00" z_order="0"/>'
        + '<mask label="stem" rle="1, 2, 3" left="4" top="2" width="3" height="2" z_order="2"></mask>'
        + '<ellipse label="leaf" cx="13.50" cy="9.50" rx="1.50" ry="1.50" z_order="0"/>'
        + '<polyline label="stem" points="1.0,1.0;2.0,2.0" z_order="0"/><tag label="leaf"></tag>'
    )
    root = write(tmp_path, image("a.jpg", shapes), "images/a.jpg")
    data = open_dataset(root)
    assert data.classes.names == ["background", "leaf", "stem"]
    assert data.classes.classes[1].color == (0xFF, 0x60, 0x37)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[4:6] = 2
    expected[8:11, 12:15] = 1
    expected[1:9, 1:9] = 1
    expected[2, 5:7] = 2  # run lengths 1, 2, 3: the second and third of the first row
    assert np.array_equal(data.read(data.samples[0]).mask, expected)
    assert data.notes[0] == f"{root}: CVAT, 1 image with masks"
    assert any("1 shapes of type polyline" in note for note in data.notes)


def test_turned_boxes_and_ellipses(tmp_path: Path) -> None:
    shapes = '<box label="leaf" xtl="2" ytl="4" xbr="8" ybr="6" rotation="90"/>'
    shapes += '<ellipse label="stem" cx="11.5" cy="5.5" rx="3" ry="1" rotation="90"/>'
    data = open_dataset(write(tmp_path, image("a.jpg", shapes), "a.jpg"))
    mask = data.read(data.samples[0]).mask
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:8, 4:6] = True
    assert np.array_equal(mask == 1, expected)
    assert np.flatnonzero((mask == 2)[:, 11]).tolist() == [2, 3, 4, 5, 6, 7, 8]


def test_subsets_and_folders(tmp_path: Path) -> None:
    images = image("a.jpg", "", 'subset="Train" ') + image("a.jpg", SQUARE.format(""), 'subset="Validation" ')
    root = write(tmp_path, images, "images/Train/a.jpg", "images/Validation/a.jpg")
    data = open_dataset(root)
    assert [(sample.id, sample.image.path.parent.name) for sample in data.samples] == [
        ("train/a", "Train"),
        ("val/a", "Validation"),
    ]
    assert data.read(data.samples[1]).mask.sum() == 64
    assert len(open_dataset(root / "annotations.xml").samples) == 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (image("a.jpg", SQUARE.replace("9.00,9.00;1.00,9.00", "x").format("")), "its polygon is damaged.*'leaf'"),
        (image("a.jpg", '<mask label="leaf" rle="1, 2" left="0" top="0" width="3" height="2"/>'), "cover 3 pixels"),
        (image("a.jpg", "")[:-12], "mismatched tag"),
        ('<track id="0" label="leaf"></track>', "CVAT for video"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str, text: str) -> None:
    with pytest.raises(DataError, match=text) as error:
        open_dataset(write(tmp_path, content, "a.jpg"))
    assert "annotations.xml" in str(error.value)


def test_damaged_images_are_noted_and_left_out(tmp_path: Path) -> None:
    content = image("a.jpg", SQUARE.replace(";", ",").format("")) + image("b.jpg", "")
    write(tmp_path, content, "a.jpg", "b.jpg")
    problems: list[Problem] = []
    layout = cvat.read(tmp_path, masks=True, problems=problems)
    assert layout is not None
    assert [sample.id for sample in layout.samples] == ["a", "b"]
    assert [(problem.level, problem.kind) for problem in problems] == [("error", "lost-objects")]


def test_missing_images(tmp_path: Path) -> None:
    with pytest.raises(PairingError, match=r"a.jpg, which is not there"):
        open_dataset(write(tmp_path, image("a.jpg", "")))


def test_what_is_not_cvat(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation><object/></annotation>")
    assert cvat.read(tmp_path, masks=True, problems=None) is None
    assert cvat.read(tmp_path / "a.xml", masks=True, problems=None) is None
    write(tmp_path, image("a.jpg", ""), "a.jpg")
    (tmp_path / "masks").mkdir()
    assert cvat.read(tmp_path, masks=True, problems=None) is None
