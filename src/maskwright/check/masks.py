"""What a mask tells without a class table: its values, where they lie, and regions of a few pixels.

Legend: H, W height and width. Raw masks are integers `H x W` or colours `H x W x 3`; keys stand for their values.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from maskwright.check.records import MOST_VALUES, Count, Spot
from maskwright.datasets.classes import Value
from maskwright.imaging.colors import color_codes, color_name

__all__ = ["Keys", "count_values", "find_spots", "ramps_of", "to_keys"]

_MOST_SPOTS_SHOWN = 24


class Keys:
    """A raw mask as small integers in the order of its values, which OpenCV can filter."""

    def __init__(self, keys_HW: np.ndarray, values: NDArray[np.int64] | None, colored: bool) -> None:
        self.keys_HW = keys_HW
        """uint8 or uint16."""
        self._values = values
        self.colored = colored

    def value(self, key: int) -> Value:
        """The raw value that a key stands for."""
        raw = key if self._values is None else int(self._values[key])
        return color_name(raw) if self.colored else raw

    def of(self, values: set[Value]) -> NDArray[np.intp]:
        """The keys of those raw values that the mask holds."""
        present = np.flatnonzero(np.bincount(self.keys_HW.ravel()))
        return np.array([key for key in present.tolist() if self.value(key) in values], np.intp)


def to_keys(raw: np.ndarray) -> Keys:
    """Keys of a raw mask; more than 65,536 values are more than any mask has, and the last ones become one."""
    if raw.dtype in (np.uint8, np.uint16) and raw.ndim == 2:
        return Keys(raw, None, False)
    codes = color_codes(raw) if raw.ndim == 3 else raw
    if raw.ndim == 2 and codes.size and codes.min() >= 0 and codes.max() < 65536:
        return Keys(codes.astype(np.uint16), None, False)
    values, inverse = np.unique(codes, return_inverse=True)
    keys = np.minimum(inverse.reshape(codes.shape), 65535)
    return Keys(keys.astype(np.uint8 if len(values) <= 256 else np.uint16), values.astype(np.int64), raw.ndim == 3)


def count_values(mask: Keys, invalid_HW: NDArray[np.bool_] | None) -> tuple[tuple[Count, ...], int, int]:
    """Every raw value's pixels, most frequent first; the number of values; and the number of edge pixels."""
    keys = mask.keys_HW
    low, high = cv2.erode(keys, _SQUARE), cv2.dilate(keys, _SQUARE)
    flat = low == high
    length = int(keys.max()) + 1 if keys.size else 1
    pixels = np.bincount(keys.ravel(), minlength=length)
    flats = np.bincount(keys[flat], minlength=length)
    between = np.bincount(keys[(low < keys) & (keys < high)], minlength=length)
    invalid = np.zeros(length, np.int64) if invalid_HW is None else np.bincount(keys[invalid_HW], minlength=length)
    present = np.flatnonzero(pixels)
    order = present[np.argsort(-pixels[present], kind="stable")][:MOST_VALUES]
    counts = tuple(
        Count(
            value=mask.value(key),
            pixels=int(pixels[key]),
            flat=int(flats[key]),
            between=int(between[key]),
            invalid=int(invalid[key]),
        )
        for key in order.tolist()
    )
    return counts, len(present), int(keys.size - flat.sum())


def ramps_of(keys_HW: np.ndarray) -> NDArray[np.bool_]:
    """Pixels strictly between the values of two opposite neighbours, in a row or a column."""
    ramps = np.zeros(keys_HW.shape, bool)
    if min(keys_HW.shape) < 3:
        return ramps
    for before, here, after in (
        (np.s_[:, :-2], np.s_[:, 1:-1], np.s_[:, 2:]),
        (np.s_[:-2], np.s_[1:-1], np.s_[2:]),
    ):
        a, b, c = keys_HW[before], keys_HW[here], keys_HW[after]
        ramps[here] |= ((a < b) & (b < c)) | ((a > b) & (b > c))
    return ramps


def find_spots(mask: Keys) -> tuple[int, tuple[Spot, ...]]:
    """Count regions of up to 3 x 3 pixels that lie inside one other region, and locate some of them.

    A pixel belongs to one if the ring round it, at distance one or two, has a single value and the pixel another.
    """
    keys = mask.keys_HW
    marked = np.zeros(keys.shape, np.uint8)
    around = np.zeros_like(keys)
    for ring in (_RING_5, _RING_3):
        low = cv2.erode(keys, ring, borderType=cv2.BORDER_REPLICATE)
        found = (low == cv2.dilate(keys, ring, borderType=cv2.BORDER_REPLICATE)) & (low != keys)
        marked[found], around[found] = 1, low[found]
    if not marked.any():
        return 0, ()
    # One spot marks its middle and perhaps its corners: marks two pixels apart are one spot.
    count, _, _, centers = cv2.connectedComponentsWithStats(cv2.dilate(marked, _SQUARE), connectivity=8)
    shown = []
    ys, xs = np.nonzero(marked)
    for x, y in centers[1:][:: max(1, (count - 1) // _MOST_SPOTS_SHOWN)][:_MOST_SPOTS_SHOWN]:
        nearest = int(np.argmin((ys - y) ** 2 + (xs - x) ** 2))
        at = int(ys[nearest]), int(xs[nearest])
        shown.append(Spot(y=at[0], x=at[1], value=mask.value(int(keys[at])), around=mask.value(int(around[at]))))
    return count - 1, tuple(shown)


_SQUARE = np.ones((3, 3), np.uint8)
_RING_3 = np.pad(np.zeros((1, 1), np.uint8), 1, constant_values=1)
_RING_5 = np.pad(np.zeros((3, 3), np.uint8), 1, constant_values=1)
