"""Scores that come from confusion matrices. Everything here is a pure function of masks or counts.

Legend: H, W height and width; K classes; `X` any leading axes.
Masks are uint8 class indices 0..K-1; 255 is unlabelled (truth) or invalid (prediction), and such pixels take no part.
A score without a denominator (a class that neither truth nor prediction has) is NaN, never 0 and never 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from maskwright.datasets.classes import UNLABELLED

__all__ = [
    "Scores",
    "class_iou",
    "confusion",
    "marginals",
    "mean_of_present",
    "ratio",
]


Mask = NDArray[np.uint8]
Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


def confusion(truth_HW: Mask, prediction_HW: Mask, classes: int) -> Counts:
    """Count pixels by true class (rows) and predicted class (columns).

    Pixels that are 255 in either mask are left out. Returns int64 (K, K).
    """
    assert truth_HW.shape == prediction_HW.shape, (truth_HW.shape, prediction_HW.shape)
    counted_HW = (truth_HW != UNLABELLED) & (prediction_HW != UNLABELLED)
    truth, prediction = truth_HW[counted_HW], prediction_HW[counted_HW]
    assert max(truth.max(initial=0), prediction.max(initial=0)) < classes, "a mask holds an index beyond the classes"
    cells = truth.astype(np.intp) * classes + prediction
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one confusion matrix says, each score in 0..1; per class float64 (K,), NaN where a class gives no answer.

    `miou` and `mean_dice` are macro averages over the classes present in truth or prediction; `mean_accuracy` is the
    macro recall over the classes present in truth.
    """

    iou: Shares
    dice: Shares
    precision: Shares
    recall: Shares
    truth_share: Shares
    miou: float
    mean_dice: float
    mean_accuracy: float
    pixel_accuracy: float

    @classmethod
    def from_confusion(cls, confusion_KK: Counts) -> Self:
        """Score one matrix, rows truth, columns prediction. With no counted pixel, every score is NaN."""
        hits, truth, predicted = marginals(confusion_KK)
        iou = ratio(hits, truth + predicted - hits)
        dice = ratio(2 * hits, truth + predicted)
        recall = ratio(hits, truth)
        return cls(
            iou=iou,
            dice=dice,
            precision=ratio(hits, predicted),
            recall=recall,
            truth_share=ratio(truth, np.full_like(truth, truth.sum())),
            miou=float(mean_of_present(iou)),
            mean_dice=float(mean_of_present(dice)),
            mean_accuracy=float(mean_of_present(recall)),
            pixel_accuracy=float(ratio(hits.sum(keepdims=True), truth.sum(keepdims=True))[0]),
        )


def class_iou(confusion_XKK: NDArray[Any]) -> Shares:
    """Intersection over union per class for any stack of confusion matrices; float64 (..., K), NaN where absent."""
    hits, truth, predicted = marginals(confusion_XKK)
    return ratio(hits, truth + predicted - hits)


def mean_of_present(scores_XK: Shares) -> Shares:
    """Macro average over the last axis, leaving NaN out; NaN where nothing is present."""
    present = ~np.isnan(scores_XK)
    return ratio(np.where(present, scores_XK, 0.0).sum(-1), present.sum(-1))


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Shares:
    """Part over whole in float64, NaN where the whole is 0."""
    quotient: Shares = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) != 0)
    return quotient


def marginals(confusion_XKK: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Per class: pixels that agree, pixels in truth, pixels in prediction."""
    return np.diagonal(confusion_XKK, axis1=-2, axis2=-1), confusion_XKK.sum(-1), confusion_XKK.sum(-2)
