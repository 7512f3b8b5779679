"""Runs that earlier versions wrote still load, predict, evaluate, compare and train on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import app

FIXTURE = Path(__file__).parent / "fixtures" / "run-06ef253"
"""Made by build 06ef253: `plain` by `maskwright train data/train --steps 60 --model compact-2 --precision fp32` with
widths 8, 12 and 16, `folded` with `--folds 2 --steps 12` and widths 4 and 6; `expected` is what it predicted."""


def maskwright(*arguments: object) -> object:
    return app([str(argument) for argument in arguments], result_action="return_value")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "old")
    return tmp_path / "old"


@pytest.mark.parametrize("kind", ["plain", "folded"])
def test_predicts_as_then(old: Path, kind: str, tmp_path: Path) -> None:
    maskwright("predict", old / kind, old / "data/test/images", "--out", tmp_path / "out")
    for expected in sorted((old / "expected" / kind).glob("*.png")):
        then, now = (np.array(Image.open(path)) for path in (expected, tmp_path / "out/masks" / expected.name))
        # Other processors round otherwise, so a pixel on an edge may change sides.
        assert (then == now).mean() > 0.998


@pytest.mark.parametrize("kind", ["plain", "folded"])
def test_scores_as_then(old: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    maskwright("evaluate", old / kind, old / "data/test", "--json")
    now = json.loads(capsys.readouterr().out)
    then = json.loads((old / "expected" / f"{kind}.json").read_text())
    assert now["miou"] == pytest.approx(then["miou"], abs=0.005)
    assert now["iou"].keys() == then["iou"].keys()


def test_compares_evaluations_made_then(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maskwright("compare", old / "plain", old / "folded", "--json")
    assert "miou" in capsys.readouterr().out


def test_trains_on(old: Path) -> None:
    maskwright("train", old / "data/train", "--resume", old / "plain", "--continue-for", "3steps")
    assert json.loads((old / "plain/run.json").read_text())["scores"]["steps"] == 63
