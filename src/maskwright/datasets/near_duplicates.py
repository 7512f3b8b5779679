"""Images that are nearly the same, found by a perceptual hash and verified by correlation.

Each image is known here as 32 x 32 greys. The hash is the signs of its 63 lowest frequencies (after pHash: Zauner 2010,
"Implementation and benchmarking of perceptual image hash functions"), which survive another file format, size,
brightness or compression. Candidates are pairs whose hashes differ in few bits, in any of the eight flips and turns;
a candidate counts if the two pictures' fine detail correlates: neighbours of a video share the coarse picture, copies
share the detail. What all pictures of a set share, such as the rim of a field of view, is taken away first.

Legend: N, M numbers of images; h, w sides of the small picture.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["SMALL", "TURNS", "Match", "near_duplicates", "small_grey", "small_pictures"]

SMALL = 32
"""Side of the small grey picture by which near-duplicates are told."""

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored left to right": lambda array: array[:, ::-1],
    "mirrored top to bottom": lambda array: array[::-1],
    "turned by 180 degrees": lambda array: array[::-1, ::-1],
    "mirrored along its diagonal": lambda array: array.swapaxes(0, 1),
    "mirrored along its other diagonal": lambda array: array[::-1, ::-1].swapaxes(0, 1),
    "turned by 90 degrees to the left": lambda array: np.rot90(array, 1),
    "turned by 90 degrees to the right": lambda array: np.rot90(array, 3),
}
"""All flips and turns of a picture; the last four keep the shape of square pictures only."""


_BITS = 10
"""Bits of 63 in which the hashes of near-duplicates differ at most."""
SAME = 0.85
"""Correlation of detail from which two pictures are the same scene in the same place."""
_FEWEST_FOR_MEAN = 12
"""Fewer pictures share much by chance."""
_COMPARED = 4_000_000
"""Hashes compared at once."""
_FLATTEST = 2.0
"""Grey levels of detail (of 255) below which a picture has nothing to be told by."""


@dataclass(frozen=True)
class Match:
    """Two images that are nearly the same: places in the two lists, correlation of detail, and how one was turned."""

    first: int
    second: int
    correlation: float
    turn: str
    """Empty where neither is turned."""


def small_pictures(encoded: Sequence[str]) -> NDArray[np.float32]:
    """The records' small pictures as numbers, N x 32 x 32."""
    content = b"".join(base64.b64decode(text) for text in encoded)
    return np.frombuffer(content, np.uint8).reshape(-1, SMALL, SMALL).astype(np.float32)


def near_duplicates(first_Nhw: NDArray[np.float32], second_Mhw: NDArray[np.float32]) -> list[Match]:
    """For each image of the second list, the image of the first that is nearly the same, if one is."""
    if not len(first_Nhw) or not len(second_Mhw):
        return []
    count = len(first_Nhw) + len(second_Mhw)
    shared_hw = np.zeros((SMALL, SMALL), np.float32)
    if count >= _FEWEST_FOR_MEAN:
        shared_hw = np.asarray((first_Nhw.sum(0) + second_Mhw.sum(0)) / count, np.float32)
    detail_N, hashes_N = _detail(first_Nhw - shared_hw), _hashes(first_Nhw)
    best: dict[int, Match] = {}
    for turn, apply in {"": lambda picture: picture, **TURNS}.items():
        turned_Mhw = np.ascontiguousarray([apply(picture) for picture in second_Mhw])
        detail_M, hashes_M = _detail(turned_Mhw - shared_hw), _hashes(turned_Mhw)
        length = max(1, _COMPARED // len(first_Nhw))
        for start in range(0, len(turned_Mhw), length):
            block = slice(start, start + length)
            near = np.bitwise_count(hashes_N[None, :] ^ hashes_M[block, None]) <= _BITS
            places_M, places_N = np.nonzero(near)
            for part in range(0, len(places_M), 8192):
                ms, ns = places_M[part : part + 8192] + start, places_N[part : part + 8192]
                correlation = np.einsum("ij,ij->i", detail_M[ms], detail_N[ns])
                for place in np.flatnonzero(correlation >= SAME).tolist():
                    m, n, value = int(ms[place]), int(ns[place]), float(correlation[place])
                    # A picture that is its own mirror image matches as it is.
                    if m not in best or value > best[m].correlation + 1e-3:
                        best[m] = Match(n, m, value, turn)
    return [best[m] for m in sorted(best)]


def _detail(pictures_Nhw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each picture less its blur, as a unit vector (N x h w); zero where there is no detail."""
    flat = np.empty((len(pictures_Nhw), SMALL * SMALL), np.float32)
    for place, picture in enumerate(pictures_Nhw):
        flat[place] = (picture - cv2.GaussianBlur(picture, (0, 0), 3.0)).ravel()
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > _FLATTEST * SMALL, flat / np.maximum(length, 1e-6), 0).astype(np.float32)


def _hashes(pictures_Nhw: NDArray[np.float32]) -> NDArray[np.uint64]:
    """63 bits for each picture: the signs of its low frequencies but the mean, against their median."""
    low_N63 = fft.dctn(pictures_Nhw, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(pictures_Nhw), 64)[:, 1:]
    bits_N63 = low_N63 > np.median(low_N63, axis=1, keepdims=True)
    weights = np.uint64(1) << np.arange(63, dtype=np.uint64)
    return np.asarray(bits_N63.astype(np.uint64) @ weights, np.uint64)


def small_grey(pixels_HWC: np.ndarray) -> NDArray[np.uint8]:
    """The image in `SMALL` x `SMALL` greys (uint8), the darkest 0 and the lightest 255."""
    reduced = cv2.resize(pixels_HWC[..., :4], (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    grey = reduced.reshape(SMALL, SMALL, -1)[..., :3].mean(axis=2, dtype=np.float32)
    low, high = float(grey.min()), float(grey.max())
    scale = 255 / (high - low) if high > low else 0.0
    return np.asarray(np.rint((grey - low) * scale), np.uint8)
