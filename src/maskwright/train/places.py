"""Where classes lie in the images: whether images could as well be turned, and which classes are left and right.

Legend: N images; K classes; P the numbers that `place` gives for a class in an image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

BEYOND_CHANCE = 4.0
"""Standard errors by which a mean place must differ from the middle."""
FEWEST = 5.0
"""Images, independent ones, from which a mean place is taken as a rule."""
FEWEST_PAIRS = 20
"""Images with both classes from which they are taken as mirror images of each other, whatever their names."""
ONE_SIDED = 0.95
"""Share of these images in which one must lie on the same side of the other."""
_COLORS = 4
PLACE = 3 + _COLORS
"""Numbers that `place` gives."""
_TOKENS = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9]+")
_OTHER_SIDE = {"l": "r", "r": "l", "left": "right", "right": "left", "lt": "rt", "rt": "lt"}


def place(region_HW: NDArray[np.uint8], image_HWC: np.ndarray) -> NDArray[np.float64]:
    """Of a class in an image: centre (x, y), from -1 to 1, share of the pixels, and means of the first channels.

    `region_HW` is 1 where the class is, which must be somewhere, and 0 elsewhere.
    """
    height, width = region_HW.shape
    moments = cv2.moments(region_HW, binaryImage=True)
    area = moments["m00"]
    center = (2 * moments["m10"] / area + 1) / width - 1, (2 * moments["m01"] / area + 1) / height - 1
    color = cv2.mean(np.ascontiguousarray(image_HWC[..., :_COLORS]), region_HW)
    return np.array([*center, area / region_HW.size, *color])


def lifts(y_NK: NDArray[np.float64]) -> tuple[float, ...]:
    """For each class, how far above (negative) or below the middle its centre lies on average; 0 if by chance.

    `y_NK` goes from -1 to 1, NaN where a class is not in an image, in an order in which neighbours may resemble each
    other: the slices of a stack count as few images, because what lies above the middle in one does so in the next.
    """
    found = []
    for y_N in y_NK.T:
        y_N = y_N[~np.isnan(y_N)]
        mean, independent = float(y_N.mean()) if len(y_N) else 0.0, _independent(y_N)
        sure = independent >= FEWEST and abs(mean) > BEYOND_CHANCE * float(y_N.std(ddof=1)) / independent**0.5
        found.append(round(mean, 4) if sure else 0.0)
    return tuple(found)


def mirror_images(places_NKP: NDArray[np.float64], std_C: Sequence[float], names: Sequence[str]) -> tuple[int, ...]:
    """For each class, the one that is its mirror image, as a left and a right eye; itself where there is none.

    They are told by their names, or because they nearly always occur side by side, the same one on the left, and look
    alike: in size within a factor of 2, in height, and in the mean of every channel within half of its deviation.
    """
    found = list(range(len(names)))
    known = {name.lower(): index for index, name in enumerate(names)}
    for index, name in enumerate(names):
        other = _other_side(name.lower())
        found[index] = index if other == name.lower() else known.get(other, index)
    for a, b in combinations(range(len(names)), 2):
        if found[a] == a and found[b] == b and _alike_and_one_sided(places_NKP[:, a], places_NKP[:, b], std_C):
            found[a], found[b] = b, a
    return tuple(found)


def _independent(values_N: NDArray[np.float64]) -> float:
    """How many independent values tell as much as these, whose neighbours may be alike (lag-1 autocorrelation)."""
    if len(values_N) < 3:
        return 0.0
    rest_N = values_N - values_N.mean()
    power = float((rest_N**2).sum())
    alike = float((rest_N[1:] * rest_N[:-1]).sum()) / power if power else 0.0
    return len(values_N) * (1 - max(alike, 0.0)) / (1 + max(alike, 0.0))


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
    deviation_C = np.array(std_C[:_COLORS])
    color_C = np.median(np.abs(away_NP[:, 3 : 3 + len(deviation_C)]), axis=0)
    return bool(
        max(left, 1 - left) >= ONE_SIDED
        and along < across
        and 0.5 <= size <= 2
        and (color_C <= 0.5 * deviation_C).all()
    )
