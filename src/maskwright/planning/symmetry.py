"""Where classes lie in the images: whether images could as well be turned, and which classes are left and right.

Legend: N images; K classes; B parts of an image from top to bottom; P numbers of
`describe_region` for a class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

BEYOND_CHANCE = 4.0
"""Standard errors by which the mean of images must differ from its mirror image."""
FEWEST = 10.0
"""Images, independent ones, from which a mean is taken as a rule."""
FEWEST_PAIRS = 20
"""Images with both classes from which they are taken as mirror images of each other, whatever their names."""
ONE_SIDED = 0.95
"""Fraction of these images in which one must lie on the same side of the other."""
_EXACT = 1e-12
"""Fraction of the squares below which differences between images are rounding."""
_COLORS = 4
DESCRIPTORS = 3 + _COLORS
"""Numbers that `describe_region` gives."""
_TOKENS = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9]+")
_OTHER_SIDE = {"l": "r", "r": "l", "left": "right", "right": "left", "lt": "rt", "rt": "lt"}


def describe_region(region_HW: NDArray[np.uint8], image_HWC: np.ndarray) -> NDArray[np.float64]:
    """Describe a class in an image: centre (x, y), -1 to 1, fraction of the pixels, means of the first channels.

    `region_HW` is 1 where the class is, which must be somewhere, and 0 elsewhere.
    """
    height, width = region_HW.shape
    moments = cv2.moments(region_HW, binaryImage=True)
    area = moments["m00"]
    center = (2 * moments["m10"] / area + 1) / width - 1, (2 * moments["m01"] / area + 1) / height - 1
    color = cv2.mean(np.ascontiguousarray(image_HWC[..., :_COLORS]), region_HW)
    return np.array([*center, area / region_HW.size, *color])


def upright(rows_NKB: NDArray[np.float64]) -> tuple[float, ...]:
    """For each class, how differently it is spread over rows in images turned upside down: 1 wholly, 0 if by chance.

    `rows_NKB` holds the fraction of the pixels of B parts of each image, from top to bottom, in an order in which
    neighbours may resemble each other: the slices of a stack count as few images, because one is spread as the next.
    """
    found = []
    for rows_NB in rows_NKB.transpose(1, 0, 2):
        rows_NB = rows_NB[rows_NB.any(1)]
        rows_NB = rows_NB / rows_NB.sum(1, keepdims=True)
        uneven_NB = rows_NB - rows_NB[:, ::-1]
        independent = _independent(uneven_NB)
        if independent < FEWEST:
            found.append(0.0)
            continue
        mean_B = uneven_NB.mean(0)
        error = math.sqrt(float(uneven_NB.var(0, ddof=1).sum()) / independent)
        sure = float(np.linalg.norm(mean_B)) > BEYOND_CHANCE * error
        found.append(round(float(np.abs(mean_B).sum()) / 2, 4) if sure else 0.0)
    return tuple(found)


def mirror_images(regions_NKP: NDArray[np.float64], std_C: Sequence[float], names: Sequence[str]) -> tuple[int, ...]:
    """For each class, the one that is its mirror image, as a left and a right eye; itself where there is none.

    They are told by their names, or because they nearly always occur side by side, the same one on the left, and look
    alike: in size within a factor of 2, in height, and in every channel's mean within half of its standard deviation.
    """
    found = list(range(len(names)))
    known = {name.lower(): index for index, name in enumerate(names)}
    for index, name in enumerate(names):
        other = _other_side(name.lower())
        found[index] = index if other == name.lower() else known.get(other, index)
    for a, b in combinations(range(len(names)), 2):
        if found[a] == a and found[b] == b and _alike_and_one_sided(regions_NKP[:, a], regions_NKP[:, b], std_C):
            found[a], found[b] = b, a
    return tuple(found)


def _independent(values_NB: NDArray[np.float64]) -> float:
    """How many independent images tell as much as these, whose neighbours may be alike (lag-1 autocorrelation)."""
    if len(values_NB) < 3:
        return 0.0
    rest_NB = values_NB - values_NB.mean(0)
    power = float((rest_NB**2).sum())
    varied = power > _EXACT * float((values_NB**2).sum())
    alike = float((rest_NB[1:] * rest_NB[:-1]).sum()) / power if varied else 0.0
    return len(values_NB) * (1 - max(alike, 0.0)) / (1 + max(alike, 0.0))


def _other_side(name: str) -> str:
    """The name with left for right: as words, as letters (`l_eye`, `kidney-r`), or within a word (`lefteye`)."""
    tokens = _TOKENS.findall(name)
    swapped = [_OTHER_SIDE.get(token, token) for token in tokens]
    if swapped != tokens:
        return "".join(swapped)
    return re.sub("left|right", lambda found: _OTHER_SIDE[found[0]], name)


def _alike_and_one_sided(a_NP: NDArray[np.float64], b_NP: NDArray[np.float64], std_C: Sequence[float]) -> bool:
    in_a_N, in_b_N = ~np.isnan(a_NP[:, 0]), ~np.isnan(b_NP[:, 0])
    both_N = in_a_N & in_b_N
    together = int(both_N.sum())
    if together < FEWEST_PAIRS or 2 * together < int((in_a_N | in_b_N).sum()):
        return False
    away_NP = a_NP[both_N] - b_NP[both_N]
    left = float((away_NP[:, 0] < 0).mean())
    across, along = np.median(np.abs(away_NP[:, :2]), axis=0)
    size = float(np.median(a_NP[both_N, 2] / b_NP[both_N, 2]))
    first_std_C = np.array(std_C[:_COLORS])
    color_C = np.median(np.abs(away_NP[:, 3 : 3 + len(first_std_C)]), axis=0)
    return bool(
        max(left, 1 - left) >= ONE_SIDED
        and along < across
        and 0.5 <= size <= 2
        and (color_C <= 0.5 * first_std_C).all()
    )
