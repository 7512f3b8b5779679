"""Strokes: what somebody painted of one class in one go, and how much each of them counts.

Classes count alike. Within a class a stroke counts as the square root of its pixels: a long one says more than a dot,
but it is not a thousand votes.

Shapes: S strokes, N pixels of all of them, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST = 256
"""Pixels of a stroke that are learnt from; of a longer one, as many spread over it."""
FOLDS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """Pixels of one class in one image; two strokes are never the same, whatever they hold."""

    image: str
    """The name that the classifier's `read` knows."""
    label: int
    """The class's index."""
    rows: np.ndarray
    columns: np.ndarray

    @property
    def learnt(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of at most MOST pixels, evenly spread."""
        if len(self.rows) <= MOST:
            return self.rows, self.columns
        # A step of the golden ratio, and not of whole pixels: in a filled square that would take a few columns only.
        places = np.sort((np.arange(MOST) * 0.6180339887498949 % 1 * len(self.rows)).astype(np.int64))
        return self.rows[places], self.columns[places]


def chances(strokes: Sequence[Stroke]) -> np.ndarray:
    """How often a pixel of each stroke is drawn: float64 S, a pixel's, so that classes count alike."""
    count_S = np.array([min(len(one.rows), MOST) for one in strokes], np.float64)
    label_S = np.array([one.label for one in strokes])
    weight_S = np.sqrt(count_S)
    of_class_S = np.bincount(label_S, weight_S)[label_S]
    return np.asarray(weight_S / of_class_S / count_S)


def folds(strokes: Sequence[Stroke], most: int = FOLDS) -> np.ndarray:
    """The fold in which each stroke is left out, S: each alone, or, where there are more than `most`, in turn.

    Strokes of a class are dealt out in order of images, so that every fold leaves out some of each class.
    """
    order = sorted(range(len(strokes)), key=lambda place: (strokes[place].label, strokes[place].image))
    fold_S = np.empty(len(strokes), np.int64)
    fold_S[order] = np.arange(len(strokes)) % min(most, len(strokes))
    return fold_S
