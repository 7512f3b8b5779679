"""Combining votes into labels: majority, and Dawid-Skene, which estimates each voter's reliability without truth.

Few different patterns of votes occur, so that everything is computed once for each pattern.

Shapes: P patterns, J voters, K classes; H, W of an image, X of any shape. A vote is a class index, or 255 where the
voter abstains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskwright.datasets.classes import UNLABELLED

_LEAST = 1e-10
"""Probabilities are never below this: none is ruled out for ever."""
_ROUNDS = 100
_ENOUGH = 1e-5
"""EM stops when the evidence lower bound rises by less, per vote."""
_MOST = 0.5
"""A superpixel's vote is the class of more of its pixels than this fraction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """What Dawid-Skene estimates of the voters."""

    priors_K: np.ndarray
    """How frequent each class is."""
    confusion_JRK: np.ndarray
    """Probability of a voter's response R given the class K. The last response is abstention, if it was modelled."""
    posterior_PK: np.ndarray
    """Probabilities of the classes for each pattern that it was fitted to."""
    rounds: int


def majority(patterns_PJ: np.ndarray, classes: int) -> np.ndarray:
    """Fraction of the votes that each class has, `P x K`; all alike where every voter abstains."""
    counts_PK = np.stack([(patterns_PJ == index).sum(1) for index in range(classes)], 1).astype(np.float64)
    total_P1 = counts_PK.sum(1, keepdims=True)
    return np.where(total_P1 > 0, counts_PK / np.maximum(total_P1, 1), 1 / classes)


def dawid_skene(
    patterns_PJ: np.ndarray, counts_P: np.ndarray, classes: int, *, abstentions_inform: bool = False
) -> Reliability:
    """Estimate classes and voters' reliabilities together, by expectation maximisation from the majority.

    Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied
    Statistics 28, equations 2.3 to 2.5.

    Parameters
    ----------
    patterns_PJ
        Votes that occur together.
    counts_P
        How often.
    classes
        How many.
    abstentions_inform
        False takes an abstention for missing, as in the paper. True takes it for a response like others. A function
        that votes for one class only is right and wrong just by where it abstains: as missing, all of its votes are the
        same, and tell nothing. Patterns without any vote are left out of the estimates.
    """
    responses = classes + int(abstentions_inform)
    abstained_PJ = patterns_PJ == UNLABELLED
    index_PJ = np.where(abstained_PJ, classes if abstentions_inform else 0, patterns_PJ).astype(np.intp)
    counted_PJ = np.ones_like(abstained_PJ) if abstentions_inform else ~abstained_PJ
    some_P = (~abstained_PJ).any(1)
    posterior_PK = majority(patterns_PJ, classes)
    weights_P = np.where(some_P, counts_P, 0).astype(np.float64)
    total, votes = max(weights_P.sum(), 1.0), max(float((weights_P[:, None] * counted_PJ).sum()), 1.0)
    voters = np.arange(patterns_PJ.shape[1])
    bound, rounds = -np.inf, 0
    while True:
        priors_K = np.maximum((weights_P[:, None] * posterior_PK).sum(0) / total, _LEAST)
        confusion_JRK = np.zeros((len(voters), responses, classes))
        for voter in voters:
            told = counted_PJ[:, voter]
            np.add.at(confusion_JRK[voter], index_PJ[told, voter], (weights_P[:, None] * posterior_PK)[told])
        confusion_JRK = np.maximum(confusion_JRK, _LEAST)
        confusion_JRK /= confusion_JRK.sum(1, keepdims=True)
        told_PJK = np.log(confusion_JRK)[voters[None], index_PJ] * counted_PJ[..., None]
        if rounds:
            each_PK = told_PJK.sum(1) + np.log(priors_K) * counted_PJ.sum(1)[:, None]
            joint = (weights_P[:, None] * posterior_PK * each_PK).sum()
            entropy = -(weights_P[:, None] * posterior_PK * np.log(np.maximum(posterior_PK, _LEAST))).sum()
            new = float(joint + entropy) / votes
            if new - bound < _ENOUGH or rounds == _ROUNDS:
                break
            bound = new
        log_PK = np.log(priors_K) + told_PJK.sum(1)
        posterior_PK = np.exp(log_PK - log_PK.max(1, keepdims=True))
        posterior_PK /= posterior_PK.sum(1, keepdims=True)
        rounds += 1
    return Reliability(priors_K=priors_K, confusion_JRK=confusion_JRK, posterior_PK=posterior_PK, rounds=rounds)


