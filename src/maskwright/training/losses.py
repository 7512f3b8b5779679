"""Losses: f(logits_BKHW, target_BHW) -> scalar. Unlabelled pixels (255) take no part, in denominators either.

A mean over a batch is a mean over its labelled pixels: a sum divided by their number, not by B H W, and not a mean of
means over images, in which an image with three labelled pixels would weigh as much as one with a million. So each loss
is a function of sums over pixels, and with several processes these sums run over the pixels of all of them
(`everywhere`, differentiable): the loss and its gradient are those of one process with the whole batch, wherever the
unlabelled pixels lie. Only what is sorted (Lovász, OHEM) or drawn (distance maps, skeletons) is made image by image.

A batch without a labelled pixel gives 0, with a gradient of 0, not NaN.

To add a loss: a function here, its row in `FUNCTIONS`, its name in `config.LOSSES`.
Shapes: B batch, K classes (logits are float32, K >= 2), H, W height and width, N pixels; targets int64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional as F

from maskwright.config import PIXEL_LOSSES, loss_terms
from maskwright.datasets.classes import UNLABELLED

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

HARDEST = 0.25
"""Fraction of each image's labelled pixels that OHEM learns from."""
SKELETON_STEPS = 10
"""Erosions of a soft skeleton: structures up to twice this width, in pixels, shrink to their middle line."""


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
    return _mean(total, _pixel_weights(target_BHW, weights_K, logits_BKHW.dtype).sum())


def ohem(
    logits_BKHW: torch.Tensor,
    target_BHW: torch.Tensor,
    weights_K: torch.Tensor | None = None,
    fraction: float = HARDEST,
) -> torch.Tensor:
    """Take the cross-entropy of each image's hardest `fraction` of labelled pixels (online hard example mining).

    Shrivastava et al. 2016 (arXiv:1604.03540), for pixels as in Wu et al. 2016 (arXiv:1605.06885, section 3.2). At
    least one pixel of an image that has any.
    """
    loss_BN = F.cross_entropy(logits_BKHW, target_BHW, weights_K, ignore_index=UNLABELLED, reduction="none").flatten(1)
    weight_BN = _pixel_weights(target_BHW, weights_K, loss_BN.dtype).flatten(1)
    labelled_BN = (target_BHW != UNLABELLED).flatten(1)
    order_BN = torch.where(labelled_BN, loss_BN, -1).argsort(dim=1, descending=True)
    kept_B1 = (fraction * labelled_BN.sum(1, keepdim=True)).ceil()
    hard_BN = torch.arange(loss_BN.shape[1], device=loss_BN.device) < kept_B1
    return _mean((loss_BN.gather(1, order_BN) * hard_BN).sum(), (weight_BN.gather(1, order_BN) * hard_BN).sum())


def focal(
    logits_BKHW: torch.Tensor, target_BHW: torch.Tensor, weights_K: torch.Tensor | None = None, gamma: float = 2.0
) -> torch.Tensor:
    """Take the mean over labelled pixels of -(1 - p)^gamma log p, p the true class's probability.

    Lin et al. 2017 (arXiv:1708.02002), equation 4; with weights equation 5, as a weighted mean.
    """
    log_BHW = -F.cross_entropy(logits_BKHW, target_BHW, ignore_index=UNLABELLED, reduction="none")
    weight_BHW = _pixel_weights(target_BHW, weights_K, log_BHW.dtype)
    # 1 - exp(log p) would lose its gradient to rounding at p = 1, where the power has none to give anyway.
    return _mean((-((1 - log_BHW.exp()) ** gamma) * log_BHW * weight_BHW).sum(), weight_BHW.sum())


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
    return _over_present(1 - 2 * sums.both_K / (sums.predicted_K + sums.truth_K).clamp_min(1e-6), sums.truth_K)


