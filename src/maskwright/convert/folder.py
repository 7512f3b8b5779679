"""The folder format: `images/`, `masks/` and `classes.toml`, in split folders where the data has splits.

Masks are palette PNG of class indices, 255 unlabelled. `valid/` is written where images have one. Where samples have
groups, `manifest.csv` keeps them; Maskwright then reads the data through it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskwright.convert.writing import Writing
from maskwright.datasets.samples import Sample
from maskwright.datasets.writing import FolderWriter, Written, valid_of
from maskwright.runs import write_text


def write(writing: Writing) -> None:
    """Write all samples; nothing is lost but what files other than images carried."""
    names = writing.names()
    writer = FolderWriter(writing.out, writing.dataset.classes)
    writing.written_classes = writer.classes

    def one(sample: Sample) -> Written:
        assert sample.mask is not None, "a data set to convert has masks"
        writing.tell_of_image(sample)
        before = writer.found(sample.split, names[sample.id], sample.image)
        if before is not None:
            return before
        mask = writing.dataset.classes.encode(sample.mask.read_mask(), str(sample.mask.path))
        return writer.put(sample.split, names[sample.id], sample.image, mask, valid_of(sample))

    written = dict(writing.each(one))
    incomplete = {sample.split for sample, files in written.items() if files.valid is not None}
    for sample, files in written.items():
        if files.valid is None and sample.split in incomplete:
            everywhere = np.ones(sample.image.header().shape, bool)
            written[sample] = replace(files, valid=writer.put_valid(sample.split, names[sample.id], everywhere))
    if any(sample.group is not None for sample in writing.dataset.samples):
        _write_manifest(writing.out, written)


def _write_manifest(out: Path, written: Mapping[Sample, Written]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("image", "mask", "split", "group", "valid"))
    for sample, files in written.items():
        paths = (files.image, files.mask, files.valid)
        image_path, mask_path, valid_path = ("" if path is None else path.relative_to(out).as_posix() for path in paths)
        table.writerow((image_path, mask_path, sample.split or "", sample.group or "", valid_path))
    write_text(out / "manifest.csv", text.getvalue())
