"""The first look of the precheck passes over nothing that the rules would find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskwright.check.edges import Placement, all_in_place
from maskwright.check.misalignment import misplaced_masks
from maskwright.check.precheck import _seem_sound, precheck
from maskwright.check.scan_result import Labels, Measured, ScanResult, Settled
from maskwright.check.second_look import findings_in
from maskwright.datasets.classes import ClassTable
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.samples import Sample, Source

TABLE = ClassTable.from_dict({"class": [{"name": name, "value": value} for value, name in enumerate("abc")]}, "test")

placements = st.builds(
    Placement,
    here=st.floats(0, 60),
    best=st.floats(0, 60),
    shift=st.tuples(st.integers(-6, 6), st.integers(-6, 6)),
    step=st.integers(1, 3),
    turned=st.floats(0, 60),
    turn=st.sampled_from(["", "turned by 180 degrees"]),
    pixels=st.integers(40, 5000),
)


def scanned(found: list[Placement]) -> ScanResult:
    path = Path("mask.png")
    samples = tuple(
        Sample(id=str(number), image=Source(path=path), mask=Source(path=path)) for number in range(len(found))
    )
    measured = tuple(
        Measured(
            labels=Labels(
                shape=(9, 9), digest="", colored=False, jpeg=False, distinct=2, counts=(), edges=9, ramps=0, spots=0,
                shown_spots=(), placement=placement,
            )
        )
        for placement in found
    )  # fmt: skip
    return ScanResult(samples=samples, measured=measured, settled=Settled(TABLE, ""), home=path)


@given(st.lists(placements, max_size=14))
def test_masks_that_are_all_in_place_are_no_problem_to_any_rule(found: list[Placement]) -> None:
    if all_in_place(found):
        assert misplaced_masks(scanned(found)) == []


def test_a_weak_a_turned_and_a_shifted_placement_are_not_in_place() -> None:
    home: dict[str, Any] = {"here": 30.0, "best": 30.0, "shift": (0, 1), "step": 1, "turned": 4.0}
    assert all_in_place([Placement(**home)] * 3)
    for change in ({"here": 4.0, "best": 4.0}, {"best": 80.0}, {"turned": 80.0}, {"shift": (0, -2)}):
        assert not all_in_place([Placement(**home), Placement(**home | change)])


def _same(data: Path) -> tuple[str, ...]:
    """Kinds that the precheck finds, after seeing that the rules find the same."""
    dataset = open_dataset(data)
    found = precheck(dataset)
    assert found == findings_in(dataset, dataset.samples)
    return tuple(problem.kind for problem in found)


def _mask(folder: Path, change: Callable[[np.ndarray], np.ndarray], number: int = 3) -> None:
    path = folder / "masks" / f"photo{number:02}.png"
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def test_a_sound_set_needs_no_rules(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    dataset = open_dataset(write_pairs(tmp_path / "data", 8))
    assert _seem_sound(dataset.samples, dataset)
    assert findings_in(dataset, dataset.samples) == ()
    assert _seem_sound((), dataset.with_samples(()))


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_without_an_object_or_a_label_is_no_problem(
    write_pairs: Callable[..., Path], tmp_path: Path, value: int
) -> None:
    data = write_pairs(tmp_path / "data", 8)
    _mask(data, lambda mask: np.full_like(mask, value))
    assert _same(data) == ()


def test_everything_unlabelled(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 4)
    for number in range(4):
        _mask(data, lambda mask: np.full_like(mask, 255), number)
    assert _same(data) == ("everything-unlabelled",)


def test_0_and_255_among_masks_of_0_and_1(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 6)
    (data / "classes.toml").write_text('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = "b"\nvalue = 1\n')
    for number in range(6):
        _mask(data, lambda mask: (mask > 0) * np.uint8(1), number)
    _mask(data, lambda mask: mask * np.uint8(255))
    assert _same(data) == ("undeclared-values",)


def test_a_smoothed_mask_of_declared_values(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 6, size=(80, 90))
    table = "".join(f'[[class]]\nname = "c{value}"\nvalue = {value}\n' for value in range(8))
    (data / "classes.toml").write_text(table)

    def smooth(mask: np.ndarray) -> np.ndarray:
        small = Image.fromarray(mask).resize((45, 40), Image.Resampling.BILINEAR)
        return np.array(small.resize((90, 80), Image.Resampling.BILINEAR))

    _mask(data, smooth)
    assert _same(data) == ("interpolated-mask",)


def test_a_shifted_mask_and_one_of_another_size(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 6, size=(80, 90))
    dataset = open_dataset(data)
    _mask(data, lambda mask: np.roll(mask, 14, 1))
    assert [problem.kind for problem in precheck(dataset)] == ["shifted-mask"]
    assert precheck(dataset) == findings_in(dataset, dataset.samples)
    _mask(data, lambda mask: np.ascontiguousarray(mask[:-1]), 4)
    assert [problem.kind for problem in precheck(dataset)] == ["size-mismatch", "shifted-mask"]
