"""Bootstrap intervals: how much scores would vary with other images of the same kind.

Legend: N images; K classes; R bootstrap resamples; U units that are drawn, images or groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskwright.evaluate.metrics import Counts, Shares, marginals, mean_of_present, ratio


def bootstrap_miou(
    confusions_NKK: Counts,
    groups: Sequence[str] = (),
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of mIoU: images drawn with replacement, matrices summed, mIoU taken.

    With `groups`, one name an image, whole groups are drawn. Deterministic in `seed`. NaN, NaN with fewer than two
    images or groups. What is drawn is treated as independent; neighbouring frames of a video are not, and their true
    uncertainty is larger (Efron and Tibshirani 1993, chapter 13).
    """
    (iou_RK,) = bootstrap_iou([confusions_NKK], groups, resamples=resamples, seed=seed)
    return interval(mean_of_present(iou_RK), level)


def bootstrap_iou(
    models: Sequence[Counts], groups: Sequence[str] = (), *, resamples: int = 1000, seed: int = 0
) -> list[Shares]:
    """IoU of every class in bootstrap samples of the images, R x K for each of several models of the same images.

    The samples are the same for all models, so that differences between them are paired (Efron and Tibshirani 1993,
    section 8.3). `models` are int64 N x K x K. Empty (0 x K) with fewer than two images or groups.
    """
    images, classes = models[0].shape[:2]
    units = np.unique(np.asarray(groups), return_inverse=True)[1] if len(groups) else np.arange(images)
    count = int(units.max(initial=-1)) + 1
    if count < 2:
        return [np.empty((0, classes)) for _ in models]
    # Only three numbers a class enter IoU, so resampling those, not whole matrices, keeps 150 classes cheap.
    sums = []
    for confusions_NKK in models:
        counts_N = np.concatenate(marginals(confusions_NKK), axis=-1).astype(np.float64)
        counts_U = np.zeros((count, counts_N.shape[1]))
        np.add.at(counts_U, units, counts_N)
        sums.append(counts_U)
    rng = np.random.default_rng(seed)
    found: list[list[Shares]] = [[] for _ in models]
    chunk = max(1, 2_000_000 // count)
    for start in range(0, resamples, chunk):
        times_RU = rng.multinomial(count, np.full(count, 1 / count), size=min(chunk, resamples - start))
        for counts_U, drawn in zip(sums, found, strict=True):
            hits, truth, predicted = np.split(times_RU.astype(np.float64) @ counts_U, 3, axis=-1)
            drawn.append(ratio(hits, truth + predicted - hits))
    return [np.concatenate(drawn) for drawn in found]


def interval(drawn: Shares, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of bootstrap values; NaN, NaN if there are none. Values that are NaN are left out."""
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
