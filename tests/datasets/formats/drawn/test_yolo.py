"""YOLO segmentation: small sets in the layouts of Ultralytics and Roboflow, against hand-counted pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.drawn import yolo
from maskwright.datasets.problems import Problem
from maskwright.errors import DataError, PairingError

HEIGHT, WIDTH = 10, 20
LARGE = "1 0.05 0.1 0.45 0.1 0.45 0.9 0.05 0.9\n"  # 1..9 x 1..9
SMALL = "0 0.1 0.2 0.2 0.2 0.2 0.4 0.1 0.4\n"  # 2..4 x 2..4
NAMES = "path: .  # root\ntrain: images/train\nval: images/val\ntest:\n\nnames:\n  0: cat\n  1: dog\n"


def write(root: Path, *names: str, **labels: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(root / name)
    for name, text in labels.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".txt").write_text(text)
    return root


def test_the_published_layout(tmp_path: Path) -> None:
    names = ("images/train/a.jpg", "images/train/b.jpg", "images/val/c.jpg")
    root = write(tmp_path, *names, labels__train__a=SMALL + LARGE, labels__val__c="")
    (root / "data.yaml").write_text(NAMES)
    data = open_dataset(root)
    assert [sample.id for sample in data.samples] == ["train/a", "train/b", "val/c"]
    assert [(item.name, item.values) for item in data.classes.classes] == [
        ("background", (0,)), ("cat", (1,)), ("dog", (2,)),
    ]  # fmt: skip
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:9, 1:9] = 2
    expected[2:4, 2:4] = 1  # the smaller lies on top, though it is written first
    assert np.array_equal(data.read(data.samples[0]).mask, expected)
    assert not data.read(data.samples[1]).mask.any()
    assert not data.read(data.samples[2]).mask.any()
    assert data.notes[0] == f"{root}: YOLO, 3 images with masks (2 in train, 1 in val)"
    assert any("1 image without a label file: background only" in note for note in data.notes)
    assert len(open_dataset(root / "data.yaml").samples) == 3
    assert len(open_dataset(root, masks=False).samples) == 3


def test_roboflow(tmp_path: Path) -> None:
    names = ("train/images/a.jpg", "valid/images/a.jpg")
    root = write(tmp_path / "set", *names, train__labels__a=SMALL, valid__labels__a=LARGE)
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['cat', 'dog']\n\n"
        "roboflow:\n  workspace: x\n  project: y\n"
    )
    data = open_dataset(root)
    assert [sample.id for sample in data.samples] == ["train/a", "val/a"]
    assert int((data.read(data.samples[0]).mask == 1).sum()) == 4
    assert int((data.read(data.samples[1]).mask == 2).sum()) == 64


def test_lists_of_images(tmp_path: Path) -> None:
    root = write(tmp_path, "images/a.jpg", "images/b.jpg", labels__a=SMALL, labels__b=LARGE)
    (root / "data.yaml").write_text("train: train.txt\nval: [val.txt]\nnames: {0: cat, 1: dog}\n")
    (root / "train.txt").write_text("./images/a.jpg\n")
    (root / "val.txt").write_text("./images/b.jpg\n")
    data = open_dataset(root)
    assert [sample.id for sample in data.samples] == ["train/a", "val/b"]
    (root / "val.txt").write_text("./images/c.jpg\n")
    with pytest.raises(PairingError, match="which is not there"):
        yolo.read(root, masks=False, problems=None)


def test_without_data_yaml(tmp_path: Path) -> None:
    root = write(tmp_path, "images/a.jpg", "images/b.jpg", labels__a=SMALL, labels__b=LARGE)
    assert open_dataset(root).classes.names == ["background", "class 0", "class 1"]
    (root / "classes.txt").write_text("cat\ndog\n")
    data = open_dataset(root)
    assert data.classes.names == ["background", "cat", "dog"]
    assert [sample.split for sample in data.samples] == [None, None]


def test_classes_toml_overrides(tmp_path: Path) -> None:
    root = write(tmp_path, "images/a.jpg", labels__a=LARGE + SMALL)
    (root / "classes.toml").write_text(
        '[[class]]\nname = "rest"\nvalue = [0, 1]\n[[class]]\nname = "dog"\nvalue = 2\ncolor = "#010203"\n'
    )
    data = open_dataset(root)
    assert data.classes.names == ["rest", "dog"]
    assert int(data.read(data.samples[0]).mask.sum()) == 60


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("0 0.1 0.1 0.5 0.5", "a box and no outline, first in .*line 2 .5 numbers"),
        ("0 0.1 0.1 0.5 0.5 0.3", "line 2 .6 numbers"),
        ("0 0.1 0.1 0.5 0.5 0.3 x", "line 2 .0 0.1"),
        ("0 10 10 50 10 50 50", "line 2 .coordinate 50"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3", "without area, first in .*line 2"),
        ("0 1.1 0.1 1.2 0.1 1.2 0.3", "outside of its image, first in .*line 2"),
    ],
)
def test_lines_that_are_no_polygon(tmp_path: Path, line: str, text: str) -> None:
    root = write(tmp_path, "images/a.jpg", "images/b.jpg", labels__a=f"{SMALL}{line}\n", labels__b=LARGE)
    (root / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    data = open_dataset(root)
    (told,) = [note for note in data.notes if "1 object of 3 cannot be drawn" in note]
    assert re.search(text, told)
    assert "a.txt" in told
    assert np.bincount(data.read(data.samples[0]).mask.ravel()).tolist() == [196, 4]
    write(tmp_path, labels__a=f"\n{line}\n", labels__b="")
    with pytest.raises(DataError, match=text) as error:
        open_dataset(root)
    assert "1 object of 1" in str(error.value)


def test_a_class_without_a_name(tmp_path: Path) -> None:
    root = write(tmp_path, "images/a.jpg", labels__a=f"{SMALL}7 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"line 2 has the class 7\. Expected 0 to 1") as error:
        open_dataset(root)
    assert "a.txt" in str(error.value)
    (root / "data.yaml").write_text("train: images\nnames: [cat, dog]\nkpt_shape: [17, 3]\n")
    with pytest.raises(DataError, match="YOLO for poses"):
        open_dataset(root)


def test_labels_that_are_nowhere_or_alone(tmp_path: Path) -> None:
    root = write(tmp_path, "images/a.jpg")
    (root / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match="no image has a label file"):
        open_dataset(root)
    write(tmp_path, labels__a=SMALL, labels__b=SMALL)
    with pytest.raises(PairingError, match=r"1 label file in .*without an image: b.txt"):
        open_dataset(root)
    problems: list[Problem] = []
    layout = yolo.read(root, masks=True, problems=problems)
    assert layout is not None
    assert [problem.files for problem in problems if problem.level == "error"] == [(root / "labels" / "b.txt",)]
    (root / "data.yaml").write_text("train: pictures\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match="the images of train lie in pictures"):
        open_dataset(root)


def test_what_is_not_yolo(tmp_path: Path) -> None:
    root = write(tmp_path, "images/a.jpg", "labels/a.png")
    (root / "labels" / "readme.txt").write_text("hello\n")
    assert yolo.read(root, masks=True, problems=None) is None
    (root / "settings.yaml").write_text("learning_rate: 0.1\n")
    assert yolo.read(root, masks=True, problems=None) is None
    root = write(tmp_path / "both", "images/a.jpg", labels__a=SMALL)
    (root / "masks").mkdir()
    assert yolo.read(root, masks=True, problems=None) is None


@pytest.mark.parametrize(
    "names",
    [
        "names: [cat, 'dog, the 2nd', \"it's\"]",
        "names: ['cat',\n  'dog, the 2nd',\n  \"it's\"]",
        "names: {0: cat, 1: 'dog, the 2nd', 2: \"it's\"}  # three",
        "names:\n  0: cat  # the first\n  1: 'dog, the 2nd'\n\n  2: it's",
        "names:\n- cat\n- dog, the 2nd\n- 'it''s'",
        'names:\n  - cat\n  - "dog, the 2nd"\n  - it\'s',
    ],
)
def test_forms_of_yaml(tmp_path: Path, names: str) -> None:
    text = f"---\nnc: 3\ntrain: images\nother: &x {{deep: [1, {{}}]}}\n{names}\n"
    assert yolo._names(tmp_path, yolo._parsed(tmp_path, text)["names"]) == ["cat", "dog, the 2nd", "it's"]


def test_names_that_yaml_takes_for_something_else_stay_text(tmp_path: Path) -> None:
    text = "train: images\nnames: {0: no, 1: 1.50, 2: null}\n"
    assert yolo._names(tmp_path, yolo._parsed(tmp_path, text)["names"]) == ["no", "1.50", "null"]


@pytest.mark.parametrize(
    "names",
    [
        "names: [cat",
        "names:\n  a:\n    b: c",
        "names: {cat, dog}",
        "names: [[cat], dog]",
        "names: !!python/name:os.system",
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, names: str) -> None:
    (tmp_path / "data.yaml").write_text(f"{names}\ntrain: images\n")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"data\.yaml") as error:
        open_dataset(tmp_path)
    assert error.value.file == tmp_path / "data.yaml"
    assert error.value.expected.startswith("Expected ")
