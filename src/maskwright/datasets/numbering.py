"""Whether the values of a mask number its objects, as StarDist and Cellpose have them, or stand for classes."""

from __future__ import annotations

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.imaging.images import NO_LABEL

_FEWEST_OBJECTS, _MOST_OBJECTS = 4, 5000
"""Values of a mask from which they may be told for numbers of objects; and at most."""


def are_numbers_or_colors(raw: np.ndarray, present: np.ndarray) -> bool | None:
    """As `are_numbers`, of a colour mask too whose colours differ in one band only: it may hold numbers in that one."""
    if raw.ndim == 2:
        return are_numbers(raw, present)
    bands = [band for band in np.moveaxis(raw, 2, 0) if band.any()]
    return are_numbers(bands[0], np.unique(bands[0])) if len(bands) == 1 else None


def are_numbers(raw: np.ndarray, present: np.ndarray) -> bool | None:
    """Whether the values of a mask (H x W) run from 1 without a gap and each is one region; None if they are few."""
    values = present[(present != 0) & (present != NO_LABEL)]
    if not _FEWEST_OBJECTS <= len(values) <= _MOST_OBJECTS or UNLABELLED in values:
        return None
    if values.min() != 1 or values.max() != len(values):
        return False
    from scipy import ndimage

    for value, region in enumerate(ndimage.find_objects(raw.astype(np.int32)), 1):
        if region is None or ndimage.label(raw[region] == value, np.ones((3, 3)))[1] != 1:
            return False
    return True
