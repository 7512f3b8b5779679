"""Objects that cover no pixel are said to be lost in every format; a set without any other is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.drawn import rle
from maskwright.datasets.samples import Dataset
from maskwright.errors import DataError

HEIGHT, WIDTH = 20, 30
Ring = Sequence[tuple[float, float]]
GOOD: Ring = [(2, 2), (12, 2), (12, 12)]
LOST: dict[str, tuple[Ring, str]] = {
    "without area": ([(1, 1), (5, 5), (9, 9)], "covers no pixel"),
    "between centres": ([(1.6, 1.6), (1.9, 1.6), (1.9, 1.9)], "covers no pixel"),
    "outside": ([(40, 2), (50, 2), (50, 9)], "outside of its image"),
    "left of it": ([(-9, 2), (-1, 2), (-1, 9)], "outside of its image"),
    "fractions": ([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)], "within the first pixel"),
    "two corners": ([(1, 1), (9, 9)], "2 corners"),
}


def coco(root: Path, rings: Sequence[Ring]) -> None:
    flat = [[part for corner in ring for part in corner] for ring in rings]
    annotations = [{"id": i, "image_id": 1, "category_id": 1, "segmentation": [ring]} for i, ring in enumerate(flat)]
    write_coco(root, annotations, [{"id": 1, "name": "cell"}])


def write_coco(root: Path, annotations: list[dict[str, Any]], categories: list[dict[str, Any]]) -> None:
    images = [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (root / "x.json").write_text(json.dumps(content))


def labelme(root: Path, rings: Sequence[Ring]) -> None:
    shapes = [{"label": "cell", "shape_type": "polygon", "points": ring} for ring in rings]
    write_labelme(root / "a.json", shapes)


def write_labelme(path: Path, shapes: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    content = {"shapes": shapes, "imagePath": "a.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.write_text(json.dumps(content))


def cvat(root: Path, rings: Sequence[Ring]) -> None:
    points = [";".join(f"{x},{y}" for x, y in ring) for ring in rings]
    write_cvat(root, "".join(f'<polygon label="cell" points="{text}" z_order="0"/>' for text in points))


def write_cvat(root: Path, shapes: str) -> None:
    image = f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
    meta = "<meta><task><labels><label><name>cell</name></label></labels></task></meta>"
    (root / "annotations.xml").write_text(f"<annotations>{meta}{image}</annotations>")


WRITERS: list[Callable[[Path, Sequence[Ring]], None]] = [coco, labelme, cvat]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    PillowImage.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path


def covered(data: Dataset) -> list[int]:
    """Pixels of each class in the first sample."""
    return [int(n) for n in np.bincount(data.read(data.samples[0]).mask.ravel())]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kind", LOST)
def test_one_lost_is_a_warning_and_all_are_an_error(
    root: Path, write: Callable[[Path, Sequence[Ring]], None], kind: str
) -> None:
    ring, why = LOST[kind]
    write(root, [GOOD, ring])
    data = open_dataset(root)
    assert any("warning" in note and "1 object of 2 cannot be drawn" in note and why in note for note in data.notes)
    assert covered(data) == [HEIGHT * WIDTH - 55, 55]
    write(root, [ring])
    with pytest.raises(DataError, match=f"1 object of 1 cannot be drawn.*{why}"):
        open_dataset(root)


def test_shapes_that_cover_nothing_by_their_kind(root: Path) -> None:
    write_labelme(root / "a.json", [{"label": "cell", "shape_type": "line", "points": [(1, 1), (9, 9)]}])
    with pytest.raises(DataError, match="nothing can be drawn; there are only 1 points and lines"):
        open_dataset(root)
    (root / "a.json").unlink()
    write_cvat(root, '<polyline label="cell" points="1,1;9,9"/><skeleton label="cell"/>')
    with pytest.raises(DataError, match=r"only 1 shapes of type polyline.*; 1 shapes of type skeleton"):
        open_dataset(root)


def test_one_shape_without_a_label_is_left_out(root: Path) -> None:
    good = {"label": 7, "shape_type": "polygon", "points": GOOD}
    for label in (None, " "):
        write_labelme(root / "a.json", [good, {"label": label, "shape_type": "polygon", "points": LOST["outside"][0]}])
        data = open_dataset(root)
        assert any("1 object of 2 cannot be drawn: it has no label" in note for note in data.notes)
        assert (data.classes.names, covered(data)[1:]) == (["background", "7"], [55])
    (root / "a.json").unlink()
    write_cvat(root, '<polygon label="cell" points="2,2;12,2;12,12"/><polygon points="20,2;22,2;22,12"/>')
    data = open_dataset(root)
    assert any("1 object of 2 cannot be drawn: it has no label" in note for note in data.notes)
    assert (data.classes.names, covered(data)[1:]) == (["background", "cell"], [55])


def test_labelme_files_beside_the_images_folder_and_other_json(root: Path) -> None:
    (root / "images").mkdir()
    (root / "a.png").rename(root / "images" / "a.png")
    write_labelme(root / "json" / "a.json", [{"label": "cell", "shape_type": "polygon", "points": GOOD}])
    (root / "json" / "_settings.json").write_text('{"colour": "red"}')
    data = open_dataset(root)
    assert covered(data)[1] == 55
    assert any("left out: 1 JSON files that are not of Labelme" in note for note in data.notes)


@pytest.mark.parametrize(
    ("image", "category", "categories", "names"),
    [
        ("1", 5, [{"id": 5, "name": "cell"}], ["background", "cell"]),
        (1.0, "5", [{"id": 5, "name": "cell"}], ["background", "cell"]),
        (1, 5, [{"id": "5", "name": "cell"}], ["background", "cell"]),
        (1, "c5", [{"id": "c4", "name": "rest"}, {"id": "c5", "name": "cell"}], ["background", "rest", "cell"]),
    ],
)
def test_ids_of_coco_as_text(
    root: Path, image: object, category: object, categories: list[dict[str, Any]], names: list[str]
) -> None:
    ring = [part for corner in GOOD for part in corner]
    write_coco(root, [{"image_id": image, "category_id": category, "segmentation": [ring]}], categories)
    data = open_dataset(root)
    assert data.classes.names == names
    assert covered(data)[-1] == 55
    assert len(covered(data)) == len(names)


def test_objects_of_coco_without_image_or_category(root: Path) -> None:
    ring = [part for corner in GOOD for part in corner]
    annotations = [
        {"image_id": image, "category_id": category, "segmentation": [ring]}
        for image, category in ((1, 1), (9, 1), (1, None))
    ]
    write_coco(root, annotations, [{"id": 1, "name": "cell"}])
    notes = open_dataset(root).notes
    assert any("1 object of 2 cannot be drawn: its image is not listed" in note for note in notes)
    assert any("1 object of 2 cannot be drawn: it has no category" in note for note in notes)
    write_coco(root, annotations[1:2], [{"id": 1, "name": "cell"}])
    with pytest.raises(DataError, match="its image is not listed"):
        open_dataset(root)


def test_ways_to_write_run_lengths(root: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[3:9, 4:9] = True
    counts = rle.counts_of(mask, by_columns=True)
    text = rle.compress(counts)
    broken_up = [int(counts[0]), 1, 0, int(counts[1]) - 1, *counts[2:].tolist()]
    ways: list[Any] = [text, repr(text.encode()), counts.tolist(), broken_up]
    for way in ways:
        part = {"size": [HEIGHT, WIDTH], "counts": way}
        for segmentation in (part, [part]):
            write_coco(
                root, [{"image_id": 1, "category_id": 1, "segmentation": segmentation}], [{"id": 1, "name": "cell"}]
            )
            data = open_dataset(root)
            assert np.array_equal(data.read(data.samples[0]).mask == 1, mask)
