"""Losses that nobody gets without asking: hard pixels, other overlaps, sorted errors, outlines and middle lines.

The head of `losses.py` says what holds for every loss; the shapes are those given there.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskwright.datasets.classes import UNLABELLED
from maskwright.training.losses import everywhere, mean, over_present, overlap, pixel_weights

HARDEST = 0.25
"""Fraction of each image's labelled pixels that OHEM learns from."""

SKELETON_STEPS = 10
"""Erosions of a soft skeleton: structures up to twice this width, in pixels, shrink to their middle line."""


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
    weight_BN = pixel_weights(target_BHW, weights_K, loss_BN.dtype).flatten(1)
    labelled_BN = (target_BHW != UNLABELLED).flatten(1)
    order_BN = torch.where(labelled_BN, loss_BN, -1).argsort(dim=1, descending=True)
    kept_B1 = (fraction * labelled_BN.sum(1, keepdim=True)).ceil()
    hard_BN = torch.arange(loss_BN.shape[1], device=loss_BN.device) < kept_B1
    return mean((loss_BN.gather(1, order_BN) * hard_BN).sum(), (weight_BN.gather(1, order_BN) * hard_BN).sum())


def focal(
    logits_BKHW: torch.Tensor, target_BHW: torch.Tensor, weights_K: torch.Tensor | None = None, gamma: float = 2.0
) -> torch.Tensor:
    """Take the mean over labelled pixels of -(1 - p)^gamma log p, p the true class's probability.

    Lin et al. 2017 (arXiv:1708.02002), equation 4; with weights equation 5, as a weighted mean.
    """
    log_BHW = -F.cross_entropy(logits_BKHW, target_BHW, ignore_index=UNLABELLED, reduction="none")
    weight_BHW = pixel_weights(target_BHW, weights_K, log_BHW.dtype)
    # 1 - exp(log p) would lose its gradient to rounding at p = 1, where the power has none to give anyway.
    return mean((-((1 - log_BHW.exp()) ** gamma) * log_BHW * weight_BHW).sum(), weight_BHW.sum())


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
    return over_present(1 - sums.both_K / union_K.clamp_min(1e-6), sums.truth_K)


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
    return over_present((1 - index_K).clamp_min(1e-7 if gamma < 1 else 0) ** gamma, sums.truth_K)


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
    return mean(loss_B.sum(), present_BK.any(1).sum())


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
    return mean(total, labelled_B1HW.sum() * logits_BKHW.shape[1])


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
    return over_present(1 - 2 * precision_K * sensitivity_K / (precision_K + sensitivity_K), truth_K)


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


def _classes(logits_BKHW: torch.Tensor) -> torch.Tensor:
    """0..K-1 as K x 1."""
    return torch.arange(logits_BKHW.shape[1], device=logits_BKHW.device).unsqueeze(1)


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
