"""Corrected copies: where they may go, what is copied, and what is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.check.audit import audit
from maskwright.check.fixing import fix
from maskwright.datasets.formats import open_dataset
from maskwright.errors import ClassTableError, SettingError


def test_a_sound_set_is_copied_as_it_is(discs: Path, tmp_path: Path) -> None:
    (discs / "valid").mkdir()
    for path in (discs / "images").iterdir():
        marked = np.full((40, 48), 255, np.uint8)
        marked[:5] = 0
        Image.fromarray(marked).save(discs / "valid" / path.name)
    out = tmp_path / "fixed"
    fixed = fix(audit(discs), out)
    assert (fixed.written, fixed.corrected, fixed.left_out, fixed.not_corrected) == (8, (), (), ())
    assert json.loads((out / "corrections.json").read_text())["written"] == 8
    before, after = open_dataset(discs), open_dataset(out)
    assert after.classes.names == before.classes.names
    assert [item.values for item in after.classes.classes] == [(0,), (1,)]
    for old, new in zip(before.samples, after.samples, strict=True):
        assert old.image.path.read_bytes() == new.image.path.read_bytes()
        first, second = before.read(old), after.read(new)
        assert first.valid is not None
        assert second.valid is not None
        assert (first.mask == second.mask).all()
        assert (first.valid == second.valid).all()


def test_the_source_and_other_data_are_not_written_over(discs: Path, tmp_path: Path) -> None:
    found = audit(discs)
    with pytest.raises(SettingError, match="lies within the data set"):
        fix(found, discs / "fixed")
    with pytest.raises(SettingError, match="not empty"):
        fix(found, discs)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingError, match="not empty"):
        fix(found, tmp_path / "file")


def test_what_was_not_corrected_is_listed(discs: Path, tmp_path: Path) -> None:
    path = discs / "masks" / "photo03.png"
    Image.fromarray(np.full((40, 48), 255, np.uint8)).save(path)
    fixed = fix(audit(discs), tmp_path / "fixed")
    assert fixed.written == 8
    assert fixed.not_corrected == ("Masks without a label: 1",)


def test_classes_that_cannot_be_told_cannot_be_corrected(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    folder = write_pairs(tmp_path / "data", 5)  # values 0 and 7
    (folder / "classes.toml").unlink()
    with pytest.raises(ClassTableError, match=r"classes cannot be told(?s:.)*0 .*7 "):
        fix(audit(folder), tmp_path / "fixed")


def test_pages_of_a_stack_become_files(tmp_path: Path) -> None:
    import tifffile

    from maskwright.datasets.samples import Sample
    from maskwright.datasets.sources import Source, Window

    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 60000, (3, 40, 50), np.uint16), rng.integers(0, 2, (3, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    from dataclasses import replace

    found = audit(_two_pairs(tmp_path))
    window = Window(4, 5, 20, 30)
    samples = tuple(
        Sample(
            id=f"stack/{page}",
            image=Source(path=tmp_path / "image.tif", page=page, window=window),
            mask=Source(path=tmp_path / "mask.tif", page=page, window=window),
        )
        for page in range(3)
    )
    from maskwright.check.scan import scan

    scanned = replace(found.scanned, samples=samples, measured=tuple(scan(samples, frozenset())))
    fixed = fix(replace(found, scanned=scanned, problems=()), tmp_path / "out" / "fixed")
    assert fixed.written == 3
    dataset = open_dataset(fixed.out)
    assert [sample.id for sample in dataset.samples] == ["stack-0", "stack-1", "stack-2"]
    pair = dataset.read(dataset.samples[1])
    assert pair.image.dtype == np.uint16
    assert (pair.image[..., 0] == image[1, 4:24, 5:35]).all()
    assert (pair.mask == mask[1, 4:24, 5:35]).all()


def _two_pairs(folder: Path) -> Path:
    """A set with masks of 0 and 1."""
    for part in ("images", "masks"):
        (folder / "plain" / part).mkdir(parents=True)
    for name in "ab":
        values = np.tile(np.array([0, 1], np.uint8).repeat(20), (40, 1))
        Image.fromarray(values * np.uint8(200)).save(folder / "plain" / "images" / f"{name}.png")
        Image.fromarray(values).save(folder / "plain" / "masks" / f"{name}.png")
    return folder / "plain"
