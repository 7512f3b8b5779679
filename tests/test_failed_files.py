"""A file that fails is named, the others are done, and the exit code is 1."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import app
from maskwright.convert import TARGETS
from maskwright.datasets.formats import open_dataset
from maskwright.errors import DataError, FailedFilesError

FIXTURE = Path(__file__).parent / "fixtures" / "run-06ef253"


def maskwright(*arguments: object) -> object:
    return app([str(argument) for argument in arguments], result_action="return_value")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "old")
    return tmp_path / "old"


def cut(path: Path) -> Path:
    """Leave the header and some of the pixels."""
    path.write_bytes(path.read_bytes()[:-40])
    return path


def test_evaluate_scores_the_rest(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = old / "data" / "test"
    images, masks = (sorted((test / room).iterdir()) for room in ("images", "masks"))
    maskwright("evaluate", old / "plain", test, "--json")
    before = json.loads(capsys.readouterr().out)
    cut(images[0])
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(masks[1])
    with pytest.raises(FailedFilesError, match=r"2 samples could not be scored") as caught:
        maskwright("evaluate", old / "plain", test, "--json", "--out", old / "scores")
    now = json.loads(capsys.readouterr().out)
    assert now["images"] == before["images"] - 2
    assert all(path.name in str(caught.value) for path in (images[0], masks[1]))
    assert any("2 samples could not be scored" in note for note in now["notes"])
    assert caught.value.code == 1
    for path in images:
        path.write_bytes(b"")
    with pytest.raises(DataError) as whole:
        maskwright("evaluate", old / "plain", test)
    assert whole.value.code == 2


@pytest.mark.parametrize("to", TARGETS)
def test_convert_writes_the_rest(old: Path, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = old / "data" / "train"
    images, masks = (sorted((train / room).iterdir()) for room in ("images", "masks"))
    cut(masks[0])
    images[1].write_bytes(b"")
    with pytest.raises(FailedFilesError, match="could not be converted") as caught:
        maskwright("convert", train, tmp_path / "out", "--to", to, "--json")
    assert all(path.name in str(caught.value) for path in (masks[0], images[1]))
    assert sum(json.loads(capsys.readouterr().out)["images"].values()) == len(images) - 2
    assert len(open_dataset(tmp_path / "out").samples) == len(images) - 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are no text")
def test_names_that_are_no_utf_8(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = old / "data" / "test"
    for room in ("images", "masks"):
        first = min((test / room).iterdir())
        first.rename(Path(os.fsdecode(os.fsencode(test / room) + b"/caf\xe9" + os.fsencode(first.suffix))))
    maskwright("evaluate", old / "plain", test, "--json")
    assert "caf\\udce9" in (old / "plain" / "report.html").read_text("utf-8") or json.loads(capsys.readouterr().out)
    maskwright("predict", old / "plain", test / "images", "--out", tmp_path / "masks", "--json")
    maskwright("check", test, "--out", tmp_path / "check.html", "--json")
    for to in TARGETS:
        maskwright("convert", test, tmp_path / to, "--to", to)
        assert len(open_dataset(tmp_path / to).samples) == len(open_dataset(test).samples)


def test_lists_in_latin_1(old: Path) -> None:
    train = old / "data" / "train"
    for room in ("images", "masks"):
        first = min((train / room).iterdir())
        first.rename(first.with_name(f"café{first.suffix}"))
    (train / "train.txt").write_bytes("café\n".encode("latin-1"))
    assert [sample.id for sample in open_dataset(train).samples] == ["train/café"]
