"""COCO: a small set in the published layout, against hand-counted masks and against pycocotools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.drawn import coco
from maskwright.datasets.formats.drawn.rle import compress, counts_of
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Window
from maskwright.errors import ClassTableError, DataError, PairingError

# pycocotools 2.0.11 does not take NumPy 2's `copy` argument yet; a coming release may.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 8, 10
CATEGORIES = [
    {"supercategory": "animal", "id": 18, "name": "dog"},
    {"supercategory": "person", "id": 1, "name": "person"},
]
DOG = [1.0, 1.0, 9.0, 1.0, 9.0, 7.0, 1.0, 7.0]
PERSON = [2.0, 2.0, 5.0, 2.0, 5.0, 5.0, 2.0, 5.0]


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)


def annotation(number: int, image: int, category: int, segmentation: Any, crowd: int = 0) -> dict[str, Any]:
    return {
        "segmentation": segmentation,
        "area": 1.0,
        "iscrowd": crowd,
        "image_id": image,
        "bbox": [0, 0, 1, 1],
        "category_id": category,
        "id": number,
    }


def write(path: Path, names: list[str], annotations: list[Any] | None, categories: list[Any] = CATEGORIES) -> Path:
    """An annotation file with the keys in the order of the published ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"license": 1, "file_name": name, "coco_url": "", "height": HEIGHT, "width": WIDTH, "id": 100 + place}
        for place, name in enumerate(names)
    ]
    content: dict[str, Any] = {"info": {"year": 2017}, "licenses": [], "images": images}
    content |= {} if annotations is None else {"annotations": annotations}
    path.write_text(json.dumps(content | {"categories": categories}))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of train2017, of which one has no annotations, and one of val2017 with a crowd."""
    for name in ("train2017/000000000009.jpg", "train2017/000000000025.jpg", "val2017/000000000139.jpg"):
        picture(tmp_path / name)
    # The person, annotated first, lies on the dog.
    objects = [annotation(1, 100, 1, [PERSON]), annotation(2, 100, 18, [DOG])]
    write(tmp_path / "annotations" / "instances_train2017.json", ["000000000009.jpg", "000000000025.jpg"], objects)
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[3:5, 2:9] = True
    counts = counts_of(crowd, by_columns=True).tolist()
    write(
        tmp_path / "annotations" / "instances_val2017.json",
        ["000000000139.jpg"],
        [annotation(3, 100, 1, {"counts": counts, "size": [HEIGHT, WIDTH]}, crowd=1)],
    )
    (tmp_path / "annotations" / "captions_val2017.json").write_text('{"info": {}, "images": [], "annotations": []}')
    return tmp_path


def test_the_published_layout(root: Path) -> None:
    data = open_dataset(root)
    assert [sample.id for sample in data.samples] == [
        "train/000000000009",
        "train/000000000025",
        "val/000000000139",
    ]
    assert data.classes.names == ["background", "person", "dog"]
    assert [item.values for item in data.classes.classes] == [(0,), (1,), (18,)]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:7, 1:9] = 2
    expected[2:5, 2:5] = 1
    assert np.array_equal(data.read(data.samples[0]).mask, expected)
    assert (data.read(data.samples[1]).mask == 0).all()
    mask = data.read(data.samples[2]).mask
    assert mask[3:5, 2:9].all()
    assert mask.sum() == 14
    assert data.notes[0] == f"{root}: COCO, 3 images with masks (2 in train, 1 in val)"
    assert any("larger objects are drawn first" in note and "'background' (raw value 0)" in note for note in data.notes)
    assert any("1 image without annotations: all the class 'background'" in note for note in data.notes)


def test_pycocotools_sees_the_same(root: Path) -> None:
    tools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    data = open_dataset(root)
    for sample in data.samples:
        kind = "val" if sample.split == "val" else "train"
        api = tools.COCO(str(root / "annotations" / f"instances_{kind}2017.json"))
        (number,) = [i for i, image in api.imgs.items() if Path(image["file_name"]).stem == sample.id.split("/")[1]]
        expected = np.zeros((HEIGHT, WIDTH), int)
        found = sorted(api.loadAnns(api.getAnnIds(imgIds=[number])), key=lambda item: -int(api.annToMask(item).sum()))
        for item in found:
            expected[api.annToMask(item) == 1] = item["category_id"]
        assert sample.mask is not None
        assert np.array_equal(sample.mask.read_mask(), expected)


def test_compressed_runs_and_several_polygons_of_one_object(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    region = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    text = compress(counts_of(region, by_columns=True))
    parts = [[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 4, 1, 4]]
    write(
        tmp_path / "result.json",
        ["images/a.png"],
        [
            annotation(1, 100, 18, {"size": [HEIGHT, WIDTH], "counts": text}),
            annotation(2, 100, 1, parts),
        ],
    )
    expected = np.where(region, 2, 0)
    expected[:2, :2] = expected[1:4, 1:4] = 1
    for path in (tmp_path, tmp_path / "result.json"):
        data = open_dataset(path)
        assert np.array_equal(data.read(data.samples[0]).mask, expected)
        assert data.samples[0].id == "a"
        mask = data.samples[0].mask
        assert mask is not None
        assert np.array_equal(mask.cut(Window(2, 3, 4, 5)).read_mask(), mask.read_mask()[2:6, 3:8])
        assert mask.cut(Window(2, 3, 4, 5)).header().shape == (4, 5)


def test_stuff_leaves_the_rest_unlabelled_and_lies_under_things(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train2017" / "a.jpg")
    stuff = [{"id": 105, "name": "sky-other"}, {"id": 183, "name": "other"}]
    upper = annotation(1, 100, 105, [[0, 0, WIDTH, 0, WIDTH, 4, 0, 4]])
    other = annotation(2, 100, 183, [[0, 4, WIDTH, 4, WIDTH, 6, 0, 6]])
    write(tmp_path / "annotations" / "stuff_train2017.json", ["a.jpg"], [upper, other], stuff)
    data = open_dataset(tmp_path)
    assert data.classes.names == ["sky-other", "other"]
    mask = data.read(data.samples[0]).mask
    assert [mask[row, 0] for row in range(HEIGHT)] == [0, 0, 0, 0, 1, 1, 255, 255]

    write(tmp_path / "annotations" / "instances_train2017.json", ["a.jpg"], [annotation(3, 100, 1, [PERSON])])
    data = open_dataset(tmp_path)
    assert data.classes.names == ["person", "dog", "sky-other"]
    mask = data.read(data.samples[0]).mask
    assert [mask[row, 3] for row in range(HEIGHT)] == [2, 2, 0, 0, 0, 255, 255, 255]
    assert any("things are drawn over stuff" in note for note in data.notes)


def test_roboflow_folders_and_a_category_that_only_names_the_whole(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
    ]
    for split in ("train", "valid", "test"):
        picture(tmp_path / split / f"{split}.jpg")
        objects = [annotation(1, 100, 1, [PERSON])]
        write(tmp_path / split / "_annotations.coco.json", [f"{split}.jpg"], objects, categories)
    data = open_dataset(tmp_path)
    assert [sample.id for sample in data.samples] == ["test/test", "train/train", "val/valid"]
    assert data.classes.names == ["background", "cat"]
    assert data.read(data.samples[0]).mask.sum() == 9


def test_a_category_called_background_is_where_nothing_is_drawn(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    categories = [{"id": 0, "name": "Background"}, {"id": 7, "name": "cat", "color": [1, 2, 3]}]
    write(tmp_path / "labels.json", ["a.jpg"], [annotation(1, 100, 7, [PERSON])], categories)
    data = open_dataset(tmp_path)
    assert [(item.name, item.values) for item in data.classes.classes] == [("Background", (0, 1)), ("cat", (7,))]
    assert data.classes.classes[1].color == (1, 2, 3)


def test_same_names_in_two_folders_get_longer_ids(tmp_path: Path) -> None:
    for name in ("one/a.jpg", "two/a.jpg", "two/b.jpg"):
        picture(tmp_path / "images" / name)
    write(tmp_path / "instances.json", ["one/a.jpg", "two\\a.jpg", "two/b.jpg"], [])
    layout = coco.read(tmp_path, masks=True, problems=None)
    assert layout is not None
    assert [sample.id for sample in layout.samples] == ["b", "one/a", "two/a"]


def test_missing_images_are_an_error_and_unlisted_ones_a_note(root: Path) -> None:
    picture(root / "train2017" / "unlisted.jpg")
    (root / "train2017" / "000000000025.jpg").unlink()
    with pytest.raises(PairingError, match=r"000000000025.jpg, which is not there"):
        open_dataset(root)
    problems: list[Problem] = []
    layout = coco.read(root, masks=True, problems=problems)
    assert layout is not None
    assert [sample.id for sample in layout.samples] == ["train/000000000009", "val/000000000139"]
    assert [(problem.level, problem.kind) for problem in problems] == [("error", "unpaired")]
    assert any("1 image left out" in note and "unlisted.jpg" in note for note in layout.notes)


def test_many_missing_images_are_named_together(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "x.json", ["a.jpg", *[f"{n}.jpg" for n in range(9)]], [])
    with pytest.raises(PairingError, match=r"(?s)0.jpg.*4.jpg.*4 more like these"):
        open_dataset(tmp_path)


def test_without_masks_images_are_all_that_is_needed(root: Path) -> None:
    data = open_dataset(root, masks=False)
    assert len(data.samples) == 3
    assert all(sample.mask is None for sample in data.samples)


def test_what_has_no_outline_is_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    objects = [annotation(1, 100, 1, [PERSON]), annotation(2, 100, 1, []), annotation(3, 100, 1, [[1, 2, 3, 4]])]
    objects += [annotation(4, 999, 1, [PERSON])]
    write(tmp_path / "x.json", ["a.jpg"], objects)
    notes = open_dataset(tmp_path).notes
    assert any("1 object of 2 cannot be drawn: it has no outline, first in a.jpg" in note for note in notes)
    assert any("its outline is broken, first in a.jpg" in note and "(it has 2 corners" in note for note in notes)
    assert any("1 object of 2 cannot be drawn: its image is not listed" in note for note in notes)
    problems: list[Problem] = []
    coco.read(tmp_path, masks=True, problems=problems)
    assert ("warning", "lost-objects") in {(problem.level, problem.kind) for problem in problems}


def test_one_part_without_area_costs_that_part_only(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    square = [1, 1, 5, 1, 5, 5, 1, 5]
    write(tmp_path / "x.json", ["a.jpg"], [annotation(1, 100, 1, [square, [7, 7, 8, 8], [1, 1, 5, 5]])])
    data = open_dataset(tmp_path)
    assert (data.read(data.samples[0]).mask == 1).sum() == 16
    assert any("2 parts of objects (rings) that cannot be drawn" in note for note in data.notes)


def test_all_objects_lost_is_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "x.json", ["a.jpg"], [annotation(1, 100, 1, [[1, 2, 3, 4]])])
    with pytest.raises(DataError, match="1 object of 1 cannot be drawn"):
        open_dataset(tmp_path)


def boxes(path: Path) -> None:
    write(path, ["a.jpg"], [{"id": 1, "image_id": 100, "category_id": 1, "bbox": [0, 0, 3, 3]}])


def truncated(path: Path) -> None:
    write(path, ["a.jpg"], [])
    path.write_text(path.read_text()[:-9])


def strange_category(path: Path) -> None:
    write(path, ["a.jpg"], [annotation(1, 100, 99, [PERSON])])


def another_size(path: Path) -> None:
    write(path, ["a.jpg"], [annotation(1, 100, 1, {"size": [2, 2], "counts": [0, 4]})])


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (boxes, "boxes and no outlines"),
        (truncated, "cannot be read"),
        (strange_category, "has the category 99"),
        (another_size, "of 2 x 2 pixels, and it is 10 x 8"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: Callable[[Path], None], text: str) -> None:
    picture(tmp_path / "a.jpg")
    damage(tmp_path / "x.json")
    with pytest.raises(DataError, match=text) as error:
        open_dataset(tmp_path)
    assert "x.json" in str(error.value)


def test_files_that_disagree_on_a_category(root: Path) -> None:
    write(root / "annotations" / "instances_val2017.json", ["000000000139.jpg"], [], [{"id": 1, "name": "cat"}])
    with pytest.raises(ClassTableError, match=r"'person' in .*'cat' in"):
        open_dataset(root)


def test_what_is_not_coco(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": "5.0", "images": 1, "categories": 2}')
    (tmp_path / "b.json").write_text('{"info": 1, "annotations": [{"image_id": 1, "caption": "x"}], "images": []}')
    (tmp_path / "c.json").write_text('{"images": [], "annotations": [{"segments_info": []}], "categories": []}')
    (tmp_path / "d.json").write_bytes(b"")
    assert coco.read(tmp_path, masks=True, problems=None) is None
    assert coco.read(tmp_path / "nowhere", masks=True, problems=None) is None
    write(tmp_path / "e.json", [], [])
    (tmp_path / "masks").mkdir()
    assert coco.read(tmp_path, masks=True, problems=None) is None
