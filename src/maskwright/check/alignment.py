"""Does a mask lie where its image says? Its edges are compared with the image's, here and at every other placement.

For each shift, and each flip and turn about the centre, the score is the mean of the image's edge strength over the
mask's edge pixels, in standard errors of the same number of pixels laid anywhere. A mask that fits scores 10 to 100 as
it lies; the next best placement scores a fraction of that. All shifts are one correlation in Fourier space.

Legend: H, W height and width; h, w those of the reduced picture.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from maskwright.check.records import Placement

__all__ = ["TURNS", "place"]

_LONGEST = 256
"""Pairs are reduced by a whole factor until the longest side is at most this."""
_REACH = 16
"""Shifts of up to this many reduced pixels are tried, but no more than a quarter of a side."""
_PLAY = 2
"""Reduced pixels by which masks are off without anybody having made a mistake."""
_FEWEST_EDGES = 40
_MOST_EDGES = 0.5

_Floats = NDArray[np.float32]

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored left to right": lambda mask: mask[:, ::-1],
    "mirrored top to bottom": lambda mask: mask[::-1],
    "turned by 180 degrees": lambda mask: mask[::-1, ::-1],
    "mirrored along its diagonal": lambda mask: mask.swapaxes(0, 1),
    "mirrored along its other diagonal": lambda mask: mask[::-1, ::-1].swapaxes(0, 1),
    "turned by 90 degrees to the left": lambda mask: np.rot90(mask, 1),
    "turned by 90 degrees to the right": lambda mask: np.rot90(mask, 3),
}
"""What turns a wrong mask right; the last four only where it is square."""


def place(pixels_HWC: np.ndarray, keys_HW: np.ndarray, counted_HW: NDArray[np.bool_] | None) -> Placement | None:
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
        gradient = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
        mean = float(gradient.mean())
        if mean > 0:
            total = np.maximum(total, gradient / np.float32(mean))
    total = np.sqrt(total)
    return np.asarray(total - cv2.blur(total, (31, 31), borderType=cv2.BORDER_REFLECT), np.float32)
