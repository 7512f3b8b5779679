"""The edges of a mask: do they lie where the image's do, and were they drawn or smoothed?

Placement: for each shift, and each flip and turn about the centre, the score is the mean of the image's edge strength
over the mask's edge pixels, in standard errors of the same number of pixels laid anywhere. A mask that fits scores 10
to 100 as it lies; the next best placement scores a fraction of that. All shifts are one correlation in Fourier space.

Smoothing: a mask that was resized with interpolation has ramps, pixels whose value lies between those of their
neighbours; a drawn one has next to none.

Legend: H, W height and width; h, w those of the reduced picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from maskwright.datasets.near_duplicates import TURNS

__all__ = ["Placement", "all_in_place", "is_smoothed", "ramps_of", "score_placement", "seems_smoothed"]

_LONGEST = 256
"""Pairs are reduced by a whole factor until the longest side is at most this."""
_REACH = 16
"""Shifts of up to this many reduced pixels are tried, but no more than a quarter of a side."""
_PLAY = 2
"""Reduced pixels by which masks are off without anybody having made a mistake."""
_FEWEST_EDGES = 40
_MOST_EDGES = 0.5
NOTHING = 5.0
"""Standard errors that the best of a few placements reaches by chance."""
SURE = 8.0
"""Standard errors by which another placement has to be better."""
WORSE = 0.4
"""Fraction of the other placement's fit that a misplaced mask has as it lies, at most."""
_MOST_RAMPS = 0.08
"""Fraction of edge pixels between their two neighbours' values; 0 to 2 % if drawn, 30 % and more if smoothed."""
_FEWEST_RAMPS = 20
SQUARE = np.ones((3, 3), np.uint8)
"""A pixel and its eight neighbours."""

_Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How well the mask's edges fit the image's edges, in standard errors of a mask laid anywhere."""

    here: float
    """As it lies (two reduced pixels of play)."""
    best: float
    """At the best shift."""
    shift: tuple[int, int]
    """That shift, down and to the right, in pixels."""
    step: int
    """How exact the shift is, in pixels."""
    turned: float = 0.0
    """At the best flip or turn."""
    turn: str = ""
    """That flip or turn, in words."""
    pixels: int = 1
    """Reduced edge pixels of the mask that this was judged by."""


def score_placement(
    pixels_HWC: np.ndarray, keys_HW: np.ndarray, counted_HW: NDArray[np.bool_] | None
) -> Placement | None:
    """Score a mask as it lies, at every shift, and flipped and turned.

    `keys_HW` are any integers that tell the mask's regions apart; edges against pixels outside `counted_HW` (the
    unlabelled ones) do not count. None where the mask has too few edges to judge by, or edges everywhere.
    """
    height, width = keys_HW.shape
    step = -(-max(height, width) // _LONGEST)
    h, w = height // step, width // step
    if min(h, w) < 24:
        return None
    edges = _edges(keys_HW, counted_HW)[: h * step, : w * step]
    marked = cv2.resize(edges, (w, h), interpolation=cv2.INTER_AREA) > 0 if step > 1 else edges > 0
    count = int(marked.sum())
    if count < _FEWEST_EDGES or count > _MOST_EDGES * marked.size:
        return None
    strength = _strength(pixels_HWC[: h * step, : w * step], (h, w))
    error = float(strength.std()) / count**0.5
    if error == 0:
        return None
    reach = min(_REACH, min(h, w) // 4)
    size = tuple(fft.next_fast_len(side + reach, real=True) for side in (h, w))
    spectrum = fft.rfft2(strength, size)

    def scores(mask_edges: NDArray[np.bool_]) -> _Floats:
        found = fft.irfft2(spectrum * np.conj(fft.rfft2(mask_edges.astype(np.float32), size)), size)
        near = np.roll(found, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
        return np.asarray(near / (count * error), np.float32)

    near = slice(reach - _PLAY, reach + _PLAY + 1)
    shifts = scores(marked)
    top, left = (int(i) - reach for i in np.unravel_index(int(shifts.argmax()), shifts.shape))
    turned, turn = max(
        (float(scores(np.ascontiguousarray(apply(marked)))[near, near].max()), name)
        for name, apply in TURNS.items()
        if apply(marked).shape == marked.shape
    )
    return Placement(
        here=round(float(shifts[near, near].max()), 2),
        best=round(float(shifts.max()), 2),
        shift=(top * step, left * step),
        step=step,
        turned=round(turned, 2),
        turn=turn,
        pixels=count,
    )


def _edges(keys_HW: np.ndarray, counted_HW: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """255 on both sides of every change of value, 0 elsewhere."""
    edges = np.zeros(keys_HW.shape, np.uint8)
    for ahead, behind in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differ = keys_HW[ahead] != keys_HW[behind]
        if counted_HW is not None:
            differ &= counted_HW[ahead] & counted_HW[behind]
        change = differ.view(np.uint8) * np.uint8(255)
        edges[ahead] |= change
        edges[behind] |= change
    return edges


def _strength(pixels_HWC: np.ndarray, shape: tuple[int, int]) -> _Floats:
    """How much of an edge each pixel of the reduced image is, less its neighbourhood's mean, float32 h x w.

    The largest over the first channels of gradient magnitude over its mean; the square root keeps a few hard edges, of
    a frame or a highlight, from outweighing all others, and the neighbourhood's mean rough texture.
    """
    h, w = shape
    total = np.zeros(shape, np.float32)
    reduced = cv2.resize(pixels_HWC[..., :4], (w, h), interpolation=cv2.INTER_AREA).reshape(h, w, -1)
    for channel in np.moveaxis(reduced, 2, 0):
        smooth = cv2.GaussianBlur(channel.astype(np.float32), (0, 0), 1.0)
        across, down = (cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x) for x in (1, 0))
        gradient = np.sqrt(across * across + down * down)  # cv2.magnitude rounds by the place in memory
        mean = float(gradient.mean())
        if mean > 0:
            total = np.maximum(total, gradient / np.float32(mean))
    total = np.sqrt(total)
    return np.asarray(total - cv2.blur(total, (31, 31), borderType=cv2.BORDER_REFLECT), np.float32)


def all_in_place(placements: Sequence[Placement]) -> bool:
    """Whether every mask fits clearly as it lies, so that no rule about misplaced masks can object."""
    finest = min((p.step for p in placements), default=1)
    return all(
        p.here >= max(NOTHING, WORSE * p.best, WORSE * p.turned)
        and (p.best <= SURE or max(map(abs, p.shift)) < 2 * finest)
        for p in placements
    )


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


def is_smoothed(raw_HW: np.ndarray) -> bool:
    """Whether a mask of integers has so many ramps that it was smoothed."""
    keys_HW = raw_HW
    if raw_HW.dtype not in (np.uint8, np.uint16):  # OpenCV filters these
        keys_HW = np.unique(raw_HW, return_inverse=True)[1].reshape(raw_HW.shape).astype(np.uint16)
    edges = cv2.erode(keys_HW, SQUARE) != cv2.dilate(keys_HW, SQUARE)
    return seems_smoothed(int(ramps_of(keys_HW).sum()), int(edges.sum()))


def seems_smoothed(ramps: int, edges: int) -> bool:
    """Whether far more edge pixels lie between the values of their neighbours than in a drawn mask."""
    return ramps >= _FEWEST_RAMPS and ramps > _MOST_RAMPS * edges
