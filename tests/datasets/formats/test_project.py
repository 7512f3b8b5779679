"""A labelling project is data like any other; what is not labelled yet is told and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.config import Training
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.formats.project import of_sources
from maskwright.errors import EmptyDataError, PairingError, SettingError, UnreadableFileError
from maskwright.imaging.decoders import Window
from maskwright.label import classes
from maskwright.label.patches import encode
from maskwright.label.store import Origin, Patch, Project
from maskwright.training.split import split_dataset


def images(folder: Path, count: int = 4) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((12, 16), 40 * index, np.uint8)).save(folder / f"i{index}.png")
    return folder


def paint(project: Project, image: str, value: int, size: int = 4, origin: Origin = Origin.HUMAN) -> None:
    project.apply(
        Patch(
            image=image,
            base=project.image(image).revision,
            author="ada",
            seconds=1,
            box=Window(0, 0, size, size),
            payload=encode(np.full((size, size), value, np.uint16)),
            origin=origin,
            model="5eed" if origin is Origin.MODEL_ACCEPTED else None,
        )
    )


@pytest.mark.parametrize("inner", ["", "images"])
def test_images_without_labels_are_told_and_left_out(tmp_path: Path, inner: str) -> None:
    images(tmp_path / "cells" / inner)
    with Project(tmp_path / "cells", classes=["x", "y", "z"], pause=None) as project:
        for name in ("i0", "i2"):
            paint(project, name, 2)
        paint(project, "i1", 1)
        project.undo("i1", 1, "ada")
    data = open_dataset(tmp_path / "cells")
    assert [sample.id for sample in data.samples] == ["i0", "i2"]
    assert data.classes.names == ["x", "y", "z"]
    assert "4 images, 2 labelled" in data.notes[0]
    assert any("2 images unlabelled and left out: i1, i3" in note for note in data.notes)
    pair = data.read(data.samples[0])
    assert (pair.mask[:4, :4] == 2).all()
    assert (pair.mask == 255).sum() == 12 * 16 - 16
    assert len(open_dataset(tmp_path / "cells", masks=False).samples) == 4, "to predict, all are there"


def test_outside_a_project_a_missing_mask_stays_an_error(tmp_path: Path) -> None:
    images(tmp_path / "cells" / "images")
    with Project(tmp_path / "cells", classes=["x", "y"], pause=None) as project:
        paint(project, "i0", 1)
    for file in (tmp_path / "cells").glob("maskwright.sqlite*"):
        file.unlink()
    with pytest.raises(PairingError):
        open_dataset(tmp_path / "cells")


def test_a_project_without_any_label_says_what_to_do(tmp_path: Path) -> None:
    images(tmp_path / "cells")
    Project(tmp_path / "cells", classes=["x", "y"], pause=None).close()
    with pytest.raises(EmptyDataError, match="none of 4 images is labelled") as raised:
        open_dataset(tmp_path / "cells")
    assert "maskwright label" in raised.value.remedy


def test_the_frozen_validation_set_is_the_split_val(tmp_path: Path) -> None:
    images(tmp_path / "cells")
    with Project(tmp_path / "cells", classes=["x", "y"], pause=None) as project:
        project.freeze_validation(["i1", "i3"], "ada")
        paint(project, "i0", 1)
    assert open_dataset(tmp_path / "cells").splits == set(), "none of it is labelled yet"
    with Project(tmp_path / "cells", pause=None) as project:
        paint(project, "i1", 1)
        project.undo("i0", 1, "ada")
    with pytest.raises(EmptyDataError, match="validation set"):
        split_dataset(tmp_path / "cells", Training(), None, None, print)
    with Project(tmp_path / "cells", pause=None) as project:
        project.redo("i0", 2, "ada")
    splits = split_dataset(tmp_path / "cells", Training(), None, None, print)
    assert [s.id for s in splits.training.samples + splits.validation.samples] == ["i0", "i1"]
    data = open_dataset(tmp_path / "cells")
    assert {sample.id: sample.split for sample in data.samples} == {"i0": "train", "i1": "val"}


def test_a_gap_that_a_deleted_class_left_does_not_reach_the_network(tmp_path: Path) -> None:
    images(tmp_path / "cells")
    with Project(tmp_path / "cells", classes=["x", "y", "z"], pause=None) as project:
        paint(project, "i0", 2)
        classes.delete(project, "y", "ada")
    data = open_dataset(tmp_path / "cells")
    assert data.classes.names == ["x", "z"]
    assert set(np.unique(data.read(data.samples[0]).mask).tolist()) == {1, 255}


def test_pages_of_a_stack_are_labelled_one_by_one(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "brain.tif", np.zeros((3, 12, 16), np.uint8), photometric="minisblack")
    with Project(tmp_path, classes=["x", "y"], pause=None) as project:
        paint(project, "brain-002", 1)
        paint(project, "brain-000", 0)
    data = open_dataset(tmp_path)
    assert [(sample.id, sample.group) for sample in data.samples] == [("brain-000", "brain"), ("brain-002", "brain")]
    assert [int(data.read(sample).mask[0, 0]) for sample in data.samples] == [0, 1]


def test_it_is_read_while_it_is_labelled(tmp_path: Path) -> None:
    images(tmp_path / "cells")
    with Project(tmp_path / "cells", classes=["x", "y"], pause=None) as project:
        paint(project, "i0", 1)
        project.save()
        paint(project, "i0", 0)
        data = open_dataset(tmp_path / "cells")
        assert data.read(data.samples[0]).mask[0, 0] == 1
        assert any("newer in maskwright.sqlite" in note and "i0" in note for note in data.notes)


def test_labels_of_other_sources_are_left_out(tmp_path: Path) -> None:
    images(tmp_path / "cells")
    with Project(tmp_path / "cells", classes=["x", "y"], pause=None) as project:
        paint(project, "i0", 1, 6, Origin.SCRIPT)
        paint(project, "i0", 0, 2)
        paint(project, "i1", 0, 3, Origin.MODEL_ACCEPTED)
    data = open_dataset(tmp_path / "cells")

    def pixels(*names: str) -> dict[str, list[int]]:
        chosen = of_sources(data, names)
        masks = {sample.id: chosen.read(sample).mask for sample in chosen.samples}
        return {name: [int((mask == value).sum()) for value in (0, 1)] for name, mask in masks.items()}

    assert pixels("human") == {"i0": [4, 0]}
    assert pixels("human", "script") == {"i0": [4, 32]}
    assert pixels("model-accepted") == {"i1": [9, 0]}
    assert of_sources(data, ["human"]).content_hash() != data.content_hash()
    splits = split_dataset(
        tmp_path / "cells", Training(sources="human,model-accepted", val_fraction=0), None, None, print
    )
    assert [sample.id for sample in splits.training.samples] == ["i0", "i1"]


def test_sources_without_effect_are_refused(discs: Path) -> None:
    with pytest.raises(SettingError, match="not a labelling project"):
        of_sources(open_dataset(discs), ["human"])
    with pytest.raises(SettingError, match="sources"):
        Training(sources="humans")


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    images(tmp_path / "cells")
    (tmp_path / "cells" / "maskwright.sqlite").write_bytes(b"nothing" * 1000)
    with pytest.raises(UnreadableFileError, match=r"maskwright\.sqlite"):
        open_dataset(tmp_path / "cells")
