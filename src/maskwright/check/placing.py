"""Masks that fit their image better somewhere else, turned, or nowhere."""

from __future__ import annotations

from collections import Counter

import numpy as np

from maskwright.check.records import Placement
from maskwright.check.surveyed import Surveyed
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample

__all__ = ["placement_problems"]

_SURE = 8.0
"""Standard errors by which another placement has to be better."""
_WORSE = 0.4
"""Share of the other placement's fit that a misplaced mask has as it lies, at most."""
_LIKE_OTHERS = 0.5
"""Share of the set's usual fit (for each edge pixel) that the other placement has, at least."""
_UNRELATED = 0.1
"""Share of the set's usual fit under which a mask has nothing to do with its image."""
_NOTHING = 5.0
"""Standard errors that the best of a few placements reaches by chance."""
_FEWEST = 4
_MOST = 0.6
"""Share of pairs with the same shift from which it is the set's."""


def placement_problems(surveyed: Surveyed) -> list[Problem]:
    """Masks whose edges fit the image's better when shifted, flipped or turned, with the shift or the turn."""
    placed = [(sample, one.placement) for sample, one in surveyed.labels if one.placement is not None]
    if not placed:
        return []
    usual = float(np.median([max(p.here, p.best, p.turned) / p.pixels**0.5 for _, p in placed]))
    common = _common_shift([p for _, p in placed])
    problems = [_shifted_set(surveyed, placed, common)] if common is not None else []
    for sample, p in placed:
        if _is_turned(p, usual):
            problems.append(_turned(surveyed, sample, p))
        elif _is_shifted(p, usual) and not (common is not None and _near(p, common)):
            problems.append(_shifted(surveyed, sample, p))
    fits = [p.here / p.pixels**0.5 for _, p in placed]
    # Only in a set whose masks fit their images does one that does not mean anything.
    if len(placed) >= 10 and float(np.quantile(fits, 0.1)) > 3 * _UNRELATED * usual:
        named = {problem.sample for problem in problems}
        problems += [
            _unrelated(surveyed, sample, p)
            for sample, p in placed
            if sample.id not in named and p.here < _NOTHING and p.here / p.pixels**0.5 < _UNRELATED * usual
        ]
    return problems


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


def _shifted_set(surveyed: Surveyed, placed: list[tuple[Sample, Placement]], shift: tuple[int, int]) -> Problem:
    sharing = [(sample, p) for sample, p in placed if _near(p, shift)]
    return Problem(
        level="warning",
        kind="shifted-masks",
        files=tuple(surveyed.mask_path(sample) for sample, _ in sharing),
        what=f"{len(sharing)} of {len(placed)} masks fit their image better when moved by the same {_words(shift)}.",
        remedy="Something in how masks are exported shifts them (cropping, padding, a resize that starts at another "
        "corner). Correct it there and export again.",
        sample=sharing[0][0].id,
        numbers={"down": shift[0], "right": shift[1], "masks": len(sharing)},
    )


def _shifted(surveyed: Surveyed, sample: Sample, p: Placement) -> Problem:
    about = "" if p.step == 1 else "about "
    path = surveyed.mask_path(sample)
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


def _turned(surveyed: Surveyed, sample: Sample, p: Placement) -> Problem:
    path = surveyed.mask_path(sample)
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


def _unrelated(surveyed: Surveyed, sample: Sample, p: Placement) -> Problem:
    path = surveyed.mask_path(sample)
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