def generalised_dice(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """Compute 1 - one Dice over all classes, each weighted by the inverse square of its size.

    Sudre et al. 2017 (arXiv:1707.03237), section 2.1, GDL; over the classes present in the batch's truth.
    """
    sums = overlap(logits_BKHW, target_BHW)
    weight_K = (sums.truth_K > 0) / sums.truth_K.clamp_min(1) ** 2
    total = (weight_K * (sums.predicted_K + sums.truth_K)).sum()
    return (sums.truth_K.sum() > 0) * (1 - 2 * (weight_K * sums.both_K).sum() / total.clamp_min(1e-12))


def soft_jaccard(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """Compute 1 - the mean IoU of the classes in the batch's truth, with probabilities for the prediction.

    IoU_k = sum p_k t_k / (sum p_k + sum t_k - sum p_k t_k) (Rahman & Wang 2016, equation 3).
    """
    sums = overlap(logits_BKHW, target_BHW)
    union_K = sums.predicted_K + sums.truth_K - sums.both_K
    return _over_present(1 - sums.both_K / union_K.clamp_min(1e-6), sums.truth_K)


def tversky(
    logits_BKHW: torch.Tensor, target_BHW: torch.Tensor, alpha: float = 0.3, beta: float = 0.7, gamma: float = 1.0
) -> torch.Tensor:
    """Take the mean over the classes present of (1 - T_k)^gamma, T_k = both / (both + alpha false + beta missed).

    Salehi et al. 2017 (arXiv:1706.05721), equation 4: `alpha` weighs false positives, `beta` missed pixels. Focal
    Tversky (Abraham & Khan 2018, arXiv:1810.07842, equation 4) has gamma = 3/4.
    """
    sums = overlap(logits_BKHW, target_BHW)
    false_K, missed_K = sums.predicted_K - sums.both_K, sums.truth_K - sums.both_K
    index_K = sums.both_K / (sums.both_K + alpha * false_K + beta * missed_K).clamp_min(1e-6)
    # A power below 1 has no slope at 0; a perfect class has nothing to learn.
    return _over_present((1 - index_K).clamp_min(1e-7 if gamma < 1 else 0) ** gamma, sums.truth_K)


def focal_tversky(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """Compute `tversky` with the power 3/4, which looks harder at classes that are already good (see there)."""
    return tversky(logits_BKHW, target_BHW, gamma=0.75)


def lovasz_softmax(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """Compute the convex extension of 1 - IoU: mean over the images, and over the classes present in each.

    Berman et al. 2017 (arXiv:1705.08790), equations 8, 9 and 11.
    """
    labelled_B1N = (target_BHW != UNLABELLED).flatten(1).unsqueeze(1)
    truth_BKN = (target_BHW.flatten(1).unsqueeze(1) == _classes(logits_BKHW)) & labelled_B1N
    # An unlabelled pixel has no error: it comes last in the order, where the weights of no other pixel change.
    error_BKN = (truth_BKN.to(logits_BKHW.dtype) - logits_BKHW.softmax(1).flatten(2)).abs() * labelled_B1N
    error_BKN, order_BKN = error_BKN.sort(dim=2, descending=True)
    found_BKN = truth_BKN.gather(2, order_BKN).to(error_BKN.dtype)
    size_BK1 = found_BKN.sum(2, keepdim=True)
    # 1 - IoU when the pixels up to each position are wrong; the loss weighs an error by what it takes from the IoU.
    lost_BKN = 1 - (size_BK1 - found_BKN.cumsum(2)) / (size_BK1 + (1 - found_BKN).cumsum(2)).clamp_min(1)
    weight_BKN = torch.cat([lost_BKN[..., :1], lost_BKN[..., 1:] - lost_BKN[..., :-1]], 2)
    present_BK = size_BK1.squeeze(2) > 0
    loss_B = ((error_BKN * weight_BKN).sum(2) * present_BK).sum(1) / present_BK.sum(1).clamp_min(1)
    return _mean(loss_B.sum(), present_BK.any(1).sum())


def boundary(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """Take the mean over labelled pixels and classes of probability times signed distance to the class's true boundary.

    Kervadec et al. 2019 (arXiv:1812.07032), equation 5: distances in pixels, below 0 inside the class; 0 for classes
    absent from an image. It can be below 0 and says nothing where a class is absent: add a little of it to a loss of
    regions, `ce+dice+0.01*boundary`.
    """
    distance_BKHW = torch.from_numpy(
        np.stack([_signed_distances(target.cpu().numpy(), logits_BKHW.shape[1]) for target in target_BHW])
    ).to(logits_BKHW)
    labelled_B1HW = (target_BHW != UNLABELLED).unsqueeze(1)
    total = (logits_BKHW.softmax(1) * distance_BKHW * labelled_B1HW).sum()
    return _mean(total, labelled_B1HW.sum() * logits_BKHW.shape[1])


def cldice(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    """Compute 1 - the Dice of middle lines, for thin structures; mean over the classes from 1 present in the truth.

    Shit et al. 2021 (arXiv:2003.07311), equations 1 and 2 and algorithm 1: the fraction of the predicted skeleton
    within the true mask, and of the true skeleton within the prediction. Class 0 is taken as the ground they lie on.
    """
    labelled_B1HW = (target_BHW != UNLABELLED).unsqueeze(1)
    truth_BKHW = ((target_BHW.unsqueeze(1) == _classes(logits_BKHW).unsqueeze(-1)) & labelled_B1HW)[:, 1:]
    truth_BKHW = truth_BKHW.to(logits_BKHW.dtype)
    p_BKHW = logits_BKHW.softmax(1)[:, 1:] * labelled_B1HW
    line_BKHW, true_line_BKHW = soft_skeleton(p_BKHW), soft_skeleton(truth_BKHW)
    pairs = (line_BKHW * truth_BKHW, line_BKHW, true_line_BKHW * p_BKHW, true_line_BKHW, truth_BKHW)
    inside_K, line_K, found_K, true_line_K, truth_K = everywhere(torch.stack([x.sum((0, 2, 3)) for x in pairs]))
    precision_K, sensitivity_K = (inside_K + 1) / (line_K + 1), (found_K + 1) / (true_line_K + 1)
    return _over_present(1 - 2 * precision_K * sensitivity_K / (precision_K + sensitivity_K), truth_K)


def soft_skeleton(p_BKHW: torch.Tensor) -> torch.Tensor:
    """Collect what openings take away from a soft mask that is eroded step by step (Shit et al. 2021, algorithm 1)."""

    def eroded(x_BKHW: torch.Tensor) -> torch.Tensor:
        rows, columns = F.max_pool2d(-x_BKHW, (3, 1), 1, (1, 0)), F.max_pool2d(-x_BKHW, (1, 3), 1, (0, 1))
        return -torch.maximum(rows, columns)

    def beyond_opening(x_BKHW: torch.Tensor) -> torch.Tensor:
        return F.relu(x_BKHW - F.max_pool2d(eroded(x_BKHW), 3, 1, 1))

    skeleton_BKHW = beyond_opening(p_BKHW)
    for _ in range(SKELETON_STEPS):
        p_BKHW = eroded(p_BKHW)
        more_BKHW = beyond_opening(p_BKHW)
        skeleton_BKHW = skeleton_BKHW + F.relu(more_BKHW - skeleton_BKHW * more_BKHW)
    return skeleton_BKHW


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


FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "ce": cross_entropy,
    "ohem": ohem,
    "focal": focal,
    "dice": soft_dice,
    "generalised-dice": generalised_dice,
    "jaccard": soft_jaccard,
    "tversky": tversky,
    "focal-tversky": focal_tversky,
    "lovasz": lovasz_softmax,
    "boundary": boundary,
    "cldice": cldice,
}
"""The loss of each name in `config.LOSSES`."""


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
    parts = loss_terms(name)

    def loss(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        values = []
        for factor, part in parts:
            options = {"weights_K": weights_K} if part in PIXEL_LOSSES else {}
            if part == "ce":
                options |= {"smoothing": smoothing}  # type: ignore[dict-item]
            values.append(factor * FUNCTIONS[part](logits_BKHW, target_BHW, **options))
        return torch.stack(values).sum()

    return loss


def _classes(logits_BKHW: torch.Tensor) -> torch.Tensor:
    """0..K-1 as K x 1."""
    return torch.arange(logits_BKHW.shape[1], device=logits_BKHW.device).unsqueeze(1)


def _pixel_weights(target_BHW: torch.Tensor, weights_K: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """The weight of each pixel's class; 0 where unlabelled."""
    labelled = target_BHW != UNLABELLED
    if weights_K is None:
        return labelled.to(dtype)
    return (weights_K[torch.where(labelled, target_BHW, 0)] * labelled).to(dtype)


def _mean(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A sum over a count, both over all processes; 0 for nothing at all.

    Numerator and denominator are added up over the processes before they are divided: were each process's mean averaged
    instead, a process with few labelled pixels would count as much as one with many.
    """
    total, count = everywhere(torch.stack([total, count.to(total.dtype)]))
    return total / torch.where(count > 0, count, 1)


def _over_present(loss_K: torch.Tensor, truth_K: torch.Tensor) -> torch.Tensor:
    """Mean over the classes that have pixels; 0 if none has."""
    present_K = truth_K > 0
    return (loss_K * present_K).sum() / present_K.sum().clamp_min(1)


def _signed_distances(target: np.ndarray, classes: int) -> np.ndarray:
    """For each class, K x H x W float32: distance to the class from outside, minus that to its outside less 1 inside.

    As in the authors' program, so that the pixels on either side of a boundary have 1 and 0.
    """
    distances = np.zeros((classes, *target.shape), np.float32)
    for index in range(classes):
        inside = target == index
        if inside.any():
            outside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            # Without any pixel outside there is no boundary, and OpenCV's distance to nothing is no number of pixels.
            distances[index] = 0 if inside.all() else np.where(inside, 1 - depth, outside)
    return distances
