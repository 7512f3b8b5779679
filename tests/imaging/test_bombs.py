"""The short form of `benchmarks/bombs.py`: every bomb that is quickly made is refused, and costs little memory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from maskwright import open_dataset
from maskwright.errors import MaskwrightError, TooLargeError
from maskwright.imaging.images import read_mask, read_shape
from maskwright.imaging.memory import OPTION, require_room, require_room_inflated, within

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bombs.py"
SLOW = {"npz", "npz_of_a_long_header", "npz_of_large_values", "coco_of_many_classes", "class_table_of_many_classes"}
"""Those that take seconds to be made or parsed."""


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bombs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BOMBS = _script().BOMBS


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.filterwarnings("ignore")  # of the libraries that find files odd
@pytest.mark.parametrize("name", sorted(set(BOMBS) - SLOW))
def test_bombs_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("h5py")
    monkeypatch.setenv(OPTION, "0.5")
    path = BOMBS[name](tmp_path)
    before = _peak() if sys.platform == "linux" else 0
    with pytest.raises(MaskwrightError):  # noqa: PT012 - a folder is refused when it is opened or when it is read
        if path.is_dir():
            data = open_dataset(path)
            for sample in data.samples:
                data.read(sample)
        else:
            read_shape(path)
            read_mask(path)
    assert sys.platform != "linux" or _peak() - before < 300


def test_the_limit_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTION, "0.01")
    require_room(10_000_000)
    with pytest.raises(TooLargeError, match=f"as {OPTION} says"):
        require_room(11_000_000)
    for wrong in ("much", "-1", "nan", "0"):
        monkeypatch.setenv(OPTION, wrong)
        with pytest.raises(MaskwrightError, match="expected GiB"):
            require_room(1)


def test_what_comes_over_a_network_has_fewer_pixels() -> None:
    with within():
        require_room(100_000_000)
        with pytest.raises(TooLargeError, match="taken from a network"):
            require_room(100_000_001)
        with within(10), pytest.raises(TooLargeError):
            require_room(11)
        require_room(11)
    require_room(100_000_001)


def test_what_is_inflated_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _script().zeros(10_000_000)
    require_room_inflated(content, most=10_000_000)
    with pytest.raises(TooLargeError, match="yield more than 9,999,999"):
        require_room_inflated(content, most=9_999_999)
    monkeypatch.setenv(OPTION, "0.001")
    with pytest.raises(TooLargeError, match="yield more than"):
        require_room_inflated(content, most=10**9 // 200)
