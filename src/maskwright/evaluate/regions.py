"""V_rand and V_info after border thinning: the scores of the ISBI 2012 challenge, for sets of membranes and cells.

Pixel scores do not see that one missing membrane pixel merges two cells; these scores count how pixels are grouped.

Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers in
Neuroanatomy 9:142, 2015, with alpha = 1/2. With p_ij the fraction of cell pixels that lie in predicted
segment i and true cell j, s_i and t_j the sums over j and i, and H, I entropy and mutual information:

    V_rand = sum p_ij^2 / (sum s_i^2 / 2 + sum t_j^2 / 2)        V_info = I(S; T) / (H(S) / 2 + H(T) / 2)

As in the challenge's own evaluation: cells are 4-connected; only pixels that are cell in truth count ("foreground
restricted"); the predicted membrane is thinned to a line by a watershed that floods it from all predicted cells at
once, so its width does not count and a membrane that separates nothing vanishes; a pixel of the remaining line that is
cell in truth is a segment of its own; scores are averaged over images, then maximised over thresholds.

Legend: H, W height and width; N images; T thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maskwright.datasets.classes import UNLABELLED

__all__ = ["THRESHOLDS", "Membranes", "grouping_scores", "membrane_class", "region_scores", "thin"]

THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""Membrane probabilities at which a pixel becomes membrane; the challenge's steps without the empty ends."""

# A class is a membrane if little of it is left after peeling off this many pixels, and it parts the rest into pieces.
# Measured (fraction kept, largest piece): ISBI 2012 membranes 0.09 to 0.12 and 0.10; DRIVE vessels 0.01 and 0.39
# to 0.49, as they branch but enclose little; DSB 2018 nuclei 0.59 and 1.00, their background 0.88 and 0.12.
_PEEL = 4
_MOST_SURVIVING = 0.35
_LARGEST_PIECE = 0.25

Mask = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Membranes:
    """Region scores of a set, float64: V_rand and V_info of each image at each threshold, and of the plain masks.

    An image without a cell pixel in truth has NaN and is left out of the means.
    """

    index: int
    """The membrane's class."""
    thresholds: tuple[float, ...]
    scores_NT2: NDArray[np.float64]
    argmax_N2: NDArray[np.float64]

    def best(self, which: int) -> tuple[float, float]:
        """Highest mean over images of V_rand (`which` = 0) or V_info (1), and its threshold; NaN, NaN without cells."""
        known_N = ~np.isnan(self.scores_NT2[:, 0, which])
        if not known_N.any():
            return float("nan"), float("nan")
        means_T = self.scores_NT2[known_N, :, which].mean(0)
        # Of equal scores the least extreme threshold.
        place = max(range(len(means_T)), key=lambda t: (means_T[t], -abs(self.thresholds[t] - 0.5)))
        return float(means_T[place]), self.thresholds[place]

    def plain(self, which: int) -> float:
        """Mean over images of V_rand (0) or V_info (1) of the most probable class, without a choice of threshold."""
        known_N = ~np.isnan(self.argmax_N2[:, which])
        return float(self.argmax_N2[known_N, which].mean()) if known_N.any() else float("nan")


