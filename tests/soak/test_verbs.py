"""Kills at any moment and full disks, in every verb: nothing is lost, nothing is left, the same command goes on.

The long form, `make soak`, kills 200 commands, 20 of them in a run older than a minute; the short one a few.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from maskwright import runs
from maskwright.config import Settings, Training
from maskwright.outputs import RECORD, RECORD_OF_FILES
from maskwright.training import session

PRELUDE = """
import sys
import maskwright.demo as demo
demo.COUNTS = {kind: {"train": 4, "test": 2} for kind in demo.COUNTS}
if "train" in sys.argv[1:2]:
    import maskwright.training.loop as loop
    loop.SAVE_EVERY = float(sys.argv.pop())
from maskwright.cli import main
main()
"""
"""The command line, but with a small demo, and states of training as often as the last word says."""
TINY = [
    "--model", "compact-2", "--model-options.widths", "4", "--model-options.widths", "4", "--crop", "32", "32",
    "--batch", "2", "--val-fraction", "0.25",
]  # fmt: skip
FORMATS = ("folder", "coco", "voc", "yolo", "labelme")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
VERBS: dict[str, list[str]] = {
    "check": ["check", "data", "--out", "out/checked"],
    "check --fix": ["check", "data", "--out", "out/checked", "--fix", "out/fixed"],
    "adopt": ["adopt", "ambiguous", "--as", "1", "--out", "out/adopted"],
    "preview": ["preview", "data", "--out", "out/preview.png", "--rows", "1", "--views", "1"],
    **{f"convert --to {to}": ["convert", "data", f"out/{to}", "--to", to] for to in FORMATS},
    "demo": ["demo", "--out", "out/demo", "--images-only"],
    "plan": ["plan", "data", "--steps", "3", *TINY],
    "train": ["train", "data", "--out", "out/run", "--steps", "40", *TINY, "0.0"],
    "evaluate": ["evaluate", "first", "unseen"],
    "predict": ["predict", "first", "unseen/images", "--out", "out/predicted"],
    "compare": ["compare", "first", "second", "--out", "out/compared.html"],
    "weak": ["weak", "script.py", "project"],
    "labels import": ["labels", "import", "project", "data"],
    "labels export": ["labels", "export", "labelled", "out/exported", "--to", "coco"],
}  # fmt: skip
"""A command of each verb; paths are those of the world."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
MINE = ("data", "unseen", "ambiguous", "script.py")
"""What is the user's alone: nothing ever changes it."""


def build(home: Path, write_pairs: Callable[..., Path]) -> Path:
    """Make the world."""
    home.mkdir()
    for name, count in (("data", 8), ("unseen", 3), ("project", 8), ("labelled", 8), ("ambiguous", 4)):
        write_pairs(home / name, count, seed=count)
    (home / "ambiguous" / "classes.toml").unlink()
    shutil.copytree(home / "ambiguous" / "masks", home / "ambiguous" / "nuclei")
    (home / "ambiguous" / "masks").rename(home / "ambiguous" / "cells")
    for name in ("project", "labelled"):
        shutil.rmtree(home / name / "masks")
    training = Training(
        model="compact-2", model_options={"widths": [4, 4]}, crop=(32, 32), batch=2, steps=2, val_fraction=0.25
    )
    for name in ("first", "second"):
        prepared = session.prepare(home / "data", Settings(training=training))
        session.start(home / name, prepared, started=time.monotonic())
    for words in (["weak", "script.py", "labelled", "--new"], ["labels", "import", "labelled", "data"]):
        assert run(home, words).code == 0
    for name in ("first", "second"):
        assert run(home, ["evaluate", name, "unseen"]).code == 0
    (home / "out").mkdir()
    return home


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    errors: str
    seconds: float


def run(home: Path, words: list[str], *, kill_after: float | None = None, number: int = 9, largest: int = 0) -> Ended:
    """Run a command in a world; send it a signal after some seconds, or let no file grow beyond a number of bytes.

    Whatever happens, no traceback is shown and no process is left.
    """
    scratch = home / "tmp"
    scratch.mkdir(exist_ok=True)

    def limited() -> None:
        import resource

        if largest:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    started = time.monotonic()
    with (home / "errors.txt").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE, *words],
            cwd=home,
            env=ENVIRONMENT | {"TMPDIR": str(scratch)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if largest else errors,
            preexec_fn=limited,
            text=True,
        )
        children: list[psutil.Process] = []
        if kill_after is not None:
            try:
                process.wait(kill_after)
            except subprocess.TimeoutExpired:
                children = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(number)
        _, said = process.communicate(timeout=300)
        errors.seek(0)
        said = (said or "") + errors.read()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, f"{words}: {alive} outlived it"
    assert "Traceback" not in said, f"{words}:\n{said}"
    return Ended(process.returncode, said, time.monotonic() - started)


def finish(home: Path, words: list[str]) -> Ended:
    """Give a command again, as its messages say after a kill."""
    out = home / "out" / "run"
    if words[0] == "train" and (out / runs.RUN).exists():
        ended = run(home, ["train", "--resume", "out/run", words[-1]])
        return Ended(0, ended.errors, ended.seconds) if "is finished" in ended.errors else ended
    return run(home, words)


def digest(*places: Path) -> dict[str, str]:
    """What lies in some places."""
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def mine(home: Path) -> dict[str, str]:
    """What nothing may change."""
    images = [home / name / "images" for name in ("project", "labelled")]
    return digest(
        *(home / name for name in MINE), *images, *(home / name / runs.WEIGHTS for name in ("first", "second"))
    )


