"""Labelme: a small set in its own layout, with every kind of shape, against hand-counted pixels."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.drawn import labelme
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Window
from maskwright.errors import DataError, PairingError

HEIGHT, WIDTH = 12, 16


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def shape(label: str, kind: str | None, points: Any, **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def write(root: Path, stem: str, shapes: list[Any], *, image: bool = True, **more: Any) -> Path:
    """A file with the keys and their order of Labelme 5."""
    root.mkdir(parents=True, exist_ok=True)
    if image:
        PillowImage.fromarray(np.full((HEIGHT, WIDTH, 3), 7, np.uint8)).save(root / f"{stem}.jpg")
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{stem}.jpg",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    path = root / f"{stem}.json"
    path.write_text(json.dumps(content | more))
    return path


def mask_of(root: Path, place: int = 0) -> np.ndarray:
    data = open_dataset(root)
    mask: np.ndarray = data.read(data.samples[place]).mask
    return mask


SQUARE = [[1, 1], [9, 1], [9, 9], [1, 9]]


def test_every_kind_of_shape(tmp_path: Path) -> None:
    hole = np.zeros((3, 2), bool)
    hole[:, 1] = True
    write(
        tmp_path,
        "a",
        [
            shape("cell", "polygon", SQUARE),
            shape("wall", "rectangle", [[14.0, 12.0], [12.0, 0.0]]),
            shape("cell", "circle", [[6.5, 6.5], [7.5, 6.5]]),
            shape("debris", "mask", [[2.0, 3.0], [3.0, 5.0]], mask=png(hole)),
            shape("__ignore__", None, [[0, 10], [4, 10], [4, 12], [0, 12]]),
            shape("_background_", "polygon", [[5, 5], [8, 5], [8, 8], [5, 8]]),
            shape("tip", "point", [[3, 3]]),
            shape("tip", "linestrip", [[3, 3], [4, 5]]),
        ],
    )
    data = open_dataset(tmp_path)
    assert data.classes.names == ["background", "cell", "debris", "tip", "wall"]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:9, 1:9] = 1
    expected[:, 12:14] = 4
    expected[3:6, 3] = 2
    expected[10:, :4] = 255
    expected[5:8, 5:8] = 0  # the background lies over the circle, which lies within
    assert np.array_equal(data.read(data.samples[0]).mask, expected)
    assert data.notes[0] == f"{tmp_path}: Labelme, 1 image with masks"
    assert any("2 points and lines, which cover no pixels" in note for note in data.notes)
    source = data.samples[0].mask
    assert source is not None
    assert np.array_equal(source.cut(Window(2, 2, 5, 6)).read_mask(), source.read_mask()[2:7, 2:8])


def test_a_circle(tmp_path: Path) -> None:
    write(tmp_path, "a", [shape("cell", "circle", [[6.5, 6.5], [6.5, 8.0]])])
    mask = mask_of(tmp_path)
    assert mask.sum() == 9
    assert mask[5:8, 5:8].all()


def test_labels_txt_gives_the_order(tmp_path: Path) -> None:
    write(tmp_path, "a", [shape("cell", "polygon", SQUARE), shape("axon", "polygon", SQUARE)])
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndendrite\ncell\n")
    assert open_dataset(tmp_path).classes.names == ["background", "dendrite", "cell", "axon"]


def test_images_elsewhere_beside_and_within(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "json"
    write(folder, "a", [shape("cell", "polygon", SQUARE)], imagePath="..\\img\\picture.png", image=False)
    (tmp_path / "data" / "img").mkdir()
    PillowImage.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "data" / "img" / "picture.png")
    write(folder, "b", [], imagePath="C:\\lost\\b.png")
    pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    write(folder, "c", [], image=False, imageData=png(pixels))
    data = open_dataset(tmp_path / "data")
    assert [sample.id for sample in data.samples] == ["a", "b", "c"]
    assert data.samples[0].image.path == tmp_path / "data" / "img" / "picture.png"
    assert data.samples[1].image.path == folder / "b.jpg"
    embedded = data.samples[2].image
    assert np.array_equal(embedded.read_image().pixels[..., 0], pixels)
    assert np.array_equal(embedded.cut(Window(1, 2, 3, 4)).read_image().pixels[..., 0], pixels[1:4, 2:6])
    assert any("1 images are taken from imageData" in note for note in data.notes)


def test_splits_and_images_without_a_file(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split, "a", [shape("cell", "polygon", SQUARE)])
    PillowImage.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "val" / "new.png")
    data = open_dataset(tmp_path)
    assert [sample.id for sample in data.samples] == ["train/a", "val/a"]
    assert any("1 image left out, without a JSON file: new.png" in note for note in data.notes)


def test_missing_images(tmp_path: Path) -> None:
    write(tmp_path, "a", [])
    write(tmp_path, "b", [], image=False)
    with pytest.raises(PairingError, match=r"describes the image b.json, which is not there"):
        open_dataset(tmp_path)
    problems: list[Problem] = []
    layout = labelme.read(tmp_path, masks=True, problems=problems)
    assert layout is not None
    assert len(layout.samples) == len(problems) == 1


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (shape("cell", "polygon", [[1, 1], [2, 2]]), "has 2 corners"),
        (shape("cell", "mask", [[0, 0], [1, 1]], mask="AAAA"), "picture is damaged"),
        (shape("cell", "cuboid", SQUARE), "of this type are unknown"),
        ({"points": SQUARE}, "has no label"),
    ],
)
def test_damaged_shapes(tmp_path: Path, entry: dict[str, Any], text: str) -> None:
    write(tmp_path, "a", [entry])
    with pytest.raises(DataError, match=text) as error:
        open_dataset(tmp_path)
    assert "a.json" in str(error.value)
    write(tmp_path, "b", [])
    problems: list[Problem] = []
    layout = labelme.read(tmp_path, masks=True, problems=problems)
    assert layout is not None
    assert [sample.id for sample in layout.samples] == ["a", "b"]
    assert [problem.kind for problem in problems] == ["lost-objects"]
    # Beside an object that can be drawn it is a warning, and the other stays.
    write(tmp_path, "b", [shape("cell", "polygon", SQUARE)])
    data = open_dataset(tmp_path)
    assert any(note.startswith("warning:") and "1 object of 2" in note for note in data.notes)


def test_boxes_are_said_to_be_boxes(tmp_path: Path) -> None:
    write(tmp_path, "a", [shape("cell", "rectangle", [[1, 1], [4, 5]])])
    assert any("all 1 shape are rectangles (boxes)" in note for note in open_dataset(tmp_path).notes)
    write(tmp_path, "b", [shape("cell", "polygon", [[1, 1], [5, 2], [3, 6]])])
    assert not any("rectangles" in note for note in open_dataset(tmp_path).notes)


def test_oriented_rectangles_are_polygons(tmp_path: Path) -> None:
    write(tmp_path, "a", [shape("cell", "oriented_rectangle", [[1, 1], [5, 1], [5, 4], [1, 4]])])
    data = open_dataset(tmp_path)
    assert (data.read(data.samples[0]).mask == 1).sum() == 12


def test_what_is_not_labelme(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"objects": []}')
    assert labelme.read(tmp_path, masks=True, problems=None) is None
    (tmp_path / "a.json").write_text("[1, 2")
    assert labelme.read(tmp_path, masks=True, problems=None) is None
    assert labelme.read(tmp_path / "a.json", masks=True, problems=None) is None
    write(tmp_path, "a", [])
    (tmp_path / "masks").mkdir()
    assert labelme.read(tmp_path, masks=True, problems=None) is None
