"""Losses: f(logits_BKHW, target_BHW) -> scalar. Unlabelled pixels (255) take no part, in denominators either.

A batch without a labelled pixel gives 0, with a gradient of 0, not NaN.
Shapes: B batch, K classes (logits are float32, K >= 2), H, W height and width; targets int64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from maskwright.data.classes import UNLABELLED
from maskwright.errors import SettingError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(
    logits_BKHW: torch.Tensor, target_BHW: torch.Tensor, weights_K: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over labelled pixels of -log softmax at the true class.

    With weights, the weighted mean: the weights of the true classes stand in the denominator too. For two classes with
    logits [0, z] this is the binary cross-entropy of sigmoid(z).
    """
    total = F.cross_entropy(logits_BKHW, target_BHW, weights_K, ignore_index=UNLABELLED, reduction="sum")
    labelled = target_BHW != UNLABELLED
    if weights_K is None:
        return total / labelled.sum().clamp_min(1)
    return total / (weights_K[torch.where(labelled, target_BHW, 0)] * labelled).sum().clamp_min(1e-12)


def soft_dice(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """1 - the mean Dice of the classes present in the batch's truth, with probabilities for the prediction.

    Dice_k = 2 sum p_k t_k / (sum p_k + sum t_k), sums over all labelled pixels of the batch (Milletari et al. 2016,
    arXiv:1606.04797, equation 3, without the squares).
    """
    classes = logits_BKHW.shape[1]
    labelled_B1HW = (target_BHW != UNLABELLED).unsqueeze(1)
    index_B1HW = torch.where(labelled_B1HW, target_BHW.unsqueeze(1), 0)
    p_BKHW = logits_BKHW.softmax(1) * labelled_B1HW
    # The truth as one index per pixel: gathering and counting is several times faster than a one-hot product.
    at_truth = p_BKHW.gather(1, index_B1HW) * labelled_B1HW
    overlap_K = at_truth.new_zeros(classes).index_add(0, index_B1HW.flatten(), at_truth.flatten())
    truth_K = torch.bincount(target_BHW[labelled_B1HW.squeeze(1)], minlength=classes)[:classes].to(p_BKHW.dtype)
    dice_K = 2 * overlap_K / (p_BKHW.sum((0, 2, 3)) + truth_K).clamp_min(1e-6)
    present_K = truth_K > 0
    return ((1 - dice_K) * present_K).sum() / present_K.sum().clamp_min(1)


def make_loss(name: str, weights_K: torch.Tensor | None = None) -> Loss:
    """A loss by name: `ce`, `dice`, or a sum such as `ce+dice`; class weights act on cross-entropy.

    Raises SettingError for an unknown name.
    """
    parts: list[Loss] = []
    for part in name.split("+"):
        if part == "ce":
            parts.append(lambda logits, target: cross_entropy(logits, target, weights_K))
        elif part == "dice":
            parts.append(soft_dice)
        else:
            raise SettingError(f"loss = {name!r}: {part!r} is unknown. Expected ce, dice, or ce+dice.")

    def loss(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        return torch.stack([part(logits_BKHW, target_BHW) for part in parts]).sum()

    return loss
