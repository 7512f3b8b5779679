"""Label Studio: regions in hundredths against hand-counted pixels, and brush masks as its own SDK encodes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.drawn import labelstudio
from maskwright.errors import DataError, PairingError

HEIGHT, WIDTH = 6, 9
BRUSH = bytes.fromhex("000000d8391bfe2b00c27ff7c027ff8c027ffbe0184fff278000")
"""What `mask2rle` of label-studio-sdk 2.1.2 makes of a mask of rows 1 to 3, columns 2 to 6, without row 2, column 4."""


def region(kind: str, value: dict[str, Any], label: str = "cell", name: str = "r1", **other: Any) -> dict[str, Any]:
    labels = {f"{kind}labels": [label]} if label else {}
    whole = {"id": name, "type": f"{kind}labels", "original_width": WIDTH, "original_height": HEIGHT}
    return whole | {"image_rotation": 0, "value": value | labels} | other


def rectangle(left: int, top: int, right: int, bottom: int, **other: Any) -> dict[str, Any]:
    value = {"x": left / WIDTH, "y": top / HEIGHT, "width": (right - left) / WIDTH, "height": (bottom - top) / HEIGHT}
    return region("rectangle", {key: 100 * number for key, number in value.items()}, **other)


def write(root: Path, *results: list[dict[str, Any]], image: str = "/data/upload/1/1a2b3c4d-{}.png") -> Path:
    (root / "images").mkdir(exist_ok=True)
    tasks = []
    for name, result in zip("abc", results, strict=False):
        PillowImage.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(root / "images" / f"{name}.png")
        tasks.append({"id": 1, "data": {"image": image.format(name)}, "annotations": [{"result": result}]})
    (root / "export.json").write_text(json.dumps(tasks))
    return root


def masks(root: Path) -> list[np.ndarray]:
    data = open_dataset(root)
    return [data.read(sample).mask for sample in data.samples]


def test_shapes_in_hundredths(tmp_path: Path) -> None:
    box = np.zeros((HEIGHT, WIDTH), np.uint8)
    box[1:4, 2:7] = 1
    corners = [[200 / 9, 100 / 6], [700 / 9, 100 / 6], [700 / 9, 400 / 6], [200 / 9, 400 / 6]]
    turned = {"x": 700 / 9, "y": 100 / 6, "width": 300 / 9, "height": 500 / 6, "rotation": 90}
    root = write(tmp_path, [rectangle(2, 1, 7, 4)], [region("polygon", {"points": corners})])
    assert all(np.array_equal(mask, box) for mask in masks(root))
    data = open_dataset(root)
    assert data.notes[0] == f"{root}: Label Studio, 2 images with masks"
    assert data.classes.names == ["background", "cell"]
    # Turned by 90 degrees about its first corner, 3 across and 5 down become 5 to the left and 3 down.
    (tmp_path / "turned").mkdir()
    (mask,) = masks(write(tmp_path / "turned", [region("rectangle", turned)]))
    assert np.array_equal(mask, box)


def test_ellipses_and_later_regions_on_top(tmp_path: Path) -> None:
    round_ = {"x": 50, "y": 50, "radiusX": 100 / 9, "radiusY": 100 / 6, "rotation": 0}
    (mask,) = masks(write(tmp_path, [rectangle(0, 0, 9, 6, label="b", name="r0"), region("ellipse", round_, "a")]))
    expected = np.full((HEIGHT, WIDTH), 2, np.uint8)
    expected[2:4, 4] = 1  # centres (4.5, 2.5) and (4.5, 3.5) lie within 1 of (4.5, 3), their neighbours do not
    assert np.array_equal(mask, expected)


def test_brush_masks(tmp_path: Path) -> None:
    value = {"format": "rle", "rle": list(BRUSH)}
    apart = [region("brush", value, "", type="brush"), {"id": "r1", "type": "labels", "value": {"labels": ["cell"]}}]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:4, 2:7] = 1
    expected[2, 4] = 0
    for mask in masks(write(tmp_path, [region("brush", value)], apart)):
        assert np.array_equal(mask, expected)
    for damage in ({"rle": list(BRUSH[:-3])}, {"format": "png"}, {"rle": [0, 0, 0, 4, *BRUSH[4:]]}):
        root = write(tmp_path, [rectangle(0, 0, 3, 3), region("brush", value | damage, name="r2")])
        assert any("1 object of 2 cannot be drawn: its brush is damaged" in note for note in open_dataset(root).notes)


def test_runs_of_one_word_and_of_many() -> None:
    # 5 values of 8 bits, run sizes of 4 bits: three times 7 (repeated), then 1 and 2 as they are.
    head = f"{5:032b}" + f"{7:05b}" + "0011" * 4
    bits = head + "1" + "00" + f"{2:04b}" + f"{7:08b}" + "0" + "00" + f"{1:04b}" + f"{1:08b}" + f"{2:08b}"
    content = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert labelstudio.unpacked(content, 5).tolist() == [7, 7, 7, 1, 2]


def test_what_is_left_out(tmp_path: Path) -> None:
    point = region("keypoint", {"x": 1, "y": 1}, name="r2")
    root = write(tmp_path, [rectangle(0, 0, 3, 3), point, rectangle(0, 0, 2, 2, label="", name="r3")], [], [])
    tasks = json.loads((root / "export.json").read_text())
    tasks[0]["annotations"].append({"result": []})
    tasks[0]["annotations"].insert(0, {"result": [], "was_cancelled": True})
    tasks[2]["annotations"] = []
    (root / "export.json").write_text(json.dumps(tasks))
    data = open_dataset(root)
    assert [int(data.read(sample).mask.sum()) for sample in data.samples] == [9, 0]
    told = "\n".join(data.notes)
    for words in (
        "1 regions of type keypoint", "1 tasks without an annotation", "1 object of 2 cannot be drawn: it has no label",
        "1 further annotation of the same tasks", "1 image left out, without an annotation in export.json: c.png",
    ):  # fmt: skip
        assert words in told
    write(tmp_path, [point])
    with pytest.raises(DataError, match="only 1 regions of type keypoint"):
        open_dataset(root)


@pytest.mark.parametrize("image", ["https://host/x/{}.png?v=2", "/data/local-files/?d=set%2Fimages%2F{}.png", "{}.png"])
def test_addresses_of_images(tmp_path: Path, image: str) -> None:
    assert len(masks(write(tmp_path, [rectangle(0, 0, 3, 3)], image=image))) == 1
    write(tmp_path, [rectangle(0, 0, 3, 3)], image="s3://bucket/other.png")
    with pytest.raises(PairingError, match=r"describes the image s3://bucket/other\.png, which is not there"):
        open_dataset(tmp_path)
