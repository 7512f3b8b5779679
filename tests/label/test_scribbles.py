"""From the strokes of a project to a model and pre-labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.datasets.formats import open_dataset
from maskwright.errors import DataError
from maskwright.evaluate.evaluator import evaluate
from maskwright.label.scribbles import accept, strokes_of, train
from maskwright.label.store import Origin, Patch, Project
from maskwright.label.voters import read_script
from maskwright.label.weak import label_by_script
from maskwright.predict.predictor import Predictor


@pytest.fixture
def painted(tmp_path: Path, paint: Callable[..., Patch]) -> Project:
    """Two images, dark on the left and bright on the right, with strokes of both on the first; classes 0 and 2."""
    folder = tmp_path / "halves"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        values = np.where(np.arange(80) < 40, 60, 180) + rng.normal(size=(64, 80)) * 8
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{name}.png")
    project = Project(folder, classes=("dark", "unused", "bright"), pause=None)
    for place, (top, left) in enumerate(((4, 4), (30, 20), (50, 10), (4, 60), (30, 70), (50, 50))):
        value = 0 if left < 40 else 2
        project.apply(paint(np.full((3, 8), value), place, top=top, left=left))
    return project


def test_strokes_are_the_pieces_that_humans_painted(painted: Project, paint: Callable[..., Patch]) -> None:
    painted.apply(paint(np.full((2, 2), 2), 6, top=20, left=70, origin=Origin.SCRIPT))
    painted.apply(paint(np.full((3, 3), 0), 7, top=7, left=8))  # touches the first stroke
    strokes = strokes_of(painted)
    assert [(one.image, one.label, len(one.rows)) for one in strokes] == [
        ("a", 0, 24 + 9), ("a", 0, 24), ("a", 0, 24), ("a", 2, 24), ("a", 2, 24), ("a", 2, 24)
    ]  # fmt: skip
    assert sorted(zip(strokes[1].rows.tolist(), strokes[1].columns.tolist(), strict=True))[0] == (30, 20)


def test_a_model_of_strokes_predicts_evaluates_and_votes(painted: Project, tmp_path: Path) -> None:
    done = train(painted, tmp_path / "model")
    kept = json.loads((tmp_path / "model" / "run.json").read_text())
    assert kept["hash"] == done.hash
    assert kept["scribbles"]["strokes"] == {"dark": 3, "unused": 0, "bright": 3}
    assert set(kept["scribbles"]["held_out"]) == {"local", "encoder", "local+encoder"}
    assert done.contradictions == ()
    predictor = Predictor.load(tmp_path / "model")
    image = np.asarray(Image.open(painted.folder / "images" / "b.png"))
    mask = predictor(image).mask
    assert (mask[:, :24] == 0).all()
    assert (mask[:, 56:] == 2).all()
    painted.save()
    scores = evaluate(predictor, open_dataset(painted.folder), tmp_path / "scores")
    assert scores.scores.pixel_accuracy == 1
    script = tmp_path / "script.py"
    script.write_text(f"from maskwright.label.voters import trained\nmodel = trained({str(tmp_path / 'model')!r})\n")
    label_by_script(painted, read_script(script))
    labels = painted.read("b")
    assert labels.values[10, 5] == 0
    assert labels.values[10, 75] == 2
    painted.close()


def test_what_the_model_is_sure_of_is_accepted_and_taken_back(
    painted: Project, paint: Callable[..., Patch], tmp_path: Path
) -> None:
    done = train(painted, tmp_path / "model", features="local")
    painted.apply(paint(np.full((2, 2), 0), 0, image="b", top=20, left=70))  # a human who contradicts
    painted.apply(paint(np.full((2, 2), 0), 1, image="b", top=30, left=70, origin=Origin.SCRIPT))
    painted.apply(paint(np.full((2, 2), 0), 2, image="b", top=40, left=70, origin=Origin.MODEL_ACCEPTED))
    accepted = accept(painted, done.model, done.hash, above=0.9)
    assert accepted["b"] > 0.5
    labels = painted.read("b")
    assert labels.values[10, 5] == 0
    assert labels.values[10, 75] == 2
    assert labels.origins[10, 75] == Origin.MODEL_ACCEPTED
    for row, origin in ((20, Origin.HUMAN), (30, Origin.SCRIPT), (40, Origin.MODEL_ACCEPTED)):
        assert (labels.values[row : row + 2, 70:72] == 0).all()
        assert (labels.origins[row : row + 2, 70:72] == origin).all()
    (model,) = {model for (model,) in painted.journal.rows("SELECT model FROM entry WHERE author = 'scribbles'")}
    assert model == done.hash
    before = labels.revision
    accept(painted, done.model, done.hash, above=0.9)
    assert painted.read("b").revision == before, "nothing new"
    accept(painted, done.model, done.hash, above=1.01)  # sure of nothing any more
    labels = painted.read("b")
    assert (labels.origins == Origin.MODEL_ACCEPTED).sum() == 4, "what somebody else accepted"
    painted.close()


def test_images_of_the_validation_set_are_neither_learnt_nor_labelled(painted: Project, tmp_path: Path) -> None:
    painted.freeze_validation(["b"], "ada")
    done = train(painted, tmp_path / "model", features="local")
    assert set(accept(painted, done.model, done.hash, above=0.9)) == {"a"}
    assert painted.read("b").revision == 0
    painted.close()


def test_a_project_with_strokes_of_one_class_is_told(folder: Path, paint: Callable[..., Patch], tmp_path: Path) -> None:
    with Project(folder, classes=("ground", "cell"), pause=None) as project:
        project.apply(paint(np.full((3, 8), 1), 0))
        with pytest.raises(DataError, match=r"1 stroke\(s\) of 1 class"):
            train(project, tmp_path / "model")