def posterior(reliability: Reliability, patterns_PJ: np.ndarray) -> np.ndarray:
    """Probabilities of the classes, `P x K`, for any patterns; all alike where every voter abstains."""
    voters, responses, classes = reliability.confusion_JRK.shape
    told_PJ = patterns_PJ != UNLABELLED
    index_PJ = np.where(told_PJ, patterns_PJ, classes if responses > classes else 0).astype(np.intp)
    counted_PJ = told_PJ | (responses > classes)
    logs_PJK = np.log(reliability.confusion_JRK)[np.arange(voters)[None], index_PJ] * counted_PJ[..., None]
    log_PK = np.log(reliability.priors_K) + logs_PJK.sum(1)
    found_PK = np.exp(log_PK - log_PK.max(1, keepdims=True))
    found_PK /= found_PK.sum(1, keepdims=True)
    return np.asarray(np.where(told_PJ.any(1)[:, None], found_PK, 1 / classes))


def patterns_of(votes_JHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The patterns that occur (uint8 `P x J`), and for each pixel which it is; one voter after the other joins."""
    patterns_PJ = np.zeros((1, 0), np.uint8)
    places = np.zeros(votes_JHW.shape[1:], np.int64)
    for votes_HW in votes_JHW:
        codes = places * 256 + votes_HW
        occurring = np.flatnonzero(np.bincount(codes.ravel()))
        patterns_PJ = np.column_stack([patterns_PJ[occurring // 256], occurring % 256]).astype(np.uint8)
        place_of = np.zeros(int(occurring[-1]) + 1 if len(occurring) else 1, np.int64)
        place_of[occurring] = np.arange(len(occurring))
        places = place_of[codes]
    return patterns_PJ, places


def per_region(votes_JHW: np.ndarray, regions_HW: np.ndarray, classes: int) -> np.ndarray:
    """Votes of superpixels, uint8 `J x regions`: the class of more than half of a region's pixels, else 255."""
    flat, count = regions_HW.ravel(), int(regions_HW.max()) + 1
    sizes = np.bincount(flat, minlength=count)
    result = np.full((len(votes_JHW), count), UNLABELLED, np.uint8)
    for voter, votes_HW in enumerate(votes_JHW):
        for index in range(classes):
            own = np.bincount(flat, weights=(votes_HW == index).ravel(), minlength=count)
            result[voter][own > _MOST * sizes] = index
    return result


def refined(pixel_XK: np.ndarray, region_XK: np.ndarray) -> np.ndarray:
    """Probabilities of pixels and of their superpixels as one: their geometric mean, normalised.

    So a pixel without a vote follows its superpixel, with less confidence, and one that contradicts it stays open.
    """
    found = np.sqrt(np.maximum(pixel_XK, _LEAST) * np.maximum(region_XK, _LEAST))
    normal: np.ndarray = found / found.sum(-1, keepdims=True)
    return normal


def decide(probabilities_XK: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class where its probability is at least `confidence`, else 255; and that probability."""
    best_X = probabilities_XK.max(-1)
    ties_X = (probabilities_XK >= best_X[..., None] - 1e-9).sum(-1) > 1
    unsure_X = (best_X < confidence) | ties_X
    return np.where(unsure_X, UNLABELLED, probabilities_XK.argmax(-1)).astype(np.uint8), best_X
