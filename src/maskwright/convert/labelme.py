"""Labelme: a JSON file beside each image, with a mask shape for every region, and `labels.txt`.

A mask shape is a rectangle of pixels, so holes and single pixels stay what they are. The class "background" is what no
shape covers. Unlabelled regions have the label `__ignore__`, as in Labelme's own conversions.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np

from maskwright.convert.writing import Writing, background_of, present
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.formats.drawn.annotations import is_background
from maskwright.datasets.formats.drawn.labelme import BACKGROUND, IGNORE, LABELS
from maskwright.datasets.formats.drawn.outlines import regions
from maskwright.datasets.samples import Sample
from maskwright.runs import write_text

_VERSION = "5.5.0"
"""The version of Labelme whose files these are like; mask shapes came with 5.2."""


def write(writing: Writing) -> None:
    """Write all samples."""
    names = writing.names()
    classes = writing.dataset.classes
    background = background_of(classes, is_background)
    drawn = [index for index in range(len(classes)) if index != background]
    labels = {index: classes.names[index] for index in drawn} | {UNLABELLED: IGNORE}

    def one(sample: Sample) -> None:
        folder, name = writing.out / (sample.split or ""), names[sample.id]
        mask = writing.read_mask(sample)
        image = writing.put_image(sample, folder, name)
        shapes = [
            _shape(labels[index], *region)
            for index in present(mask)
            if index != background
            for region in regions(mask == index)
        ]
        content = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": image.name,
            "imageData": None,
            "imageHeight": mask.shape[0],
            "imageWidth": mask.shape[1],
        }
        write_text(folder / f"{name}.json", json.dumps(content, ensure_ascii=False) + "\n")

    for _ in writing.each(one):
        pass
    listed = "".join(f"{name}\n" for name in (IGNORE, BACKGROUND, *(labels[index] for index in drawn)))
    write_text(writing.out / LABELS, listed)
    raw = {index: place + 1 for place, index in enumerate(drawn)}
    writing.written_classes = ClassTable(
        classes=tuple(replace(item, values=(raw.get(index, 0),)) for index, item in enumerate(classes.classes)),
        unlabelled=(len(drawn) + 1,),
    )
    writing.lost("class colours: only classes.toml has them")
    writing.say_groups()


def _shape(label: str, top: int, left: int, inside: np.ndarray) -> dict[str, Any]:
    height, width = inside.shape
    png = imagecodecs.png_encode(inside.astype(np.uint8))
    return {
        "label": label,
        "points": [[float(left), float(top)], [float(left + width - 1), float(top + height - 1)]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(png).decode("ascii"),
    }
