"""YOLO segmentation: `images/SPLIT/`, `labels/SPLIT/NAME.txt` with polygons along pixel edges, and `data.yaml`.

Every region of a class is a polygon. A hole is joined to the outline by a cut walked there and back, since the format
has no holes. The class "background" is what no polygon covers, and has none. Unlabelled pixels, which the format does
not know, become polygons of one more class, "unlabelled": leave it out of the loss, or of the data.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from maskwright.convert.writing import Writing, background_of, present
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.formats.drawn.annotations import is_background
from maskwright.datasets.formats.drawn.outlines import joined, regions, rings
from maskwright.datasets.samples import Sample
from maskwright.runs import write_text

_DECIMALS = 7
"""Of parts of width and height: exact to a twentieth of a pixel for images of up to a million."""


def write(writing: Writing) -> None:
    """Write all samples."""
    names = writing.names()
    classes = writing.dataset.classes
    background = background_of(classes, is_background)
    drawn = [index for index in range(len(classes)) if index != background]
    numbers = {index: number for number, index in enumerate(drawn)} | {UNLABELLED: len(drawn)}

    def one(sample: Sample) -> int:
        folder = sample.split or ""
        mask = writing.read_mask(sample)
        writing.put_image(sample, writing.out / "images" / folder, names[sample.id])
        lines = [
            line for index in present(mask) if index != background for line in _lines(mask == index, numbers[index])
        ]
        write_text(writing.out / "labels" / folder / f"{names[sample.id]}.txt", "".join(lines))
        return int(np.count_nonzero(mask == UNLABELLED))

    unlabelled = [count for _, count in writing.each(one) if count]
    listed = [classes.names[index] for index in drawn]
    if unlabelled:
        extra = "unlabelled" if "unlabelled" not in listed else "unlabelled pixels"
        listed.append(extra)
        writing.note(f"unlabelled pixels, in {{}} images, are objects of the class {extra!r}", len(unlabelled))
    if None in writing.parts:
        writing.note("the data has no splits: all images are train; programs of YOLO want a val too")
    yaml = [f"{part or 'train'}: images/{part or ''}".rstrip("/") for part in writing.parts]
    yaml += ["names:", *(f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(listed))]
    write_text(writing.out / "data.yaml", "\n".join(yaml) + "\n")
    writing.written_classes = ClassTable(
        classes=tuple(
            replace(item, values=(0 if index == background else numbers[index] + 1,))
            for index, item in enumerate(classes.classes)
        ),
        unlabelled=(len(drawn) + 1,) if unlabelled else (),
    )
    writing.lost("class colours: only classes.toml has them")
    writing.say_groups()


def _lines(region: np.ndarray, number: int) -> list[str]:
    height, width = region.shape
    lines = []
    for top, left, inside in regions(region):
        corners = (joined(rings(inside)) + np.array((left, top))) / (width, height)
        lines.append(f"{number} {' '.join(_shown(part) for part in corners.ravel().tolist())}\n")
    return lines


def _shown(part: float) -> str:
    return f"{part:.{_DECIMALS}f}".rstrip("0").rstrip(".")
