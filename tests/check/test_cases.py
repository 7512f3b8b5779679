"""The damages of `benchmarks/audit.py`, small: each is found and nothing else; fixed copies are sound."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from maskwright.check.audit import TITLES, audit
from maskwright.check.fixing import fix
from maskwright.datasets.formats import open_dataset


def load_benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "audit.py"
    spec = importlib.util.spec_from_file_location("benchmark_audit", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


BENCHMARK = load_benchmark()
CASES = BENCHMARK.CASES
LEFT_OUT = {
    "an image that is none", "a truncated image", "a truncated TIFF", "a truncated mask",
    "a mask with its sides swapped", "0/255 with other values", "the same image in train and test",
    "an image without a mask", "a mask without an image", "two images of one stem",
}  # fmt: skip
CORRECTED = {
    "a mask of a photograph on its side", "a colour mask", "a mask off by one", "all masks off by one",
    "an interpolated mask", "a mask interpolated between classes", "0/1 among 0/255", "0/255 among 0/1", "a JPEG mask",
    "a JPEG mask saved as PNG", "a mask of half the size",
}  # fmt: skip


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    sizes = {"street": (96, 128), "cells": (128, 128), "fields": (96, 96)}
    BENCHMARK.write_bases(folder, {"train": 24, "test": 8}, sizes)
    return folder


@pytest.mark.parametrize("base", ["street", "cells", "fields", "binary"])
def test_nothing_is_said_about_clean_sets(bases: Path, base: str) -> None:
    found = audit(bases / base, workers=1)
    assert len(found.scanned.samples) == 32
    assert [problem.what for problem in found.problems] == []


@pytest.mark.parametrize("name", CASES)
def test_a_damage_is_found(bases: Path, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    assert BENCHMARK.judge(case, bases / case.base, tmp_path / "copy") == []


def test_every_kind_of_finding_has_a_case() -> None:
    assert {case.kind for case in CASES.values()} == set(TITLES)


@pytest.mark.parametrize("name", sorted(LEFT_OUT | CORRECTED))
def test_a_fixed_copy_has_no_errors_and_the_source_is_untouched(bases: Path, tmp_path: Path, name: str) -> None:
    case, copy, out = CASES[name], tmp_path / "copy", tmp_path / "fixed"
    BENCHMARK.damage(case, bases / case.base, copy)
    before = digest(copy)
    found = audit(copy, workers=1)
    fixed = fix(found, out)
    assert digest(copy) == before
    assert bool(fixed.corrected) == (name in CORRECTED), fixed
    assert bool(fixed.left_out) == (name in LEFT_OUT), fixed
    assert fixed.not_corrected == ()
    again = audit(out, workers=1)
    assert [problem.what for problem in again.problems] == []
    assert fixed.written == len(again.scanned.samples)
    dataset = open_dataset(out)
    assert dataset.read(dataset.samples[0]).mask.max() > 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("a colour mask", 0.0),
        ("a mask off by one", 0.0),
        ("0/1 among 0/255", 0.0),
        ("0/255 among 0/1", 0.0),
        ("an interpolated mask", 0.02),  # a few corners are rounded
        ("a JPEG mask", 0.005),
    ],
)
def test_corrected_masks_are_what_was_meant(bases: Path, tmp_path: Path, name: str, wrong: float) -> None:
    case, copy, out = CASES[name], tmp_path / "copy", tmp_path / "fixed"
    BENCHMARK.damage(case, bases / case.base, copy)
    damaged = BENCHMARK.masks(copy)[3]
    fix(audit(copy, workers=1), out)
    truth = np.asarray(Image.open(bases / case.base / "train" / "masks" / damaged.name))
    truth = truth // 255 if case.base == "binary" else truth
    fixed = np.asarray(Image.open(out / "train" / "masks" / damaged.name))
    assert (fixed != truth).mean() <= wrong


def test_a_mask_blurred_between_classes_loses_its_false_edges(bases: Path, tmp_path: Path) -> None:
    case, copy, out = CASES["a mask interpolated between classes"], tmp_path / "copy", tmp_path / "fixed"
    BENCHMARK.damage(case, bases / case.base, copy)
    damaged = BENCHMARK.masks(copy)[3]
    fix(audit(copy, workers=1), out)
    truth, blurred, fixed = (
        np.asarray(Image.open(folder / "train" / "masks" / damaged.name)) for folder in (bases / "street", copy, out)
    )
    kept = fixed != 255
    assert 0.8 < kept.mean() < 0.99
    assert (fixed != truth)[kept].mean() < 0.5 * (blurred != truth).mean()


def digest(folder: Path) -> str:
    total = hashlib.blake2b()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}".encode() + path.read_bytes())
    return total.hexdigest()
