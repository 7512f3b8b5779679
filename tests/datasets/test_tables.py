"""Class tables of other tools beside the masks."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskwright.datasets.tables import fitting_table

COLORS = ["#808080", "#804080", "#400080"]


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("class_dict.csv", "name,r,g,b\nSky,128,128,128\nRoad,128,64,128\nCar,64,0,128\n", COLORS),
        ("_classes.csv", "Pixel Value, Class\n0, Sky\n1, Road\n2, Car\n", [0, 1, 2, 255]),
        ("label_colors.txt", "128 128 128\tSky\n128 64 128\tRoad\n64 0 128\tCar\n", COLORS),
        ("classes.txt", "Sky\nRoad\nCar\n", [0, 2]),
        ("classes.json", '{"Sky": 0, "Road": 1, "Car": 2}', [0, 1, 2]),
        ("dataset.json", '{"labels": {"0": "Sky", "1": "Road", "2": "Car"}}', [0, 1]),
        (
            "meta.json",
            '{"classes": [{"name": "Sky", "id": 0}, {"name": "Road", "id": 1}, {"name": "Car", "id": 2}]}',
            [2],
        ),
        ("data.yaml", "names:\n  0: Sky\n  1: Road\n  2: Car\n", [0, 1, 2]),
        (
            "colors.json",
            '[{"label": "Sky", "color": "#808080"}, {"label": "Road", "color": [128, 64, 128]}]',
            COLORS[:2],
        ),
    ],
)
def test_names_are_found(name: str, text: str, values: list[int | str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = fitting_table([tmp_path], values)
    assert found is not None
    assert found[0].names == ["Sky", "Road", "Car"][: len(found[0])]
    assert found[1].name == name


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("info.json", '{"train": 1, "test": 0}', [0, 1]),  # counts of files, no classes
        ("data.txt", "a.png\nb.png\nc.png\n", [0, 1]),  # names of files
        ("classes.txt", "images/a\nimages/b\n", [0, 1]),
        ("classes.csv", "image,mask\na,b\nc,d\n", [0, 1]),
        ("class_dict.csv", "name,r,g,b\nSky,1,2,3\nRoad,4,5,6\n", [0, 1]),  # other values than the masks'
        ("classes.json", "not JSON", [0, 1]),
        ("classes.txt", "Sky\nRoad\n", [0, 1, 2]),  # a value that it does not know
    ],
)
def test_what_does_not_explain_the_values_is_not_used(
    name: str, text: str, values: list[int | str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    assert fitting_table([tmp_path], values) is None
