"""Whether the values of a mask number its objects, as StarDist and Cellpose have them, or stand for classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import UNLABELLED, Value
from maskwright.datasets.sources import Source
from maskwright.imaging.images import NO_LABEL

_FEWEST_OBJECTS, _MOST_OBJECTS = 4, 5000
"""Values of a mask from which they may be told for numbers of objects; and at most."""
_MANY_OBJECTS, _JUDGED = 8, 8
"""Values of a set from which they may number objects with gaps; masks that are looked at for it."""


def are_numbers_or_colors(raw: np.ndarray, present: np.ndarray) -> bool | None:
    """As `are_numbers`, of a colour mask too whose colours differ in one band only: it may hold numbers in that one."""
    if raw.ndim == 2:
        return are_numbers(raw, present)
    bands = [band for band in np.moveaxis(raw, 2, 0) if band.any()]
    return are_numbers(bands[0], np.unique(bands[0])) if len(bands) == 1 else None


def are_numbers(raw: np.ndarray, present: np.ndarray) -> bool | None:
    """Whether the values of a mask (H x W) run from 1 without a gap and each is one region; None if they are few."""
    values = present[(present != 0) & (present != NO_LABEL)]
    # 255 means unlabelled, but among higher numbers it is one of them.
    if not _FEWEST_OBJECTS <= len(values) <= _MOST_OBJECTS or values.max() == UNLABELLED:
        return None
    if values.min() != 1 or values.max() != len(values):
        return False
    return _one_region_each(raw)


def _one_region_each(raw: np.ndarray) -> bool:
    """Whether every value above 0 (`H x W`, none far above the number of values) is one region."""
    from scipy import ndimage

    return all(
        region is None or ndimage.label(raw[region] == value, np.ones((3, 3)))[1] == 1
        for value, region in enumerate(ndimage.find_objects(raw.astype(np.int32)), 1)
    )


def doubt(masks: Sequence[Source], values: Iterable[Value], folder: Path, place: Path) -> tuple[str, str]:
    """What to say of classes that may number objects with gaps between, and the way out; two empty texts if none do.

    So masks look from which somebody removed objects, or that were cut from larger ones: each value is one region
    wherever it occurs, and images hold different ones. Some masks are read for it.
    """
    numbers = [value for value in values if isinstance(value, int) and 0 < value < UNLABELLED]
    if len(numbers) < _MANY_OBJECTS:
        return "", ""
    held: list[frozenset[int]] = []
    for index in np.unique(np.linspace(0, len(masks) - 1, _JUDGED).astype(int)):
        raw = masks[index].read_mask()
        present = frozenset(np.unique(raw).tolist()) - {0, UNLABELLED, NO_LABEL}
        if raw.ndim != 2 or max(present, default=0) > _MOST_OBJECTS:
            return "", ""
        if len(present) >= _FEWEST_OBJECTS and not _one_region_each(np.where(raw > 0, raw, 0)):
            return "", ""
        if len(present) >= _FEWEST_OBJECTS:
            held.append(present)
    if len(held) < 2 or len(set(held)) <= len(held) // 2:
        return "", ""
    return (
        f"The values in {folder} may number objects (instances) rather than stand for classes: each is one region "
        "wherever it occurs, and images hold different ones.",
        f'If they do, make them one class in {place}: [[class]] name = "background", value = 0; '
        f'[[class]] name = "object", value = [{", ".join(map(str, numbers))}].',
    )
