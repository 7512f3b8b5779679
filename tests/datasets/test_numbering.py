"""Values that number objects are told from classes, and said with the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from maskwright.check.audit import check
from maskwright.datasets.adopt import adopt
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.numbering import are_numbers
from maskwright.errors import ClassTableError


def numbered(numbers: list[int], dtype: str = "uint16", side: int = 2) -> np.ndarray:
    """A square of `side` pixels for each number."""
    mask = np.zeros((64, 64), dtype)
    step = side + 1
    for place, number in enumerate(numbers):
        y, x = divmod(place, 64 // step)
        mask[step * y : step * y + side, step * x : step * x + side] = number
    return mask


def write(root: Path, *masks: np.ndarray) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for place, mask in enumerate(masks):
        pixels = np.full((64, 64, 3), 10 * place, np.uint8)
        pixels[mask > 0] += 90
        PillowImage.fromarray(pixels).save(root / "images" / f"{place}.png")
        tifffile.imwrite(root / "masks" / f"{place}.tif", mask)
    return root


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([1, 2, 3], None),
        ([1, 2, 3, 4], True),
        ([1, 2, 4, 9], False),
        ([1, 2, 3, 4, 4], False),
        ([1, 2, 3, 255], None),
        (list(range(1, 301)), True),
    ],
)
def test_what_values_look_like(numbers: list[int], kind: bool | None) -> None:
    mask = numbered(numbers)
    if numbers == [1, 2, 3, 4, 4]:
        mask[60:, 60:] = 4
    assert are_numbers(mask, np.unique(mask)) is kind


@pytest.mark.parametrize("most", [12, 300])
def test_numbers_of_objects_are_refused_and_adopted_as_one_class(tmp_path: Path, most: int) -> None:
    root = write(tmp_path / "set", *(numbered(list(range(1, most + place))) for place in range(3)))
    with pytest.raises(ClassTableError, match=r"number the objects \(instances\)"):
        open_dataset(root)
    adopt(root, 1)
    data = open_dataset(root)
    assert data.classes.names == ["background", "foreground"]
    assert np.bincount(data.read(data.samples[0]).mask.ravel())[1] == 4 * (most - 1)


def test_objects_with_gaps_between_their_numbers_are_a_warning(tmp_path: Path) -> None:
    """As they are after somebody removed objects, or cut a large image into tiles."""
    masks = [numbered([n for n in range(1, 13) if (n + place) % 4]) for place in range(4)]
    root = write(tmp_path / "set", *masks)
    data = open_dataset(root)
    assert len(data.classes) == 13
    (told,) = [note for note in data.notes if "may number objects" in note]
    assert "value = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]" in told
    found = check(root, tmp_path / "checks")
    assert [problem.level for problem in found.problems if problem.kind == "numbered-objects"] == ["warning"]


def test_organs_are_classes(tmp_path: Path) -> None:
    """One region each, but the same ones in most images."""
    masks = [numbered([2, 1, *range(3, 10)]) for _ in range(5)] + [numbered([*range(1, 8), 9])]
    assert not any("may number objects" in note for note in open_dataset(write(tmp_path / "set", *masks)).notes)


@pytest.mark.parametrize("fill", [-9999.0, -32768.0])
def test_fill_values_of_a_quarter_of_the_pixels_are_told(tmp_path: Path, fill: float) -> None:
    """So many that quantiles of the channel fall between the fill value and the others."""
    root = write(tmp_path / "set", *(numbered([1] * 9, "uint8") for _ in range(4)))
    rng = np.random.default_rng(0)
    for path in sorted((root / "images").iterdir()):
        values = rng.integers(100, 900, (64, 64, 4)).astype(np.float32)
        values[:16] = fill
        tifffile.imwrite(path.with_suffix(".tif"), values, photometric="minisblack", planarconfig="contig")
        path.unlink()
    found = [problem for problem in check(root, tmp_path / "checks").problems if problem.kind == "sentinel"]
    assert [f"The value {fill:g} lies far outside" in problem.what for problem in found] == [True]
