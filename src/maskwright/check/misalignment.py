"""Does a mask lie where its image says? Its edges are compared with the image's, here and at every other placement.

For each shift, and each flip and turn about the centre, the score is the mean of the image's edge strength over the
mask's edge pixels, in standard errors of the same number of pixels laid anywhere. A mask that fits scores 10 to 100 as
it lies; the next best placement scores a fraction of that. All shifts are one correlation in Fourier space.

Legend: H, W height and width; h, w those of the reduced picture.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from maskwright.check.scan_result import Picture, Placement, ScanResult
from maskwright.datasets.near_duplicates import TURNS
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample, is_reduced

__all__ = ["misplaced_masks", "score_placement", "size_mismatches", "turned_by_exif"]

_LONGEST = 256
"""Pairs are reduced by a whole factor until the longest side is at most this."""
_REACH = 16
"""Shifts of up to this many reduced pixels are tried, but no more than a quarter of a side."""
_PLAY = 2
"""Reduced pixels by which masks are off without anybody having made a mistake."""
_FEWEST_EDGES = 40
_MOST_EDGES = 0.5

_Floats = NDArray[np.float32]


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
        gradient = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
        mean = float(gradient.mean())
        if mean > 0:
            total = np.maximum(total, gradient / np.float32(mean))
    total = np.sqrt(total)
    return np.asarray(total - cv2.blur(total, (31, 31), borderType=cv2.BORDER_REFLECT), np.float32)


_SURE = 8.0
"""Standard errors by which another placement has to be better."""
_WORSE = 0.4
"""Fraction of the other placement's fit that a misplaced mask has as it lies, at most."""
_LIKE_OTHERS = 0.5
"""Fraction of the set's usual fit (for each edge pixel) that the other placement has, at least."""
_UNRELATED = 0.1
"""Fraction of the set's usual fit under which a mask has nothing to do with its image."""
_NOTHING = 5.0
"""Standard errors that the best of a few placements reaches by chance."""
_AT_HOME = 0.75
"""Fraction of its best fit that a mask has as it lies, from which it is where it belongs."""
_SETTLED = 0.6
"""Fraction of a set's masks that are where they belong, from which one that is not means something."""
_FEWEST = 4
_MOST = 0.6
"""Fraction of pairs with the same shift from which it is the set's."""


def misplaced_masks(scanned: ScanResult) -> list[Problem]:
    """Masks whose edges fit the image's better when shifted, flipped or turned, with the shift or the turn."""
    placed = [(sample, one.placement) for sample, one in scanned.labels if one.placement is not None]
    if not placed:
        return []
    usual = float(np.median([max(p.here, p.best, p.turned) / p.pixels**0.5 for _, p in placed]))
    common = _common_shift([p for _, p in placed])
    problems = [_shifted_set(scanned, placed, common)] if common is not None else []
    judged = placed if _can_be_judged([p for _, p in placed], common) else []
    for sample, p in judged:
        if _is_turned(p, usual):
            problems.append(_turned(scanned, sample, p))
        elif _is_shifted(p, usual) and not (common is not None and _near(p, common)):
            problems.append(_shifted(scanned, sample, p))
    fits = [p.here / p.pixels**0.5 for _, p in placed]
    # Only in a set whose masks fit their images does one that does not mean anything.
    if len(placed) >= 10 and float(np.quantile(fits, 0.1)) > 3 * _UNRELATED * usual:
        named = {problem.sample for problem in problems}
        problems += [
            _unrelated(scanned, sample, p)
            for sample, p in placed
            if sample.id not in named and p.here < _NOTHING and p.here / p.pixels**0.5 < _UNRELATED * usual
        ]
    return problems


def _can_be_judged(placements: list[Placement], common: tuple[int, int] | None) -> bool:
    """Whether the set's masks show where masks belong: most fit best as they lie, or most are off in the same way.

    Where they fit weakly as they lie (faint cracks beside lines of paint, roads among roofs), the best fit of a single
    mask is that of something else in the image, and says nothing.
    """
    if common is not None or len(placements) < _FEWEST:
        return True
    home = sum(p.here >= _AT_HOME * max(p.best, p.turned) and p.here > _NOTHING for p in placements)
    turns = Counter(p.turn for p in placements if p.turned - p.here > _SURE and p.turned > 1.2 * p.best)
    alike = max(turns.values(), default=0)
    return home >= _SETTLED * len(placements) or alike >= _MOST * len(placements)


def _is_turned(p: Placement, usual: float) -> bool:
    """A turn has to beat all shifts too: of a symmetric object, a shift of the mirrored mask fits as well."""
    fits = p.turned / p.pixels**0.5 > _LIKE_OTHERS * usual and p.turned - p.here > _SURE
    return fits and p.here < _WORSE * p.turned and p.turned > 1.2 * p.best


def _is_shifted(p: Placement, usual: float) -> bool:
    fits = p.best / p.pixels**0.5 > _LIKE_OTHERS * usual and p.best - p.here > _SURE
    return fits and p.here < _WORSE * p.best


def _common_shift(placements: list[Placement]) -> tuple[int, int] | None:
    """A shift that most pairs share, of two reduced pixels or more; None if there is none."""
    clear = [p for p in placements if p.best > _SURE]
    if len(clear) < _FEWEST:
        return None
    shift, _ = Counter(p.shift for p in clear).most_common(1)[0]
    sharing = [p for p in clear if _near(p, shift)]
    if len(sharing) < _MOST * len(clear) or max(map(abs, shift)) < 2 * min(p.step for p in sharing):
        return None
    # Two pixels of play are in `here`: a shift of two only shows in where the best fit lies.
    return shift


