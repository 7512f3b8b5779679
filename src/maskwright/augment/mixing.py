"""Paste parts of one view onto another, image and labels alike.

ClassMix (Olsson et al. 2021, arXiv 2007.07936, section 3.1) pastes the pixels of half the classes of a view. Different
here: the classes come from the mask, not from a prediction, and never are all of them pasted. Copy-paste (Ghiasi et al.
2021, arXiv 2012.07177) pastes objects. Different here: there are no instances in semantic masks, so connected regions
stand for them, and the class with most pixels is taken for the ground they stand on and stays.

Shapes: h, w of the view, C channels.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.augment.antialias import MOST_CHANNELS
from maskwright.datasets.classes import UNLABELLED


def draw_classes(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Choose half the classes of a mask (rounded up, but not all), as the pixels that show them: h x w bool."""
    present = _present(mask)
    chosen = rng.permutation(present)[: min((len(present) + 1) // 2, len(present) - 1)] if len(present) else present
    member = np.zeros(256, bool)
    member[chosen] = True
    where: np.ndarray = member[mask]
    return where


def draw_regions(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Choose connected regions of a mask, each with an even chance, none of its most frequent class: h x w bool."""
    where = np.zeros(mask.shape, bool)
    counts = np.bincount(mask.ravel(), minlength=256)
    for index in _present(mask).tolist():
        if index == counts[:UNLABELLED].argmax():
            continue
        count, regions = cv2.connectedComponents(np.ascontiguousarray(mask == index, np.uint8), connectivity=8)
        taken = rng.random(count) < 0.5
        taken[0] = False  # what is not of this class
        where |= taken[regions]
    return where


def paste(
    pair: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], where: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Copy the pixels of `other` onto `pair` (image h x w x C, mask h x w) where `where` holds; neither is changed."""
    pasted = []
    for below, above in zip(pair, other, strict=True):
        result = np.array(below, order="C")
        if above.shape[2:] <= (MOST_CHANNELS,):
            cv2.copyTo(np.ascontiguousarray(above), where.view(np.uint8), result)
        else:
            result[where] = above[where]
        pasted.append(result)
    image, mask = pasted
    return image, mask


def _present(mask: np.ndarray) -> np.ndarray:
    """Classes of a mask, in order."""
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:UNLABELLED])
