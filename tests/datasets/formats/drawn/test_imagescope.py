"""Annotations of Aperio ImageScope: layers are classes, a negative region is a hole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import find_layout, open_dataset
from maskwright.errors import DataError, PairingError


def region(number: int, corners: list[tuple[float, float]], hole: bool = False) -> str:
    inner = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
    return f'<Region Id="{number}" NegativeROA="{int(hole)}"><Vertices>{inner}</Vertices></Region>'


def layer(name: str, *regions: str, color: int = 255) -> str:
    return f'<Annotation Id="1" Name="{name}" LineColor="{color}"><Regions>{"".join(regions)}</Regions></Annotation>'


def write(root: Path, stem: str, *layers: str) -> None:
    (root / "Tissue Images").mkdir(parents=True, exist_ok=True)
    (root / "Annotations").mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    PillowImage.fromarray(pixels).save(root / f"Tissue Images/{stem}.tif")
    (root / f"Annotations/{stem}.xml").write_text(f"<?xml version='1.0'?><Annotations>{''.join(layers)}</Annotations>")


SQUARE = [(2.0, 3.0), (12.0, 3.0), (12.0, 13.0), (2.0, 13.0), (2.0, 10.0)]
INNER = [(5.0, 6.0), (8.0, 6.0), (8.0, 9.0), (5.0, 9.0)]
OTHER = [(10.0, 3.0), (20.0, 3.0), (20.0, 8.0), (10.0, 8.0)]


def test_regions_of_layers_are_classes(tmp_path: Path) -> None:
    write(tmp_path, "a", layer("tumour", region(1, SQUARE), region(2, INNER, hole=True), color=0x00FF00),
          layer("stroma", region(3, OTHER)))  # fmt: skip
    write(tmp_path, "b", layer("stroma", region(1, SQUARE)))
    data = open_dataset(tmp_path)
    assert list(data.classes.names) == ["background", "tumour", "stroma"]
    expected = np.zeros((20, 30), np.uint8)
    expected[3:13, 2:12] = 1
    expected[6:9, 5:8] = 0
    expected[3:8, 10:20] = 2
    first, second = (data.read(sample).mask for sample in data.samples)
    assert (first == expected).all()
    assert (second[3:13, 2:12] == 2).all()
    assert (second > 0).sum() == 100


def test_layers_without_a_name_are_foreground(tmp_path: Path) -> None:
    write(tmp_path, "a", layer("", region(1, SQUARE)))
    assert list(open_dataset(tmp_path).classes.names) == ["background", "foreground"]


def test_images_without_annotations_are_said_and_the_reverse_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a", layer("", region(1, SQUARE)))
    write(tmp_path, "b", layer("", region(1, SQUARE)))
    (tmp_path / "Annotations/b.xml").unlink()
    assert any("1 images without an XML file" in note for note in find_layout(tmp_path).notes)
    (tmp_path / "Tissue Images/a.tif").unlink()
    with pytest.raises(PairingError, match="the image a, which is not there"):
        find_layout(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a", layer("", region(1, SQUARE)))
    text = (tmp_path / "Annotations/a.xml").read_text()
    (tmp_path / "Annotations/a.xml").write_text(text[:-40])
    with pytest.raises(DataError, match=r"a.xml"):
        find_layout(tmp_path)
