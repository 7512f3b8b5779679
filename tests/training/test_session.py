"""Training as a whole: it learns, repeats itself bit for bit, survives kills, and says what is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import load_file

import maskwright
from maskwright import runs
from maskwright.augment.loader import Batch, Loader, default_workers
from maskwright.cli.training import process_start, train
from maskwright.config import Preparation, Settings, Training
from maskwright.errors import (
    ClassTableError,
    DataError,
    ModelError,
    RunError,
    SettingError,
    TrainingError,
    UnreadableFileError,
)
from maskwright.predict.predictor import Predictor
from maskwright.training import resuming, session
from maskwright.training.checkpoint import Progress
from maskwright.training.loop import Status

TINY = Training(
    model="compact-2", model_options={"widths": [6, 8]}, crop=(32, 32), batch=4, steps=12, lr=0.01, val_fraction=0.25,
    validate_every=4,
)  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(maskwright.__file__).parents[1])}


def fit(data: Path, run: Path, training: Training = TINY, **sections: Preparation) -> Progress:
    prepared = session.prepare(data, Settings(training=training, **sections))  # type: ignore[arg-type]
    return session.start(run, prepared, started=time.monotonic())


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "maskwright", *arguments]


def tiny_options(steps: int) -> list[str]:
    return [
        "--model", "compact-2", "--model-options.widths", "6", "--model-options.widths", "8", "--crop", "32", "32",
        "--batch", "4", "--lr", "0.01", "--val-fraction", "0.25", "--validate-every", "4", "--steps", str(steps),
    ]  # fmt: skip


def weights(run: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = load_file(run / runs.WEIGHTS)
    return found


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_few_steps_solve_an_easy_set_and_the_run_says_how(discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = fit(discs, run, dataclasses.replace(TINY, steps=60, validate_every=None))
    assert done.finished
    assert done.best is not None
    assert done.best > 0.9
    content = runs.read_run(run)
    assert content["scores"]["validation_miou"] == done.best
    assert content["input"] == content["input"] | {"channels": 3, "dtype": "uint8"}
    assert len(content["data"]["training"]) == 6
    assert len(content["data"]["validation"]) == 2
    lines = [json.loads(line) for line in (run / runs.LOG).read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 61))
    assert sum(line["kind"] == "validation" for line in lines) == 10
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_the_same_seed_gives_the_same_weights_and_another_does_not(discs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit(discs, tmp_path / name)
    assert_same_weights(tmp_path / "one", tmp_path / "two")
    fit(discs, tmp_path / "three", dataclasses.replace(TINY, seed=1))
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "one", tmp_path / "three")


def kill_and_resume(data: Path, folder: Path, rounds: int, steps: int) -> None:
    """Kill -9 a training process at random moments, resume until it ends, and compare with an uninterrupted run."""
    whole, broken = folder / "whole", folder / "broken"
    subprocess.run(
        command("train", str(data), "--out", str(whole), *tiny_options(steps)),
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    # Saving after every step lets a kill fall anywhere, between the two files of a state too.
    program = "import maskwright.training.loop as loop; loop.SAVE_EVERY = 0.0; from maskwright.cli import main; main()"
    rng = random.Random(rounds)
    arguments = ["train", str(data), "--out", str(broken), *tiny_options(steps)]
    kills = 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        state = broken / runs.RESUME / "state.json"
        before = state.read_text() if state.exists() else ""
        while kills < rounds and process.poll() is None and (not state.exists() or state.read_text() == before):
            time.sleep(0.02)
        if kills < rounds:
            time.sleep(rng.uniform(0, 0.3))
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        if b"is finished" in errors:
            break  # killed in its last moments, after all was written
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
        arguments = ["train", "--resume", str(broken)]
    assert kills >= 1
    assert_same_weights(whole, broken)
    steps_logged = [
        json.loads(line)["step"] for line in (broken / runs.LOG).read_text().splitlines() if '"step", ' in line
    ]
    assert steps_logged == list(range(1, steps + 1))


def test_killed_and_resumed_equals_uninterrupted(discs: Path, tmp_path: Path) -> None:
    kill_and_resume(discs, tmp_path, rounds=2, steps=100)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_twenty_times_and_resumed_equals_uninterrupted(discs: Path, tmp_path: Path) -> None:
    kill_and_resume(discs, tmp_path, rounds=20, steps=400)


def killing(*given: object, **named: object) -> None:
    raise KeyboardInterrupt


def test_a_run_killed_in_its_first_minute_has_one_remedy(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Settings(training=dataclasses.replace(TINY, steps=4))
    fit(discs, tmp_path / "source", few.training)
    for pretrained in (None, tmp_path / "source"):
        whole, killed = tmp_path / f"whole {pretrained is None}", tmp_path / f"killed {pretrained is None}"
        session.start(whole, session.prepare(discs, few, pretrained=pretrained), started=time.monotonic())
        for place in (
            "session.remember_files",
            "checkpoint.save",
            "session.train_prepared",
        ):  # the last before the first step
            with monkeypatch.context() as patch:
                patch.setattr(f"maskwright.training.{place}", killing)
                prepared = session.prepare(discs, few, pretrained=pretrained)
                with pytest.raises(KeyboardInterrupt):
                    session.start(killed, prepared, started=time.monotonic())
            # Before run.json nothing is begun, and the folder can be used; from then on, the run goes on.
            assert runs.holds_only_beginnings(killed) == (place != "session.train_prepared")
        with pytest.raises(SettingError, match=rf"not empty(?s:.)*maskwright train --resume {killed}"):
            train(discs, out=killed)
        with pytest.raises(RunError, match=rf"no model.safetensors(?s:.)*maskwright train --resume {killed}"):
            Predictor.load(killed)
        resuming.resume(killed, started=time.monotonic())
        assert_same_weights(whole, killed)


def test_what_a_kill_before_the_beginning_leaves_is_no_hindrance(discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert runs.holds_only_beginnings(run)
    (run / runs.PLAN).touch()
    assert not runs.holds_only_beginnings(run)  # without a lock, it is the user's
    (run / runs.LOCK).touch()
    assert runs.holds_only_beginnings(run)
    (run / "mine.txt").touch()
    with pytest.raises(SettingError, match=r"not empty(?s:.)*Choose another name"):
        train(discs, out=run)


def test_ctrl_c_saves_and_says_how_to_resume(discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        command("train", str(discs), "--out", str(run), *tiny_options(100_000)),
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process, process.stderr:
        for line in process.stderr:
            if "images/s" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130
    assert f"Continue: maskwright train --resume {run}" in rest
    assert "Traceback" not in rest
    assert (run / runs.WEIGHTS).exists()
    assert runs.read_json(run / runs.RESUME / "state.json")["step"] >= 1


def test_resume_refuses_what_it_cannot_continue(discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(discs, run)

    def resume() -> None:
        resuming.resume(run, started=time.monotonic(), show=lambda status: None)

    with pytest.raises(RunError, match=r"is finished: its budget of 12 steps is used up"):
        resume()
    state = run / runs.RESUME / "state.json"
    runs.write_json(state, {**runs.read_json(state), "finished": False})
    (discs / "images" / "photo00.png").rename(discs / "images" / "photo50.png")
    (discs / "masks" / "photo00.png").rename(discs / "masks" / "photo50.png")
    with pytest.raises(RunError, match=r"the data in .*discs changed since it began"):
        resume()
    shutil.rmtree(run / runs.RESUME)
    with pytest.raises(RunError, match=r"has no state in resume/, which is there from the beginning"):
        resume()


def test_a_loss_that_is_not_finite_names_step_and_images(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "make_loss", lambda *_: lambda logits, target: logits.sum() * float("nan"))
    with pytest.raises(TrainingError, match=r"The loss became nan at step 0, on photo\d\d, .* --lr 3.3e-03"):
        fit(discs, tmp_path / "run")


def test_minutes_are_kept(discs: Path, tmp_path: Path) -> None:
    start = time.time()
    done = subprocess.run(
        [*command("train", str(discs), "--out", str(tmp_path / "run"), "--minutes", "0.3"),
         "--model-options.widths", "6", "--model-options.widths", "8", "--crop", "32", "32"],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.time() - start
    assert done.returncode == 0, done.stderr
    assert 8 < seconds < 28  # 18 s, within 10 s
    lines = [json.loads(line) for line in (tmp_path / "run" / runs.LOG).read_text().splitlines()]
    fractions = [line["fraction"] for line in lines if line["kind"] == "step"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert [line["lr"] for line in lines if line["kind"] == "step"][-1] < 2e-4, "the schedule reaches its end"


def test_preparation_is_remembered_and_predictions_return_to_the_image_size(discs: Path, tmp_path: Path) -> None:
    from maskwright import Predictor

    fit(discs, tmp_path / "run", preparation=Preparation(resize=(32, 32), bands=(0, 2)))
    predictor = Predictor.load(tmp_path / "run")
    assert predictor.preparation == Preparation(resize=(32, 32), bands=(0, 2))
    image = np.zeros((50, 70, 3), np.uint8)
    image[:] = (60, 30, 195)
    image[10:40, 20:50] = (180, 90, 75)
    assert predictor(image).mask.shape == (50, 70)


def test_images_of_two_kinds_are_refused(discs: Path, tmp_path: Path) -> None:
    from PIL import Image

    (discs / "images" / "photo03.png").unlink()
    tifffile.imwrite(discs / "images" / "photo03.tif", np.zeros((40, 48), np.uint16))
    with pytest.raises(
        DataError,
        match=r"1 of 8 images have 1 channel\(s\) of uint16 \(first photo03.tif\), and 7 have 3 channel\(s\) of uint8",
    ):
        fit(discs, tmp_path / "run", TINY)
    (discs / "images" / "photo03.tif").unlink()
    # One kind of mixture has one meaning: grey pictures among RGB ones.
    Image.fromarray(np.full((40, 48), 60, np.uint8)).save(discs / "images" / "photo03.png")
    said: list[str] = []
    prepared = session.prepare(discs, Settings(training=TINY), say=said.append)
    assert prepared.fingerprint.channels == 3
    assert any("1 of 8 images are grey (first photo03.png): repeated to three channels" in text for text in said)


def test_training_starts_from_another_run(discs: Path, tmp_path: Path) -> None:
    import torch

    from maskwright.models.loading import read_weights

    fit(discs, tmp_path / "first")
    file = tmp_path / "first" / runs.WEIGHTS
    prepared = session.prepare(discs, Settings(training=TINY), pretrained=file)
    expected = {k.removeprefix("network."): v for k, v in read_weights(file).items() if k.startswith("network.")}
    for name, tensor in prepared.segmenter.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_plan_that_cannot_be_built_is_refused_before_anything_is_written(discs: Path, tmp_path: Path) -> None:
    for wrong in (dataclasses.replace(TINY, model="compact-3"), dataclasses.replace(TINY, model_options={"depth": 4})):
        with pytest.raises(ModelError):
            session.prepare(discs, Settings(training=wrong))
    with pytest.raises(
        SettingError, match=r"class_weighting = 0.5 acts on ce, ohem, focal, and loss = 'dice' has none"
    ):
        session.prepare(discs, Settings(training=dataclasses.replace(TINY, loss="dice", class_weighting=0.5)))
    with pytest.raises(SettingError, match=r"replaces the validation split, so val_fraction = 0.25 has no effect"):
        session.prepare(discs, Settings(training=TINY), val=discs)


def test_an_odd_validation_image_is_found_before_training(discs: Path) -> None:
    held = session.prepare(discs, Settings(training=TINY)).splits.validation.samples[0]
    held.image.path.unlink()
    tifffile.imwrite(held.image.path.with_suffix(".tif"), np.zeros((40, 48), np.uint16))
    with pytest.raises(DataError, match=rf"1 of 8 images have 1 channel\(s\) of uint16 \(first {held.id}.tif\)"):
        session.prepare(discs, Settings(training=TINY))


def test_one_class_is_refused(discs: Path, tmp_path: Path) -> None:
    (discs / "classes.toml").write_text('unlabelled = [0]\n[[class]]\nname = "disc"\nvalue = 7\n')
    with pytest.raises(ClassTableError, match=r"declares 1 class.* Expected two or more"):
        fit(discs, tmp_path / "run")


def test_validation_without_a_labelled_pixel_is_refused(discs: Path, tmp_path: Path) -> None:
    shutil.copytree(discs, tmp_path / "train")
    image = next((discs / "images").iterdir())
    for name in ("images", "masks"):
        (tmp_path / "val" / name).mkdir(parents=True)
    (tmp_path / "train" / "images" / image.name).rename(tmp_path / "val/images/v.png")
    (tmp_path / "train" / "masks" / f"{image.stem}.png").unlink()
    with Image.open(next((discs / "masks").iterdir())) as mask:
        Image.fromarray(np.full((mask.height, mask.width), 255, np.uint8)).save(tmp_path / "val/masks/v.png")
    training = dataclasses.replace(TINY, val_fraction=None)
    with pytest.raises(DataError, match=r"No validation image has a labelled pixel: .* all 1 looked at"):
        session.prepare(tmp_path, Settings(training=training))


def test_a_view_beyond_the_memory_is_refused_before_it_is_made(discs: Path) -> None:
    training = dataclasses.replace(TINY, crop=(1_000_000, 1_000_000))
    for steps in (2, None):
        with pytest.raises(SettingError, match=r"1000000 x 1000000 pixels need"):
            session.prepare(discs, Settings(training=dataclasses.replace(training, steps=steps)))


def test_a_start_that_cannot_be_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    assert now - 600 < process_start() <= now + 1
    for age in (-5000.0, 20000.0):
        monkeypatch.setattr(psutil.Process, "create_time", lambda self, age=age: time.time() - age)
        assert abs(process_start() - time.monotonic()) < 1
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: time.time() - 7)
    assert abs(process_start() + 7 - time.monotonic()) < 1


def test_a_machine_that_hides_its_affinity_has_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert [default_workers(device) > 0 for device in ("cpu", "mps", "cuda")] == [True] * 3


def damage(path: Path) -> bytes:
    """Cut a picture's pixels, not its header; returns what it was."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