def litter(home: Path) -> Iterator[str]:
    """What is left of unfinished work."""
    for path in home.rglob("*"):
        if runs.is_temporary(path.name) or path.name.endswith(".unfinished") or path.name == ".votes":
            yield str(path)
    yield from (str(path) for path in (home / "tmp").iterdir() if not path.name.startswith("torchinductor_"))


def result(home: Path, name: str) -> dict[str, bytes]:
    """What a command wrote that is the same whenever it is given."""
    places = {
        "check --fix": ["out/fixed"],
        "train": [f"out/run/{runs.WEIGHTS}"],
        "adopt": ["out/adopted"],
        "demo": ["out/demo"],
        "predict": ["out/predicted/masks"],
        "labels export": ["out/exported"],
    } | {name: [f"out/{name.split()[-1]}"] for name in VERBS if name.startswith("convert")}
    files = [path for place in places.get(name, []) for path in ([home / place, *(home / place).rglob("*")])]
    records = (RECORD, RECORD_OF_FILES)  # of all that was ever written
    kept = [path for path in files if path.is_file() and path.name not in records]
    return {str(path.relative_to(home)): path.read_bytes() for path in kept}


KILLED = ("check --fix", "convert --to coco", "predict")
MINUTE = 62.0


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, write_pairs: Callable[..., Path]) -> Path:
    return build(tmp_path_factory.mktemp("verbs") / "world", write_pairs)


def kill_all_over(world: Path, folder: Path, verbs: tuple[str, ...], kills: int) -> int:
    """Kill commands at random moments, each in a world of its own, and let them finish; returns how many were hit."""
    rng = random.Random(kills)
    whole: dict[str, tuple[float, dict[str, bytes]]] = {}
    hit = 0
    for number in range(kills):
        name = verbs[number % len(verbs)]
        if name not in whole:
            home = shutil.copytree(world, folder / "home")
            ended = run(home, VERBS[name])
            assert ended.code == 0, ended.errors
            assert list(litter(home)) == []
            whole[name] = ended.seconds, result(home, name)
            shutil.rmtree(home)
        seconds, expected = whole[name]
        home = shutil.copytree(world, folder / "home")  # results hold paths
        before = mine(home)
        ended = run(home, VERBS[name], kill_after=seconds * rng.uniform(0.2, 1), number=rng.choice(SIGNALS))
        hit += ended.code != 0
        assert mine(home) == before, name
        if not expected or result(home, name) != expected:  # else it was killed when all was in place
            ended = finish(home, VERBS[name])
            assert ended.code == 0, f"{name}: {ended.errors}"
        assert mine(home) == before, name
        assert list(litter(home)) == [], name
        assert result(home, name) == expected, name
        shutil.rmtree(home)
    return hit


def test_some_verbs_are_killed(world: Path, tmp_path: Path) -> None:
    kill_all_over(world, tmp_path, KILLED, len(KILLED))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_verb_is_killed(world: Path, tmp_path: Path) -> None:
    hit = kill_all_over(world, tmp_path, tuple(VERBS), 180)
    print(f"{hit} of 180 commands were killed before they ended")
    assert hit > 120


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_run_older_than_a_minute_is_killed_twenty_times(world: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    whole, broken = shutil.copytree(world, tmp_path / "whole"), shutil.copytree(world, tmp_path / "broken")
    words = ["train", "data", "--out", "out/run", "--steps", "12000", "--validate-every", "4000", *TINY, "60.0"]
    assert run(whole, words).code == 0
    assert run(broken, words, kill_after=MINUTE + 8).code != 0
    state = broken / "out" / "run" / runs.RESUME / "state.json"
    for _ in range(19):
        step = runs.read_json(state)["step"]
        assert step > 0
        run(broken, ["train", "--resume", "out/run", "60.0"], kill_after=rng.uniform(2, 8))
        assert runs.read_json(state)["step"] >= step
    assert run(broken, ["train", "--resume", "out/run", "60.0"]).code == 0
    assert result(broken, "train") == result(whole, "train")
    assert list(litter(broken)) == []
    assert digest(broken / "data") == {
        path.replace(str(world), str(broken)): value for path, value in digest(world / "data").items()
    }


SIZES = (1, 300, 3000, 30_000)
"""Bytes that a file may have."""
FILLED = ("convert --to coco", "evaluate")


@pytest.mark.parametrize(
    ("name", "sizes"),
    [*((name, SIZES[1:2]) for name in FILLED), *(pytest.param(name, SIZES, marks=pytest.mark.soak) for name in VERBS)],
)
def test_no_file_can_be_written(world: Path, tmp_path: Path, name: str, sizes: tuple[int, ...]) -> None:
    refused = 0
    for size in sizes:
        home = shutil.copytree(world, tmp_path / str(size))
        before = mine(home)
        ended = run(home, VERBS[name], largest=size)
        assert ended.code in (0, 1, 2), ended.errors
        if ended.code == 2:
            refused += 1
            assert "error: " in ended.errors
        assert mine(home) == before
        assert list(litter(home)) == []
        if ended.code:  # else all files were small enough
            ended = finish(home, VERBS[name])
            assert ended.code == 0, ended.errors
        assert list(litter(home)) == []
        assert mine(home) == before
        shutil.rmtree(home)
    assert refused or name == "plan"
