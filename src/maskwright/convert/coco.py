"""COCO: `annotations/stuff_SPLIT.json` with compressed run lengths, one annotation for each class of an image.

Category ids are class indices + 1, with the class's colour. Unlabelled pixels have no annotation; background is a
category like any other, and has one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from maskwright.convert.writing import Writing, present
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.formats.drawn.rle import compress, counts_of
from maskwright.datasets.samples import Sample
from maskwright.runs import write_text

NOTHING = 0
"""The raw value, when read again, of pixels without an annotation."""


def write(writing: Writing) -> None:
    """Write all samples."""
    names = writing.names()
    classes = writing.dataset.classes
    writing.written_classes = ClassTable(
        classes=tuple(replace(item, values=(index + 1,)) for index, item in enumerate(classes.classes)),
        unlabelled=(NOTHING,),
    )

    def one(sample: Sample) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        folder = writing.out / "images" / (sample.split or "")
        mask = writing.read_mask(sample)
        path = writing.put_image(sample, folder, names[sample.id])
        entry = {"file_name": path.name, "height": mask.shape[0], "width": mask.shape[1]}
        return entry, [_annotation(mask == index, index + 1) for index in present(mask) if index != UNLABELLED]

    contents: dict[str | None, tuple[list[Any], list[Any]]] = {part: ([], []) for part in writing.parts}
    for sample, (entry, found) in writing.each(one):
        images, annotations = contents[sample.split]
        images.append({"id": len(images) + 1, **entry})
        for annotation in found:
            annotations.append({"id": len(annotations) + 1, "image_id": len(images), **annotation})
    categories = [
        {"id": index + 1, "name": item.name, "supercategory": "stuff", "isthing": 0, "color": list(item.color)}
        for index, item in enumerate(classes.classes)
    ]
    for part, (images, annotations) in contents.items():
        info = {
            "description": f"{part or 'all'}, written by maskwright convert; pixels of no annotation are unlabelled"
        }
        write_json_lines(
            writing,
            f"annotations/stuff_{part or 'all'}.json",
            {"info": info, "licenses": [], "categories": categories, "images": images, "annotations": annotations},
        )
    writing.say_groups()


def write_json_lines(writing: Writing, name: str, content: dict[str, Any]) -> None:
    """A JSON file with an entry of a list in each line: small, and still fit for human eyes."""
    parts = []
    for key, value in content.items():
        lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in value) if isinstance(value, list) else None
        text = json.dumps(value, ensure_ascii=False) if lines is None else f"[\n{lines}\n]" if lines else "[]"
        parts.append(f"{json.dumps(key)}: {text}")
    write_text(writing.out / name, "{" + ",\n".join(parts) + "}\n")


def _annotation(region: np.ndarray, category: int) -> dict[str, Any]:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return {
        "category_id": category,
        "segmentation": {"size": list(region.shape), "counts": compress(counts_of(region, by_columns=True))},
        "area": int(region.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "iscrowd": 0,
    }
