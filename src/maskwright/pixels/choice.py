"""Which features suit these strokes, and which stroke contradicts the others: each stroke is judged by the rest.

Every stroke is left out once (with many, several at a time), the others are learnt, and the left-out ones are
predicted. A set of features scores the mean over classes of the intersection over union of those predictions, every
class and stroke counting as in learning. The same predictions tell by how much the network is too sure of itself, and
the probabilities are softened accordingly: Guo, Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural
Networks" (arXiv:1706.04599), section 4.2.

Shapes: S strokes, N their pixels, D features, F folds, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from maskwright.pixels.mlp import PixelMlp
from maskwright.pixels.strokes import Stroke, chances, folds

STEPS = 100
CONTRADICTED = 0.2
"""A stroke contradicts the others if they give its own class less than this, and another one more than half."""


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A stroke that the others would have painted otherwise."""

    stroke: Stroke
    other: int
    """The class that they would have chosen."""
    probability: float
    """Of that class, the mean over the stroke."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What left-out strokes say of one set of features."""

    features: str
    score: float
    """Mean intersection over union, 0 to 1; NaN if no class has two strokes."""
    temperature: float
    """By which logits are divided."""
    contradictions: tuple[Contradiction, ...]
    """The worst first."""


def held_out(
    features: str, features_ND: torch.Tensor, strokes: Sequence[Stroke], counts: Sequence[int], classes: int, seed: int
) -> HeldOut:
    """Judge features by leaving strokes out; `counts` says how many of the N pixels are each stroke's, in order.

    Strokes that are the only one of their class are not judged: without them the class is not known.
    """
    stroke_N = np.repeat(np.arange(len(strokes)), counts)
    label_S = np.array([one.label for one in strokes])
    fold_S = folds(strokes)
    judged_S = np.bincount(label_S, minlength=classes)[label_S] > 1
    seen_FN = torch.from_numpy((np.arange(fold_S.max() + 1)[:, None] != fold_S[stroke_N]).astype(np.float32))
    target_N = torch.from_numpy(label_S[stroke_N])
    chance_N = torch.from_numpy(chances(strokes)[stroke_N])
    network = PixelMlp.begin(features_ND, classes, members=len(seen_FN), seed=seed)
    network.fit(features_ND, target_N, chance_N, steps=STEPS, seed=seed, seen_FN=seen_FN)
    logits_FKN = network.logits(network.standard(features_ND))
    logits_NK = logits_FKN[torch.from_numpy(fold_S[stroke_N]), :, torch.arange(len(target_N))]
    told_N = torch.from_numpy(judged_S[stroke_N])
    if not told_N.any():
        return HeldOut(features=features, score=float("nan"), temperature=1.0, contradictions=())
    temperature = softening(logits_NK[told_N], target_N[told_N], chance_N[told_N])
    p_NK = (logits_NK / temperature).softmax(1).double().numpy()
    confusion_KK = np.zeros((classes, classes))
    np.add.at(confusion_KK, (target_N[told_N].numpy(), p_NK.argmax(1)[told_N.numpy()]), chance_N[told_N].numpy())
    union_K = confusion_KK.sum(0) + confusion_KK.sum(1) - np.diag(confusion_KK)
    p_SK = np.stack([p_NK[stroke_N == place].mean(0) for place in range(len(strokes))])
    found = [
        Contradiction(stroke=one, other=int(p_SK[place].argmax()), probability=float(p_SK[place].max()))
        for place, one in enumerate(strokes)
        if judged_S[place] and p_SK[place, one.label] < CONTRADICTED and p_SK[place].max() > 0.5
    ]
    present_K = confusion_KK.sum(1) > 0
    return HeldOut(
        features=features,
        score=float((np.diag(confusion_KK)[present_K] / union_K[present_K]).mean()),
        temperature=temperature,
        contradictions=tuple(sorted(found, key=lambda one: -one.probability)),
    )


def softening(logits_NK: torch.Tensor, target_N: torch.Tensor, chance_N: torch.Tensor) -> float:
    """The temperature, 1 or more, at which the targets are most probable."""
    tried: list[float] = torch.logspace(0, 1.5, 31).tolist()
    weight_N = chance_N / chance_N.sum()

    def loss(temperature: float) -> float:
        own_N = (logits_NK / temperature).log_softmax(1).gather(1, target_N[:, None])[:, 0]
        return float(-(own_N * weight_N).sum())

    return min(tried, key=loss)
