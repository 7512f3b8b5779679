"""The folder format: `images/`, `masks/` and `classes.toml`, in split folders where the data has splits.

Masks are palette PNG of class indices, 255 unlabelled. `valid/` is written where images have one. Where samples have
groups, `manifest.csv` keeps them; Maskwright then reads the data through it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskwright.convert.writing import Writing, is_whole_file, write_native
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.samples import Sample
from maskwright.imaging.images import write_mask
from maskwright.runs import write_text


def write(writing: Writing) -> None:
    """Write all samples; nothing is lost but what files other than images carried."""
    names = writing.names()
    writing.written_classes = indexed(writing.dataset.classes)
    homes = {split: writing.out / split if split else writing.out for split in writing.parts}

    def one(sample: Sample) -> tuple[Path, Path, Path | None]:
        home, name = homes[sample.split], names[sample.id]
        assert sample.mask is not None, "a data set to convert has masks"
        indices = writing.dataset.classes.encode(sample.mask.read_mask(), str(sample.mask.path))
        image = writing.put_image(sample, home / "images", name)
        mask = home / "masks" / f"{name}.png"
        valid = _put_valid(writing, sample, home / "valid", name)
        write_mask(mask, indices, writing.dataset.classes.palette())
        return image, mask, valid

    written = list(writing.each(one))
    if any(valid for _, (_, _, valid) in written):
        _complete_valid(written)
    if any(sample.group is not None for sample in writing.dataset.samples):
        _write_manifest(writing.out, written)


def indexed(classes: ClassTable) -> ClassTable:
    """The table of masks that hold indices."""
    same = tuple(replace(item, values=(index,)) for index, item in enumerate(classes.classes))
    return ClassTable(classes=same)


def _put_valid(writing: Writing, sample: Sample, folder: Path, name: str) -> Path | None:
    """Write where the image has data: what `valid/` said, and what the file said, if only pixels of it are written."""
    marks: list[np.ndarray] = []
    if sample.valid is not None:
        raw = sample.valid.read_mask() != 0
        marks.append(raw.any(axis=2) if raw.ndim == 3 else raw)
    if not is_whole_file(sample.image):
        valid = sample.image.read_image().valid
        marks += [] if valid is None else [valid]
    if not marks:
        return None
    return write_native(folder / name, np.logical_and.reduce(marks)[..., None].astype(np.uint8) * np.uint8(255))


def _complete_valid(written: list[tuple[Sample, tuple[Path, Path, Path | None]]]) -> None:
    """Files for images that are valid throughout: `valid/` pairs with `images/`, so that nothing is forgotten."""
    homes = {image.parent.parent for _, (image, _, valid) in written if valid}
    for place, (sample, (image, mask, valid)) in enumerate(written):
        if valid is None and image.parent.parent in homes:
            height, width = sample.image.header().shape
            everywhere = np.full((height, width, 1), UNLABELLED, np.uint8)
            file = write_native(image.parent.parent / "valid" / mask.stem, everywhere)
            written[place] = (sample, (image, mask, file))


def _write_manifest(out: Path, written: list[tuple[Sample, tuple[Path, Path, Path | None]]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("image", "mask", "split", "group", "valid"))
    for sample, (image, mask, valid) in written:
        paths = ("" if path is None else path.relative_to(out).as_posix() for path in (image, mask, valid))
        image_path, mask_path, valid_path = paths
        table.writerow((image_path, mask_path, sample.split or "", sample.group or "", valid_path))
    write_text(out / "manifest.csv", text.getvalue())
