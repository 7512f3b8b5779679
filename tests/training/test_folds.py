"""Cross-validation: every sample is held out once, kills lose nothing, and scores come from models that saw nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from maskwright import Predictor, cli, runs
from maskwright.config import Settings, Training
from maskwright.errors import MaskwrightError, RunError, SettingError
from maskwright.training import folds, loop
from maskwright.training.checkpoint import Progress
from maskwright.training.loop import Status

FOLDS = 3
TINY = Training(
    model="compact-2", model_options={"widths": [4, 6]}, crop=(32, 32), batch=4, steps=6, lr=0.01, validate_every=3,
    folds=FOLDS,
)  # fmt: skip


def train(
    data: Path,
    run: Path,
    training: Training = TINY,
    say: Callable[[str], None] = lambda text: None,
    show: Callable[[Status], None] = lambda status: None,
) -> list[Progress]:
    return folds.start(run, data, Settings(training=training), started=time.monotonic(), say=say, show=show)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, write_pairs: Callable[..., Path]) -> tuple[Path, Path]:
    """A data folder, and a run of three folds on it; not to be changed."""
    folder = tmp_path_factory.mktemp("folds")
    data = write_pairs(folder / "discs", 8)
    done = train(data, folder / "run")
    assert [one.finished for one in done] == [True] * FOLDS
    return data, folder / "run"


@pytest.fixture
def copy(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return shutil.copytree(trained[1], tmp_path / "copy")


def fold_runs(run: Path) -> list[Path]:
    return [run / runs.FOLDS / str(fold) for fold in range(FOLDS)]


def assert_same(one: Path, other: Path) -> None:
    for a, b in zip(fold_runs(one), fold_runs(other), strict=True):
        left, right = load_file(a / runs.WEIGHTS), load_file(b / runs.WEIGHTS)
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=f"{a}: {name}")


def test_each_sample_is_held_out_once(trained: tuple[Path, Path]) -> None:
    _, run = trained
    every = {f"photo{place:02}" for place in range(8)}
    held: list[str] = []
    for folder in fold_runs(run):
        data = runs.read_run(folder)["data"]
        assert set(data["training"]) == every - set(data["validation"])
        held += data["validation"]
    assert sorted(held) == sorted(every)
    content = runs.read_run(run)
    scores = [runs.read_run(folder)["scores"]["validation_miou"] for folder in fold_runs(run)]
    assert content["scores"]["validation_miou"] == pytest.approx(np.mean(scores))
    assert (content["kind"], content["folds"]) == ("folds", FOLDS)


def test_a_stopped_run_goes_on_where_it_was(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, whole = trained
    run, spoken = tmp_path / "run", list[str]()

    def stop(status: Status) -> None:
        if "Fold 2 of 3" in spoken and status.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    done = train(data, run, say=spoken.append, show=stop)
    assert [(one.finished, one.step) for one in done] == [(True, 6), (False, 2)]
    spoken.clear()
    resumed = folds.resume(run, started=time.monotonic(), say=spoken.append)
    assert [one.finished for one in resumed] == [True, True]
    assert [text for text in spoken if text.startswith("Fold")] == ["Fold 2 of 3", "Fold 3 of 3"]
    assert_same(run, whole)


def test_a_killed_run_goes_on_where_it_was(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, whole = trained
    run = tmp_path / "run"
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)

    class Killed(BaseException):
        pass

    def kill(status: Status) -> None:
        if status.step == 4:
            raise Killed

    with pytest.raises(Killed):
        train(data, run, show=kill)
    done = folds.resume(run, started=time.monotonic())
    assert len(done) == FOLDS
    assert_same(run, whole)
    content = runs.read_run(run)
    assert content["classes"] == runs.read_run(whole)["classes"]


def test_a_kill_between_the_last_state_and_the_scores_loses_nothing(copy: Path, trained: tuple[Path, Path]) -> None:
    content = runs.read_run(copy)
    for name in ("classes", "network", "preparation", "tta", "input", "seed"):
        del content[name]
    runs.write_json(copy / runs.RUN, content | {"scores": {}})
    first = fold_runs(copy)[0]
    runs.write_json(first / runs.RUN, runs.read_run(first) | {"scores": {}})
    for folder in fold_runs(copy)[1:]:
        shutil.rmtree(folder)
    folds.resume(copy, started=time.monotonic())
    assert_same(copy, trained[1])
    whole = runs.read_run(trained[1])
    again = runs.read_run(copy)
    assert {name: again[name] for name in ("classes", "network", "scores")} == {
        name: whole[name] for name in ("classes", "network", "scores")
    }
    Predictor.load(copy)


def test_prediction_is_the_mean_of_the_members(trained: tuple[Path, Path]) -> None:
    data, run = trained
    image = np.array(Image.open(data / "images" / "photo04.png"))
    members = [Predictor.load(folder)(image).probabilities for folder in fold_runs(run)]
    assert np.abs(members[0] - members[1]).max() > 0.01, "models that differ"
    prediction = Predictor.load(run)(image)
    np.testing.assert_allclose(prediction.probabilities, np.mean(members, 0), atol=1e-6)
    np.testing.assert_array_equal(prediction.mask, np.mean(members, 0).argmax(2))


def test_continuing_gives_each_fold_more_steps(copy: Path) -> None:
    folds.extend(copy, "4steps")
    done = folds.resume(copy, started=time.monotonic())
    assert [(one.finished, one.step) for one in done] == [(True, 10)] * FOLDS
    content = runs.read_run(copy)
    scores = [runs.read_run(folder)["scores"]["validation_miou"] for folder in fold_runs(copy)]
    assert content["scores"]["validation_miou"] == pytest.approx(np.mean(scores))


def test_continuing_shares_the_time_among_the_folds(copy: Path) -> None:
    before = [runs.read_json(folder / runs.RESUME / "state.json")["elapsed"] for folder in fold_runs(copy)]
    folds.extend(copy, "30m")
    for folder, seconds in zip(fold_runs(copy), before, strict=True):
        assert runs.read_run(folder)["settings"]["training"]["minutes"] == pytest.approx(seconds / 60 + 10)


def test_the_minutes_are_shared_among_the_folds(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = trained
    given = Settings(training=dataclasses.replace(TINY, steps=None, minutes=0.6))

    class Enough(Exception):
        pass

    def stop(status: Status) -> None:
        raise Enough

    with pytest.raises(Enough):
        folds.start(tmp_path / "run", data, given, started=time.monotonic(), show=stop)
    assert runs.read_run(tmp_path / "run" / runs.FOLDS / "0")["settings"]["training"]["minutes"] == pytest.approx(0.2)


def test_moved_data_is_found_where_it_is_said_to_be(trained: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(fold_runs(copy)[2])
    content = runs.read_run(copy)
    runs.write_json(copy / runs.RUN, content | {"data": {"path": str(tmp_path / "gone")}})
    with pytest.raises(MaskwrightError, match="gone"):
        folds.resume(copy, started=time.monotonic())
    folds.resume(copy, data=trained[0], started=time.monotonic())
    assert_same(copy, trained[1])
    assert runs.read_run(copy)["data"]["path"] == str(trained[0].resolve())


def test_what_cannot_be_is_refused(trained: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    data, run = trained
    with pytest.raises(RunError, match=r"is finished: all 3 folds are trained. `maskwright evaluate "):
        folds.resume(run, started=time.monotonic())
    with pytest.raises(SettingError, match=r"folds = 9: the data has 8 sample\(s\)"):
        train(data, tmp_path / "many", dataclasses.replace(TINY, folds=9))
    shutil.rmtree(fold_runs(copy)[2])
    with pytest.raises(RunError, match=r"is not finished. Continue it first: maskwright train --resume"):
        folds.extend(copy, "4steps")
    with pytest.raises(RunError, match="not a run"):
        Predictor.load(copy)
    with pytest.raises(SettingError, match=r"--val .* and --folds contradict each other"):
        cli.app(
            ["train", str(data), "--folds", "3", "--val", str(data), "--out", str(tmp_path / "val")],
            exit_on_error=False, result_action="return_value",
        )  # fmt: skip
