"""Labels into a project and out of it: nothing a human made is lost, nothing undeclared comes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import app
from maskwright.datasets.formats import open_dataset
from maskwright.errors import EmptyDataError, PairingError, SizeMismatchError, UndeclaredValueError
from maskwright.label.exchange import export_labels, import_labels
from maskwright.label.store import Origin, Patch, Project

N = 255


def write_data(folder: Path, masks: dict[str, np.ndarray], names: tuple[str, ...]) -> Path:
    """A data set in the folder format whose classes have the values 10, 20, ..."""
    for name, mask in masks.items():
        raw = np.where(mask == N, N, mask * 10 + 10).astype(np.uint8)
        for place, pixels in (("images", np.zeros(mask.shape, np.uint8)), ("masks", raw)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / place / f"{name}.png")
    table = "".join(f'[[class]]\nname = "{name}"\nvalue = {10 * i + 10}\n' for i, name in enumerate(names))
    (folder / "classes.toml").write_text(f"unlabelled = [255]\n{table}")
    return folder


def mask() -> np.ndarray:
    """40 x 48: class 0 above, 1 below, the last column unlabelled."""
    found = np.zeros((40, 48), np.uint8)
    found[20:] = 1
    found[:, -1] = N
    return found


def test_classes_are_matched_by_name_and_unlabelled_changes_nothing(
    folder: Path, tmp_path: Path, paint: Callable[..., Patch]
) -> None:
    with Project(folder, classes=("ground", "cell", "nucleus"), pause=None) as project:
        project.apply(paint(np.full((2, 2), 2), 0, top=0, left=46))
    data = write_data(tmp_path / "data", {"a": mask()}, ("nucleus", "ground"))
    done = import_labels(folder, data)
    assert (done.images, done.pixels, done.kept) == (1, 40 * 47 - 2, 0)  # two of four have the same label already
    with Project(folder, pause=None) as project:
        labels = project.read("a")
    assert (labels.values[:20, :-1] == 2).all()
    assert (labels.values[20:, :-1] == 0).all()
    assert labels.values[0, 47] == 2
    assert (labels.values[2:, 47] == N).all()
    assert (labels.origins[:, :-1] == Origin.HUMAN).all()


def test_human_pixels_stay_without_replace(folder: Path, tmp_path: Path, paint: Callable[..., Patch]) -> None:
    with Project(folder, classes=("ground", "cell"), pause=None) as project:
        project.apply(paint(np.ones((2, 3), int), 0))
        project.apply(paint(np.ones((2, 3), int), 1, top=4, origin=Origin.SCRIPT))
    data = write_data(tmp_path / "data", {"a": mask()}, ("ground", "cell"))
    done = import_labels(folder, data)
    assert done.kept == 6
    with Project(folder, pause=None) as project:
        labels = project.read("a")
        assert (labels.values[:2, :3] == 1).all()
        assert (labels.values[4:6, :3] == 0).all()
    assert import_labels(folder, data).pixels == 0
    done = import_labels(folder, data, replace=True)
    assert (done.pixels, done.kept) == (6, 0)
    with Project(folder, pause=None) as project:
        assert (project.read("a").values[:2, :3] == 0).all()
        assert project.undo("a", project.image("a").revision, "ada") is not None
        assert (project.read("a").values[:2, :3] == 1).all()


def test_a_plain_folder_becomes_a_project_with_the_classes_of_the_data(folder: Path, tmp_path: Path) -> None:
    done = import_labels(folder, write_data(tmp_path / "data", {"b": mask(), "z": mask()}, ("x", "y")))
    assert (done.images, done.left_out) == (1, ("z",))
    opened = open_dataset(folder)
    assert opened.classes.names == ["x", "y"]
    assert (opened.read(opened.samples[0]).mask == mask()).all()


def test_undeclared_classes_are_refused_with_names_and_counts(folder: Path, tmp_path: Path) -> None:
    with Project(folder, classes=("ground", "cell"), pause=None):
        pass
    spotted = mask()
    spotted[:2, :5] = 2
    data = write_data(tmp_path / "data", {"a": mask(), "b": spotted}, ("ground", "cell", "rock", "never"))
    with pytest.raises(UndeclaredValueError, match=r"does not have: rock \(10 pixels\)\. Expected: ground, cell"):
        import_labels(folder, data)
    with Project(folder, pause=None) as project:
        assert project.image("a").revision == 0, "nothing is imported"


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", {"z": mask()}, ("x", "y"))
    with pytest.raises(PairingError, match=r"no mask for an image of .*its samples are z"):
        import_labels(folder, data)
    small = write_data(tmp_path / "small", {"a": mask(), "b": mask()[:10]}, ("x", "y"))
    with pytest.raises(SizeMismatchError, match="of b is 48 x 10, and b is 48 x 40"):
        import_labels(folder, small)
    with Project(folder, pause=None) as project:
        assert project.image("a").revision == 0


@pytest.mark.parametrize("to", ["folder", "coco", "voc", "labelme"])
def test_what_is_exported_comes_back(folder: Path, tmp_path: Path, to: str) -> None:
    whole = np.zeros((40, 48), np.uint8)
    whole[10:30, 12:36] = 1
    import_labels(folder, write_data(tmp_path / "data", {"a": whole}, ("background", "cell")))
    app(["labels", "export", str(folder), str(tmp_path / "out"), "--to", to], result_action="return_value")
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(other / "images" / "a.png")
    app(["labels", "import", str(other), str(tmp_path / "out")], result_action="return_value")
    with Project(other, pause=None) as project:
        names = project.classes.names
        values = project.read("a").values
    assert names == ["background", "cell"]
    assert (values == whole).all()


def test_only_a_project_is_exported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyDataError, match="not a labelling project"):
        export_labels(folder, tmp_path / "out", "coco")
