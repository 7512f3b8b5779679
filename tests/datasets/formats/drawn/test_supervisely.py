"""Supervisely: a small project in its own layout, against hand-counted pixels."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.drawn import supervisely
from maskwright.errors import DataError, EmptyDataError, PairingError

HEIGHT, WIDTH = 12, 16
META = {
    "classes": [
        {"id": 1, "title": "leaf", "shape": "polygon", "color": "#A01020", "geometry_config": {}, "hotkey": ""},
        {"id": 2, "title": "stem", "shape": "bitmap", "color": "#00ff00"},
        {"id": 3, "title": "tip", "shape": "point", "color": "#0000ff"},
    ],
    "tags": [],
    "projectType": "images",
}


def bitmap(mask: np.ndarray, mode: str) -> str:
    """As the SDK writes it (a palette of two, the first transparent), or as other tools do (grey, RGBA)."""
    grey = PillowImage.fromarray(mask.astype(np.uint8) * 255)
    file = io.BytesIO()
    if mode == "palette":
        grey.putpalette([0, 0, 0, 255, 255, 255])
        picture = PillowImage.fromarray(mask.astype(np.uint8))
        picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(file, "PNG", transparency=0)
    elif mode == "rgba":
        PillowImage.merge("RGBA", (grey, grey, grey, grey)).save(file, "PNG")
    else:
        grey.save(file, "PNG")
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def figure(title: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"id": 1, "classId": 2, "description": "", "tags": [], "classTitle": title, "geometryType": kind, **more}


def points(exterior: Any, *interior: Any) -> dict[str, Any]:
    return {"points": {"exterior": exterior, "interior": list(interior)}}


def write(root: Path, name: str, objects: list[Any], *, tags: tuple[str, ...] = (), suffix: str = ".json") -> None:
    for folder in ("img", "ann"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(root / "img" / name)
    content = {
        "description": "",
        "tags": [{"name": tag, "value": None} for tag in tags],
        "size": {"height": HEIGHT, "width": WIDTH},
        "objects": objects,
    }
    (root / "ann" / f"{name}{suffix}").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "meta.json").write_text(json.dumps(META))
    return tmp_path


@pytest.mark.parametrize("mode", ["palette", "rgba", "grey"])
def test_the_published_layout(root: Path, mode: str) -> None:
    ring, hole = [[1, 1], [8, 1], [8, 8], [1, 8]], [[3, 3], [5, 3], [5, 5], [3, 5]]
    stem = np.array([[1, 0, 1], [0, 1, 0]], bool)
    objects = [
        figure("leaf", "polygon", **points(ring, hole)),
        figure("stem", "bitmap", bitmap={"data": bitmap(stem, mode), "origin": [10, 4]}),
        figure("leaf", "rectangle", **points([[12, 9], [10, 7]])),
        figure("tip", "point", **points([[1, 1]])),
    ]
    write(root / "ds0", "a.png", objects)
    data = open_dataset(root)
    assert data.classes.names == ["background", "leaf", "stem"]
    assert data.classes.classes[1].color == (0xA0, 0x10, 0x20)
    # Whole numbers are pixels: corners 1 and 8 are eight pixels, and the outline of the hole is hole.
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:9, 1:9] = 1
    expected[3:6, 3:6] = 0
    expected[4:6, 10:13] = stem * 2
    expected[7:10, 10:13] = 1
    assert np.array_equal(data.read(data.samples[0]).mask, expected)
    assert data.notes[0] == f"{root}: Supervisely, 1 image with masks"
    assert any("1 objects of type point" in note for note in data.notes)


def test_fractions_are_places(root: Path) -> None:
    ring = [[1.0, 1.0], [4.0, 1.0], [4.0, 4.5], [1.0, 4.5]]
    objects = [figure("leaf", "polygon", **points(ring)), figure("leaf", "rectangle", **points([[8.4, 2], [11, 4]]))]
    write(root / "ds0", "a.png", objects)
    data = open_dataset(root)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:4, 1:4] = 1  # the centres at 4.5 lie on the lower edge, which is out
    expected[2:4, 8:11] = 1
    assert np.array_equal(data.read(data.samples[0]).mask, expected)


def test_splits_by_dataset_and_by_tag(root: Path) -> None:
    write(root / "train", "a.png", [])
    write(root / "val", "a.png", [])
    write(root / "more", "b.png", [], tags=("test", "night"), suffix="")
    (root / "more" / "ann" / "b.png").rename(root / "more" / "ann" / "b.json")
    data = open_dataset(root)
    assert [sample.id for sample in data.samples] == ["test/b", "train/a", "val/a"]
    only = open_dataset(root / "more")
    assert [sample.id for sample in only.samples] == ["test/b"]


def test_datasets_with_equal_names(root: Path) -> None:
    write(root / "day1", "a.png", [])
    write(root / "day2", "a.png", [])
    assert [sample.id for sample in open_dataset(root).samples] == ["day1/a", "day2/a"]


def test_what_is_wrong(root: Path) -> None:
    with pytest.raises(EmptyDataError, match="no datasets"):
        open_dataset(root)
    write(root / "ds0", "a.png", [figure("root", "polygon", **points([[1, 1], [8, 1], [8, 8]]))])
    with pytest.raises(DataError, match="class 'root'"):
        open_dataset(root)
    write(root / "ds0", "a.png", [figure("leaf", "polygon", **points([[1, 1], [8, 1]]))])
    with pytest.raises(DataError, match="2 corners"):
        open_dataset(root)
    write(root / "ds0", "a.png", [])
    (root / "ds0" / "img" / "a.png").unlink()
    with pytest.raises(PairingError, match="which is not there"):
        open_dataset(root)


def test_what_is_not_supervisely(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"classes": ["a"]}')
    assert supervisely.read(tmp_path, masks=True, problems=None) is None
    (tmp_path / "meta.json").write_text("{")
    assert supervisely.read(tmp_path, masks=True, problems=None) is None
