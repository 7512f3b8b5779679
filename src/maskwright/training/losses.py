"""Losses: f(logits_BKHW, target_BHW) -> scalar. Unlabelled pixels (255) take no part, in denominators either.

A mean over a batch is a mean over its labelled pixels: a sum divided by their number, not by B H W, and not a mean of
means over images, in which an image with three labelled pixels would weigh as much as one with a million. So each loss
is a function of sums over pixels, and with several processes these sums run over the pixels of all of them
(`everywhere`, differentiable): the loss and its gradient are those of one process with the whole batch, wherever the
unlabelled pixels lie. Only what is sorted (Lovász, OHEM) or drawn (distance maps, skeletons) is made image by image.

A batch without a labelled pixel gives 0, with a gradient of 0, not NaN.

To add a loss: a function in `special_losses.py`, its row in `FUNCTIONS`, its name in `config.LOSSES`.
Shapes: B batch, K classes (logits are float32, K >= 2), H, W height and width, N pixels; targets int64.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.nn import functional as F

from maskwright.config import PIXEL_LOSSES, loss_terms
from maskwright.datasets.classes import UNLABELLED

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def everywhere(sums: torch.Tensor) -> torch.Tensor:
    """Add up sums over the batch of each process; differentiable. Alone, this is the same tensor.

    Every process then has the same loss, and the mean over processes of its gradients, which is what
    DistributedDataParallel takes, is the gradient of that loss.
    """
    if not dist.is_available() or not dist.is_initialized():
        return sums
    total: torch.Tensor = _Total.apply(sums)  # type: ignore[no-untyped-call]
    return total


class _Total(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: object, sums: torch.Tensor) -> torch.Tensor:
        total = sums.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def cross_entropy(
    logits_BKHW: torch.Tensor,
    target_BHW: torch.Tensor,
    weights_K: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Take the mean over labelled pixels of -log softmax at the true class.

    For two classes with logits [0, z] this is the binary cross-entropy of sigmoid(z).

    Parameters
    ----------
    logits_BKHW
        float32, any real numbers.
    target_BHW
        int64 class indices, 255 where unlabelled.
    weights_K
        Weights of the classes, or None. The mean is then a weighted one: the weights of the true classes stand in the
        denominator too.
    smoothing
        With e the true class counts 1 - e + e/K and every other one e/K (Szegedy et al. 2015, arXiv:1512.00567, section
        7).

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    total = F.cross_entropy(
        logits_BKHW, target_BHW, weights_K, ignore_index=UNLABELLED, reduction="sum", label_smoothing=smoothing
    )
    return mean(total, pixel_weights(target_BHW, weights_K, logits_BKHW.dtype).sum())


class Overlap(NamedTuple):
    """Sums over all labelled pixels of a batch, for each class."""

    both_K: torch.Tensor
    """Probability at the pixels of the class."""
    predicted_K: torch.Tensor
    """Probability at all pixels."""
    truth_K: torch.Tensor
    """Pixels of the class."""


def soft_dice(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """Compute 1 - the mean Dice of the classes present in the batch's truth, with probabilities for the prediction.

    Dice_k = 2 sum p_k t_k / (sum p_k + sum t_k), sums over all labelled pixels of the batch (Milletari et al. 2016,
    arXiv:1606.04797, equation 3, without the squares).
    """
    sums = overlap(logits_BKHW, target_BHW)
    return over_present(1 - 2 * sums.both_K / (sums.predicted_K + sums.truth_K).clamp_min(1e-6), sums.truth_K)


def overlap(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> Overlap:
    """Sum probabilities and true pixels of each class, over the labelled pixels of all processes' batches."""
    classes = logits_BKHW.shape[1]
    labelled_B1HW = (target_BHW != UNLABELLED).unsqueeze(1)
    index_B1HW = torch.where(labelled_B1HW, target_BHW.unsqueeze(1), 0)
    p_BKHW = logits_BKHW.softmax(1) * labelled_B1HW
    # The truth as one index per pixel: gathering and counting is several times faster than a one-hot product.
    at_truth = p_BKHW.gather(1, index_B1HW) * labelled_B1HW
    both_K = at_truth.new_zeros(classes).index_add(0, index_B1HW.flatten(), at_truth.flatten())
    truth_K = torch.bincount(target_BHW[labelled_B1HW.squeeze(1)], minlength=classes)[:classes].to(p_BKHW.dtype)
    return Overlap(*everywhere(torch.stack([both_K, p_BKHW.sum((0, 2, 3)), truth_K])))


FUNCTIONS = {
    "ce": "losses.cross_entropy",
    "ohem": "special_losses.ohem",
    "focal": "special_losses.focal",
    "dice": "losses.soft_dice",
    "generalised-dice": "special_losses.generalised_dice",
    "jaccard": "special_losses.soft_jaccard",
    "tversky": "special_losses.tversky",
    "focal-tversky": "special_losses.focal_tversky",
    "lovasz": "special_losses.lovasz_softmax",
    "boundary": "special_losses.boundary",
    "cldice": "special_losses.cldice",
}
"""The file and function of each name in `config.LOSSES`; a file is imported when its loss is made."""


def function_of(name: str) -> Callable[..., torch.Tensor]:
    """The loss of one name."""
    file, function = FUNCTIONS[name].split(".")
    found: Callable[..., torch.Tensor] = getattr(import_module(f"{__package__}.{file}"), function)
    return found


def make_loss(name: str, weights_K: torch.Tensor | None = None, smoothing: float = 0.0) -> Loss:
    """Make a loss by name, or a weighted sum of them, as `ce+0.5*dice`.

    Parameters
    ----------
    name
        As `config.loss_terms` reads it.
    weights_K
        Class weights for ce, ohem and focal.
    smoothing
        Label smoothing for ce.

    Raises
    ------
    SettingError
        For an unknown name.
    """
    parts = [(factor, part, function_of(part)) for factor, part in loss_terms(name)]

    def loss(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        values = []
        for factor, part, function in parts:
            options = {"weights_K": weights_K} if part in PIXEL_LOSSES else {}
            if part == "ce":
                options |= {"smoothing": smoothing}  # type: ignore[dict-item]
            values.append(factor * function(logits_BKHW, target_BHW, **options))
        return torch.stack(values).sum()

    return loss


def pixel_weights(target_BHW: torch.Tensor, weights_K: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """The weight of each pixel's class; 0 where unlabelled."""
    labelled = target_BHW != UNLABELLED
    if weights_K is None:
        return labelled.to(dtype)
    return (weights_K[torch.where(labelled, target_BHW, 0)] * labelled).to(dtype)


def mean(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A sum over a count, both over all processes; 0 for nothing at all.

    Numerator and denominator are added up over the processes before they are divided: were each process's mean averaged
    instead, a process with few labelled pixels would count as much as one with many.
    """
    total, count = everywhere(torch.stack([total, count.to(total.dtype)]))
    return total / torch.where(count > 0, count, 1)


def over_present(loss_K: torch.Tensor, truth_K: torch.Tensor) -> torch.Tensor:
    """Mean over the classes that have pixels; 0 if none has."""
    present_K = truth_K > 0
    return (loss_K * present_K).sum() / present_K.sum().clamp_min(1)
