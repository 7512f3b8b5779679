"""Out-of-fold scores: of each sample by the model that was trained without it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskwright import Predictor, cli, runs
from maskwright.config import Settings, Training
from maskwright.datasets.formats import open_dataset
from maskwright.errors import RunError
from maskwright.evaluate.evaluation import Evaluation
from maskwright.evaluate.metrics import confusion
from maskwright.evaluate.out_of_fold import OutOfFold, answerer_of, evaluate_out_of_fold
from maskwright.training import folds

TINY = Training(
    model="fcn-flat", model_options={"depth": 2, "width": 4}, crop=(32, 32), batch=4, steps=12, lr=0.02, folds=2
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, write_pairs: Callable[..., Path]) -> tuple[Path, Path]:
    """A data folder, and a run of two folds on it; not to be changed."""
    folder = tmp_path_factory.mktemp("out-of-fold")
    data = write_pairs(folder / "discs", 6)
    folds.start(folder / "run", data, Settings(training=TINY), started=time.monotonic())
    return data, folder / "run"


def test_every_sample_is_scored_by_the_model_that_has_not_seen_it(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = trained
    evaluation = evaluate_out_of_fold(run, tmp_path / "scores")
    dataset = open_dataset(data)
    assert evaluation.ids == tuple(sample.id for sample in dataset.samples)
    by_fold = [Predictor.load(run / runs.FOLDS / str(fold)) for fold in range(2)]
    seen = [set(one.run["data"]["training"]) for one in by_fold]
    differs = 0
    for place, sample in enumerate(dataset.samples):
        pair = dataset.read(sample)
        answers = [confusion(pair.mask, predictor(pair.image).mask, 2) for predictor in by_fold]
        (unseen,) = (fold for fold in range(2) if sample.id not in seen[fold])
        np.testing.assert_array_equal(evaluation.confusions_NKK[place], answers[unseen])
        differs += not np.array_equal(answers[0], answers[1])
    assert differs, "the two models answer differently"
    assert Evaluation.load(tmp_path / "scores").miou == evaluation.miou


def test_the_command_needs_no_data_and_compares(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained[1], tmp_path / "run")
    other = shutil.copytree(trained[1], tmp_path / "other")
    for folder in (run, other):
        capsys.readouterr()
        cli.app(["evaluate", str(folder), "--json"], exit_on_error=False, result_action="return_value")
        scores = json.loads(capsys.readouterr().out)
        assert scores["images"] == 6
        assert (folder / runs.EVALUATIONS / "out-of-fold" / "scores.json").exists()
        assert (folder / runs.REPORT).exists()
    cli.app(["compare", str(run), str(other), "--json"], exit_on_error=False, result_action="return_value")
    compared = json.loads(capsys.readouterr().out)
    assert compared["miou_difference"]["other"] == {
        "value": 0.0, "low": 0.0, "high": 0.0, "verdict": "no clear difference"
    }  # fmt: skip
    assert (other / "comparison.html").exists()


def test_pictures_of_a_comparison_come_from_the_model_that_was_scored(trained: tuple[Path, Path]) -> None:
    _, run = trained
    ensemble, models = Predictor.load(run), OutOfFold(run)
    evaluation = evaluate_out_of_fold(run, run / runs.EVALUATIONS / "out-of-fold")
    chosen = answerer_of(run, ensemble, evaluation)
    for fold in range(2):
        held = runs.read_run(run / runs.FOLDS / str(fold))["data"]["validation"]
        assert {chosen(name).source for name in held} == {str(run / runs.FOLDS / str(fold))}
        assert {models(name).source for name in held} == {str(run / runs.FOLDS / str(fold))}
    alone = Predictor.load(run / runs.FOLDS / "0")
    assert answerer_of(run / runs.FOLDS / "0", alone, evaluation)("photo00") is alone


def test_what_has_no_out_of_fold_scores_is_refused(
    trained: tuple[Path, Path], tmp_path: Path, write_pairs: Callable[..., Path]
) -> None:
    data, run = trained
    with pytest.raises(RunError, match=r"was trained without folds.* maskwright evaluate .* DATA"):
        evaluate_out_of_fold(run / runs.FOLDS / "0", tmp_path / "scores")
    with pytest.raises(RunError, match="photo99 is not among the samples that the folds were trained on"):
        OutOfFold(run)("photo99")
    copy = shutil.copytree(run, tmp_path / "copy")
    fewer = shutil.copytree(data, tmp_path / "fewer")
    for kind in ("images", "masks"):
        (fewer / kind / "photo04.png").unlink()
    runs.write_json(copy / runs.RUN, runs.read_run(copy) | {"data": {"path": str(fewer)}})
    with pytest.raises(RunError, match=r"fewer has changed: 1 sample.* gone, for example photo04. Restore"):
        evaluate_out_of_fold(copy, tmp_path / "scores")
    shutil.rmtree(copy / runs.FOLDS / "1")
    with pytest.raises(RunError):
        OutOfFold(copy)
