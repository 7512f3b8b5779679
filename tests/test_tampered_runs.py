"""A run that was tampered with, or cut off, is refused by name, with what was expected: never a traceback."""

from __future__ import annotations

import copy
import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwright import Predictor, runs
from maskwright.errors import MaskwrightError, RunError
from maskwright.evaluate.compare import common_evaluations
from maskwright.evaluate.report import write_report
from maskwright.planning.plan import Plan
from maskwright.training import checkpoint, resuming

FIXTURE = Path(__file__).parent / "fixtures" / "run-06ef253"
VALUES: list[Any] = [None, [], {}, "", -1, 10**12, 0.5, float("nan"), float("inf"), "x", True, [None], {"a": 1}, "a\0b"]
IMAGE = np.full((32, 40, 3), 90, np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE / "plain", tmp_path / "run")
    return tmp_path / "run"


def refused(run: Path) -> list[str]:
    """What the readers of a run say of it; anything but a MaskwrightError fails the test."""
    readers: list[Callable[[], object]] = [
        lambda: Predictor.load(run)(IMAGE),
        lambda: write_report(run),
        lambda: common_evaluations([run, run]).tables(),
        lambda: Plan.load(run),
        lambda: checkpoint.read_state(run),
    ]
    said = []
    for read in readers:
        try:
            read()
        except MaskwrightError as error:
            said.append(str(error))
    return said


def ways(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [way, *(deeper for key, part in inner for deeper in ways(part, (*way, key)))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["run.json", "resume/state.json"])
def test_other_values_are_explained(run: Path, name: str) -> None:
    path = run / name
    content = json.loads(path.read_text("utf-8"))
    every = [(way, value) for way in ways(content) if way for value in VALUES]
    drawn = random.Random(18)
    for way, value in drawn.sample(every, 40):
        changed = copy.deepcopy(content)
        holder = changed
        for key in way[:-1]:
            holder = holder[key]
        holder[way[-1]] = value
        path.write_text(json.dumps(changed), "utf-8")
        try:
            refused(run)
        except Exception as error:
            raise AssertionError(f"{name}: {way} = {value!r}") from error
    for way in drawn.sample([way for way in ways(content) if way], 10):
        changed = copy.deepcopy(content)
        holder = changed
        for key in way[:-1]:
            holder = holder[key]
        del holder[way[-1]]
        path.write_text(json.dumps(changed), "utf-8")
        refused(run)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "plan.toml",
        "resume/state.json",
        "model.safetensors",
        "evaluations/data-test/confusions.npz",
        "log.jsonl",
    ],
)
def test_files_that_are_cut_off_are_named(run: Path, name: str) -> None:
    path = run / name
    whole = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        said = refused(run)
        if name not in ("log.jsonl", "plan.toml"):  # a killed process leaves half a line; half a plan may be one
            assert any(path.name in text for text in said), f"cut at {tenth}0 %"


def test_flipped_bytes_are_named_or_harmless(run: Path) -> None:
    rng = np.random.default_rng(18)
    for name in ("model.safetensors", "evaluations/data-test/confusions.npz"):
        whole = (run / name).read_bytes()
        for _ in range(15):
            content = bytearray(whole)
            for place in rng.integers(0, min(len(whole), 3000), 4):
                content[place] ^= int(rng.integers(1, 256))
            (run / name).write_bytes(content)
            refused(run)
        (run / name).write_bytes(whole)


@pytest.mark.parametrize("missing", ["scores", "network", "data", "plan.toml", "resume/state.json"])
def test_what_resuming_needs_is_named(run: Path, missing: str) -> None:
    if (run / missing).exists():
        (run / missing).write_bytes(b"\xff\x00")
    else:
        content = json.loads((run / "run.json").read_text("utf-8"))
        del content[missing]
        runs.write_json(run / "run.json", content)
    with pytest.raises(RunError, match=missing.split("/")[-1].replace(".", r"\.")):
        resuming.resume(run, started=time.monotonic(), data=FIXTURE / "data" / "train")