def test_a_sample_that_goes_bad_leaves_a_state_to_go_on_from(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(discs, tmp_path / "whole")
    run, said = tmp_path / "run", list[str]()
    real = Loader.batch

    def failing(self: Loader, step: int) -> Batch:
        if step == 7:
            raise DataError("photo03.png has gone bad.")
        return real(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(Loader, "batch", failing)
        prepared = session.prepare(discs, Settings(training=TINY))
        with pytest.raises(DataError, match="gone bad"):
            session.start(run, prepared, started=time.monotonic(), say=said.append)
    assert f"The state of step 7 is saved. When the cause is gone: maskwright train --resume {run}" in said
    assert resuming.resume(run, started=time.monotonic()).step == 12
    assert_same_weights(run, tmp_path / "whole")


def test_all_is_decoded_before_training(discs: Path, tmp_path: Path) -> None:
    prepared = session.prepare(discs, Settings(training=TINY))
    paths = [sample.image.path for sample in prepared.splits.training.samples[:2]]
    fresh = session.prepare(discs, Settings(training=dataclasses.replace(TINY, cache=0.0)))
    for path in paths:
        damage(path)
    with pytest.raises(DataError, match=rf"2 samples cannot be read: .*{paths[0].stem}.*{paths[1].stem}"):
        session.start(tmp_path / "run", fresh, started=time.monotonic())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("most", [0, 1])
def test_what_there_was_no_time_to_decode_is_decoded_while_training(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("maskwright.training.session.DECODING_SECONDS", -1.0)  # no time at all before training
    training = dataclasses.replace(TINY, cache=0.0, steps=30, batch=1)
    prepared = session.prepare(discs, Settings(training=training))
    loader = session.make_loader(prepared)
    samples = loader.samples
    # The sample that is asked for last, some epochs from now.
    order = [loader.sample_at(step, 0).id for step in range(len(samples))]
    last = next(sample for sample in samples if sample.id == order[-1])
    monkeypatch.setattr(Loader, "sample_at", lambda self, step, slot: samples[0 if samples[0] != last else 1])
    damage(last.image.path)
    run = tmp_path / "run"

    def start() -> None:
        session.start(run, prepared, started=time.monotonic(), max_bad=most, show=lambda status: time.sleep(0.05))

    if most:
        start()
        entries = [json.loads(line) for line in (run / runs.LOG).read_text().splitlines()]
        assert [entry["sample"] for entry in entries if entry["kind"] == "bad"] == [last.id]
        (decoded,) = (entry for entry in entries if entry["kind"] == "decoded")
        assert decoded["samples"] == len(samples)
        assert decoded["took"] > 0
    else:
        with pytest.raises(UnreadableFileError, match=last.image.path.name):
            start()
        assert runs.read_json(run / runs.RESUME / "state.json")["step"] < 30


def test_bad_samples_are_skipped_named_and_replaced_alike_when_resumed(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(session.prepare(discs, Settings(training=TINY)).splits.training.samples[1].image.path)

    def train(run: Path, stop: int = 99) -> Progress:
        prepared = session.prepare(discs, Settings(training=TINY), max_bad=1)

        def show(status: Status) -> None:
            if status.step == stop:
                os.kill(os.getpid(), signal.SIGINT)

        return session.start(run, prepared, started=time.monotonic(), max_bad=1, show=show)

    with pytest.raises(DataError, match=r"cannot be read"):
        session.prepare(discs, Settings(training=TINY))
    train(tmp_path / "whole")
    assert not train(tmp_path / "run", stop=5).finished
    assert resuming.resume(tmp_path / "run", started=time.monotonic()).finished
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    events = [json.loads(line) for line in (tmp_path / "whole" / runs.LOG).read_text().splitlines()]
    (bad,) = [event for event in events if event["kind"] == "bad"]
    assert bad["sample"] in bad["what"]
    assert runs.read_json(tmp_path / "run/resume/state.json")["bad"] == [bad["sample"]]


def test_repaired_files_are_accepted_when_asked(discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(discs, run)
    resuming.extend(run, "2steps")
    mask = next((discs / "masks").glob("*.png"))
    with Image.open(mask) as image:
        changed = np.asarray(image).copy()
    changed[0, 0] = changed[20, 20]
    Image.fromarray(changed).save(mask, compress_level=0)
    with pytest.raises(RunError, match=rf"samples: {mask.stem}.* as they are now: --accept-changed"):
        resuming.resume(run, started=time.monotonic())
    said: list[str] = []
    assert resuming.resume(run, started=time.monotonic(), accept_changed=True, say=said.append).step == 14
    assert any(mask.stem in text for text in said)


def test_a_folder_that_another_process_took_is_left_alone(discs: Path, tmp_path: Path) -> None:
    prepared = session.prepare(discs, Settings(training=TINY))
    fit(discs, tmp_path / "run")
    before = (tmp_path / "run" / runs.WEIGHTS).read_bytes()
    with pytest.raises(RunError, match=r"run holds a run already"):
        session.start(tmp_path / "run", prepared, started=time.monotonic())
    assert (tmp_path / "run" / runs.WEIGHTS).read_bytes() == before
