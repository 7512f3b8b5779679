"""Masks that do not lie where their image says: shifted, flipped, turned, or of another size.

The fit of a mask as it lies, and of every other placement, is measured by `edges.score_placement`; here it is judged
against the rest of the set.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from maskwright.check.edges import NOTHING, SURE, WORSE, Placement
from maskwright.check.scan_result import Picture, ScanResult
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample, is_reduced

__all__ = ["misplaced_masks", "size_mismatches", "turned_by_exif"]

_LIKE_OTHERS = 0.5
"""Fraction of the set's usual fit (for each edge pixel) that the other placement has, at least."""
_UNRELATED = 0.1
"""Fraction of the set's usual fit under which a mask has nothing to do with its image."""
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
            if sample.id not in named and p.here < NOTHING and p.here / p.pixels**0.5 < _UNRELATED * usual
        ]
    return problems


def _can_be_judged(placements: list[Placement], common: tuple[int, int] | None) -> bool:
    """Whether the set's masks show where masks belong: most fit best as they lie, or most are off in the same way.

    Where they fit weakly as they lie (faint cracks beside lines of paint, roads among roofs), the best fit of a single
    mask is that of something else in the image, and says nothing.
    """
    if common is not None or len(placements) < _FEWEST:
        return True
    home = sum(p.here >= _AT_HOME * max(p.best, p.turned) and p.here > NOTHING for p in placements)
    turns = Counter(p.turn for p in placements if p.turned - p.here > SURE and p.turned > 1.2 * p.best)
    alike = max(turns.values(), default=0)
    return home >= _SETTLED * len(placements) or alike >= _MOST * len(placements)


def _is_turned(p: Placement, usual: float) -> bool:
    """A turn has to beat all shifts too: of a symmetric object, a shift of the mirrored mask fits as well."""
    fits = p.turned / p.pixels**0.5 > _LIKE_OTHERS * usual and p.turned - p.here > SURE
    return fits and p.here < WORSE * p.turned and p.turned > 1.2 * p.best


def _is_shifted(p: Placement, usual: float) -> bool:
    fits = p.best / p.pixels**0.5 > _LIKE_OTHERS * usual and p.best - p.here > SURE
    return fits and p.here < WORSE * p.best


def _common_shift(placements: list[Placement]) -> tuple[int, int] | None:
    """A shift that most pairs share, of two reduced pixels or more; None if there is none."""
    clear = [p for p in placements if p.best > SURE]
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
        text += f" The mask is the image's size times {shape[0] / picture.shape[0]:.3g}: one of the two was resized."
        remedy = "Export the mask again at the image's size; check --fix enlarges it (nearest neighbour)."
    elif len(factors) == 1:
        text += f" The {what} is the image's size times {factors.pop():g}: one of the two was resized."
    return Problem(
        level="error", kind=kind, files=(path, *sample.image.files[:1]), what=text, remedy=remedy, sample=sample.id
    )