def membrane_class(
    truth_masks: Iterable[Mask], names: Sequence[str] = ("class 0", "class 1")
) -> tuple[int | None, str]:
    """Say which of two classes is a thin wall between cells, if one is, and why.

    `truth_masks` are uint8 H x W with indices 0 and 1, and 255 for unlabelled; `names` are for the reason. A class is a
    membrane if less than 35 % of its pixels survive an erosion by 4 pixels, and without it the other class falls into
    4-connected pieces of which the largest covers at most 25 % of that class in the mean image.

    Returns (index, reason), or (None, reason).
    """
    pixels, surviving = np.zeros(2), np.zeros(2)
    largest: tuple[list[float], list[float]] = ([], [])
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _PEEL + 1, 2 * _PEEL + 1))
    for truth_HW in truth_masks:
        for index in (0, 1):
            own_HW, rest_HW = truth_HW == index, truth_HW == 1 - index
            # Beyond the image and in unlabelled areas the class may go on, so these do not peel it.
            solid_HW = (own_HW | (truth_HW == UNLABELLED)).astype(np.uint8)
            pixels[index] += own_HW.sum()
            surviving[index] += (cv2.erode(solid_HW, disc, borderValue=1).astype(bool) & own_HW).sum()
            if rest_HW.any():
                sizes = np.bincount(_components(rest_HW)[rest_HW])
                largest[index].append(float(sizes.max() / sizes.sum()))
    if not pixels.all():
        return None, f"{' and '.join(name for name, count in zip(names, pixels, strict=True) if not count)} is nowhere"
    left = surviving / pixels
    piece = [float(np.mean(fractions)) for fractions in largest]
    thin_walls = [index for index in (0, 1) if left[index] < _MOST_SURVIVING and piece[index] <= _LARGEST_PIECE]
    first = thin_walls[0] if thin_walls else 0
    reason = (
        f"{left[first]:.0%} of {names[first]} survives an erosion by {_PEEL} pixels (a membrane: under "
        f"{_MOST_SURVIVING:.0%}), and without it the largest connected piece of {names[1 - first]} is "
        f"{piece[first]:.0%} of that class in the mean image (at most {_LARGEST_PIECE:.0%})"
    )
    if thin_walls:
        return first, reason
    return None, f"{reason}; for {names[1]} it is {left[1]:.0%} and {piece[1]:.0%}"


def thin(cell_HW: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Grow all cells evenly (city-block distance) until only a line one pixel wide is left between different ones.

    Returns int32 segment numbers from 1, 0 on the line. Without any cell, everything is 0.
    """
    from skimage.segmentation import watershed  # half a second to import, needed for membranes only

    if not cell_HW.any():
        return np.zeros(cell_HW.shape, np.int32)
    flat_HW = np.zeros(cell_HW.shape, np.uint8)
    grown_HW = watershed(flat_HW, _components(cell_HW), connectivity=1, watershed_line=True)  # type: ignore[no-untyped-call]
    return np.asarray(grown_HW, np.int32)


def grouping_scores(true_cell_HW: NDArray[np.integer], segment_HW: NDArray[np.integer]) -> tuple[float, float]:
    """V_rand and V_info of predicted segments against true cells; both are label images, 0 means none.

    Pixels with true label 0 take no part; those with segment 0 are segments of one pixel each. Both scores are in 0..1;
    NaN, NaN if there is no true cell. Where there is nothing to group (one cell, one segment) both are 1.
    """
    counted_HW = true_cell_HW > 0
    cells, segments = true_cell_HW[counted_HW].astype(np.int64), segment_HW[counted_HW].astype(np.int64)
    total = cells.size
    if total == 0:
        return float("nan"), float("nan")
    grouped = segments > 0
    pairs = cells[grouped] * (segments.max() + 1) + segments[grouped]
    alone = np.full(total - int(grouped.sum()), 1 / total)
    p_both = np.concatenate([np.unique(pairs, return_counts=True)[1] / total, alone])
    p_segment = np.concatenate([np.bincount(segments[grouped]) / total, alone])
    p_cell = np.bincount(cells) / total
    v_rand = float((p_both**2).sum() / (0.5 * (p_segment**2).sum() + 0.5 * (p_cell**2).sum()))
    h_segment, h_cell = _entropy(p_segment), _entropy(p_cell)
    mutual = h_segment + h_cell - _entropy(p_both)
    v_info = 1.0 if h_segment + h_cell == 0 else 2 * mutual / (h_segment + h_cell)
    return min(v_rand, 1.0), min(max(v_info, 0.0), 1.0)


def region_scores(true_cell_HW: NDArray[np.bool_], predicted_cell_HW: NDArray[np.bool_]) -> tuple[float, float]:
    """V_rand and V_info of a predicted cell mask against a true one, with the predicted walls thinned."""
    return grouping_scores(_components(true_cell_HW), thin(predicted_cell_HW))


def _components(mask_HW: NDArray[np.bool_]) -> NDArray[np.int32]:
    """4-connected components, numbered from 1; 0 outside the mask."""
    return np.asarray(cv2.connectedComponents(mask_HW.astype(np.uint8), connectivity=4)[1], np.int32)


def _entropy(fractions: NDArray[np.float64]) -> float:
    """Entropy in nats of fractions that sum to 1."""
    positive = fractions[fractions > 0]
    return float(-(positive * np.log(positive)).sum())