def _near(p: Placement, shift: tuple[int, int]) -> bool:
    return max(abs(a - b) for a, b in zip(p.shift, shift, strict=True)) <= p.step


def _shifted_set(scanned: ScanResult, placed: list[tuple[Sample, Placement]], shift: tuple[int, int]) -> Problem:
    sharing = [(sample, p) for sample, p in placed if _near(p, shift)]
    return Problem(
        level="warning",
        kind="shifted-masks",
        files=tuple(scanned.mask_path(sample) for sample, _ in sharing),
        what=f"{len(sharing)} of {len(placed)} masks fit their image better when moved by the same {_words(shift)}.",
        remedy="Something in how masks are exported shifts them (cropping, padding, a resize that starts at another "
        "corner). Correct it there and export again.",
        sample=sharing[0][0].id,
        numbers={"down": shift[0], "right": shift[1], "masks": len(sharing)},
    )


def _shifted(scanned: ScanResult, sample: Sample, p: Placement) -> Problem:
    about = "" if p.step == 1 else "about "
    path = scanned.mask_path(sample)
    return Problem(
        level="warning",
        kind="shifted-mask",
        files=(path, *sample.image.files[:1]),
        what=f"The edges of {path.name} fit its image better when moved by {about}{_words(p.shift)} (fit {p.best:.0f}, "
        f"and {p.here:.0f} as it lies, in standard errors).",
        remedy="Look at the picture; if the mask is off, export it again at the image's position.",
        sample=sample.id,
        numbers={"down": p.shift[0], "right": p.shift[1], "here": p.here, "there": p.best},
    )


def _turned(scanned: ScanResult, sample: Sample, p: Placement) -> Problem:
    path = scanned.mask_path(sample)
    return Problem(
        level="warning",
        kind="turned-mask",
        files=(path, *sample.image.files[:1]),
        what=f"The edges of {path.name} fit its image better when {p.turn} (fit {p.turned:.0f}, and {p.here:.0f} as it "
        "lies, in standard errors).",
        remedy="Look at the picture; if it is so, turn the mask.",
        sample=sample.id,
        numbers={"here": p.here, "there": p.turned},
    )


def _unrelated(scanned: ScanResult, sample: Sample, p: Placement) -> Problem:
    path = scanned.mask_path(sample)
    return Problem(
        level="warning",
        kind="unrelated-mask",
        files=(path, *sample.image.files[:1]),
        what=f"The edges of {path.name} fit its image no better than edges drawn anywhere (fit {p.here:.1f} standard "
        "errors; most masks of this set follow the edges of their image closely).",
        remedy="Look whether it is the mask of another image, or drawn far outside the outlines.",
        sample=sample.id,
        numbers={"here": p.here},
    )


def _words(shift: tuple[int, int]) -> str:
    down, right = shift
    parts = [f"{abs(down)} pixels {'down' if down > 0 else 'up'}"] if down else []
    parts += [f"{abs(right)} pixels to the {'right' if right > 0 else 'left'}"] if right else []
    return " and ".join(parts)


def size_mismatches(scanned: ScanResult) -> list[Problem]:
    """Masks, and valid masks, that do not have their image's size."""
    problems = []
    for sample, measured in zip(scanned.samples, scanned.measured, strict=True):
        picture, labels = measured.picture, measured.labels
        if picture is None:
            continue
        if labels is not None and sample.mask is not None and labels.shape != picture.shape:
            problems.append(_mismatch(sample, picture, sample.mask.path, labels.shape, "mask"))
        if measured.valid_shape is not None and sample.valid is not None and measured.valid_shape != picture.shape:
            problems.append(_mismatch(sample, picture, sample.valid.path, measured.valid_shape, "valid mask"))
    return problems


def turned_by_exif(picture: Picture, shape: tuple[int, int]) -> bool:
    """Whether a mask has the size of the image as it is stored, which its EXIF orientation turns upright."""
    return picture.orientation >= 5 and shape == picture.shape[::-1] and shape != picture.shape


def _mismatch(sample: Sample, picture: Picture, path: Path, shape: tuple[int, int], what: str) -> Problem:
    kind = "size-mismatch"
    text = (
        f"{path.name} is {shape[1]} x {shape[0]} pixels (width x height), and its image {sample.image.path.name} is "
        f"{picture.shape[1]} x {picture.shape[0]}."
    )
    remedy = f"Export the {what} again at the image's size."
    factors = {round(a / b, 2) for a, b in zip(shape, picture.shape, strict=True)}
    if turned_by_exif(picture, shape):
        kind = "exif-mismatch"
        text += (
            f" The camera stored the image on its side, and its EXIF orientation turns it upright; the {what} was "
            "drawn on the image as stored."
        )
        remedy = f"Turn the {what} (check --fix does), or remove the orientation from the image."
    elif shape == picture.shape[::-1]:
        text += " Height and width are swapped."
    elif what == "mask" and is_reduced(picture.shape, shape):
        text += f" The mask is smaller by one factor, {picture.shape[0] / shape[0]:.3g}."
        remedy = "Export the mask again at the image's size; check --fix enlarges it (nearest neighbour)."
    elif len(factors) == 1:
        text += f" The {what} is the image's size times {factors.pop():g}: one of the two was resized."
    return Problem(
        level="error", kind=kind, files=(path, *sample.image.files[:1]), what=text, remedy=remedy, sample=sample.id
    )
