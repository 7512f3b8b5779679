"""benchmarks/budget.py, but for its training: what it says of scores."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def budget() -> ModuleType:
    spec = importlib.util.spec_from_file_location("budget", ROOT / "benchmarks" / "budget.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_errors_are_compared_by_data_set_and_as_a_geometric_mean(budget: ModuleType) -> None:
    scores = {
        "a | 4 min | maskwright, seed 0": 0.7,
        "a | 4 min | maskwright, seed 1": 0.9,
        "a | 4 min | small, seed 0": 0.6,
        "b | 4 min | maskwright, seed 0": 0.9,
        "b | 4 min | small, seed 0": 0.2,
        "c | 4 min | small, seed 0": 0.2,  # ours is not run yet
        "a | 10 min | maskwright, seed 0": 0.95,  # and no rival
        "a | 4 min | maskwright --model unet, seed 0": 0.1,  # another plan than ours
    }
    rows = budget.summary({key: {"miou": score} for key, score in scores.items()})
    small = {row["data"]: row["error"] for row in rows if row["rival"] == "small"}
    assert small == pytest.approx({"a": 0.5, "b": 0.125, "all": 0.25})
    (everything,) = (row for row in rows if row["rival"] == "small" and row["data"] == "all")
    assert (everything["ours"], everything["theirs"]) == pytest.approx((0.85, 0.4))
