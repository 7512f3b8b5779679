from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from maskwright.config import loss_terms
from maskwright.errors import SettingError
from maskwright.training.losses import FUNCTIONS, cross_entropy, make_loss, soft_dice
from maskwright.training.special_losses import (
    boundary,
    cldice,
    focal,
    generalised_dice,
    lovasz_softmax,
    ohem,
    soft_jaccard,
    soft_skeleton,
    tversky,
)


def test_cross_entropy_by_hand() -> None:
    # One row of three pixels, two classes: p(true) = 1/2, 3/4; the third is unlabelled.
    logits = torch.tensor([[[[0.0, math.log(3), 9.0]], [[0.0, 0.0, -9.0]]]])
    target = torch.tensor([[[0, 0, 255]]])
    assert cross_entropy(logits, target).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


def test_weighted_cross_entropy_is_a_weighted_mean() -> None:
    logits = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])
    target = torch.tensor([[[0, 1]]])
    # -log p: log 2 with weight 1, log 4 with weight 3.
    expected = (math.log(2) + 3 * math.log(4)) / 4
    assert cross_entropy(logits, target, torch.tensor([1.0, 3.0])).item() == pytest.approx(expected)


def test_two_logits_give_the_binary_cross_entropy_of_a_sigmoid() -> None:
    z = torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    target = (torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(1)) > 0.5).long()
    two = torch.cat([torch.zeros_like(z), z], 1)
    expected = F.binary_cross_entropy_with_logits(z[:, 0], target.float())
    torch.testing.assert_close(cross_entropy(two, target), expected)


def test_soft_dice_by_hand() -> None:
    # Two pixels, probabilities (1/2, 1/2) and (3/4, 1/4), truth 0 and 1.
    logits = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])
    target = torch.tensor([[[0, 1]]])
    # Class 0: 2 * 1/2 / (5/4 + 1) = 4/9; class 1: 2 * 1/4 / (3/4 + 1) = 2/7.
    assert soft_dice(logits, target).item() == pytest.approx(1 - (4 / 9 + 2 / 7) / 2)


def test_soft_dice_leaves_absent_classes_and_unlabelled_pixels_out() -> None:
    logits = torch.randn(1, 3, 1, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[0, 1, 255, 255]]])
    cut = soft_dice(logits[..., :2], target[..., :2])
    torch.testing.assert_close(soft_dice(logits, target), cut)
    p = logits[..., :2].softmax(1)
    by_hand = [1 - 2 * p[0, k, 0, k] / (p[0, k].sum() + 1) for k in (0, 1)]
    torch.testing.assert_close(cut, torch.stack(by_hand).mean())


# Two pixels, p of class 0 is 1/2 and 3/4, truth 0 and 1: both = (1/2, 1/4), predicted = (5/4, 3/4), truth = (1, 1).
TWO_PIXELS = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]]), torch.tensor([[[0, 1]]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Both classes have one pixel, so equal weights: 2 (1/2 + 1/4) / (5/4 + 1 + 3/4 + 1).
        ("generalised-dice", 1 - 1.5 / 4),
        # (1/2) / (5/4 + 1 - 1/2) and (1/4) / (3/4 + 1 - 1/4).
        ("jaccard", 1 - (2 / 7 + 1 / 6) / 2),
        # Class 0: 0.5 / (0.5 + 0.3 * 0.75 + 0.7 * 0.5); class 1: 0.25 / (0.25 + 0.3 * 0.5 + 0.7 * 0.75).
        ("tversky", 1 - (0.5 / 1.075 + 0.25 / 0.925) / 2),
        ("focal-tversky", ((1 - 0.5 / 1.075) ** 0.75 + (1 - 0.25 / 0.925) ** 0.75) / 2),
        # -(1 - p)^2 log p for p = 1/2 and 1/4.
        ("focal", (0.25 * math.log(2) + 0.5625 * math.log(4)) / 2),
        # A quarter of two pixels is one, the harder.
        ("ohem", math.log(4)),
        # Errors of class 0: 3/4 at the pixel of class 1, then 1/2. With the first wrong, its IoU falls from 1 to 1/2,
        # with both wrong to 0: 3/4 * 1/2 + 1/2 * 1/2. Class 1 has the same errors: the first takes all, 3/4 * 1.
        ("lovasz", (0.625 + 0.75) / 2),
        # Distances to class 0: 0 inside, 1 outside; to class 1: 1, 0. (0 + 3/4 + 1/2 + 0) over 2 pixels, 2 classes.
        ("boundary", 1.25 / 4),
        ("ce+0.5*dice", (math.log(2) + math.log(4)) / 2 + 0.5 * (1 - (4 / 9 + 2 / 7) / 2)),
    ],
)
def test_losses_by_hand(name: str, expected: float) -> None:
    assert make_loss(name)(*TWO_PIXELS).item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_by_hand() -> None:
    logits = torch.tensor([[[[0.0]], [[math.log(3)]]]])
    # p = 1/4, 3/4; with 0.2 the truth is 0.9, 0.1.
    expected = 0.9 * math.log(4) + 0.1 * math.log(4 / 3)
    assert make_loss("ce", smoothing=0.2)(logits, torch.tensor([[[0]]])).item() == pytest.approx(expected)


def test_class_weights_act_on_losses_of_pixels() -> None:
    weights = torch.tensor([1.0, 3.0])
    # Weighted means over a pixel of weight 1 and one of weight 3.
    expected = (0.25 * math.log(2) + 3 * 0.5625 * math.log(4)) / 4
    assert focal(*TWO_PIXELS, weights).item() == pytest.approx(expected)
    assert ohem(*TWO_PIXELS, weights, fraction=1).item() == pytest.approx((math.log(2) + 3 * math.log(4)) / 4)
    assert make_loss("dice", weights)(*TWO_PIXELS).item() == soft_dice(*TWO_PIXELS).item()


def test_ohem_with_all_pixels_is_cross_entropy_and_counts_by_image() -> None:
    logits, target = sines()
    torch.testing.assert_close(ohem(logits, target, fraction=1), cross_entropy(logits, target))
    # One image with one labelled pixel, one with four: ceil(0.5 * 1) + 2 are kept.
    logits = torch.tensor([[0.0, 9.0, 9.0, 9.0], [1.0, 2.0, 3.0, 4.0]]).reshape(2, 1, 1, 4)
    target = torch.tensor([[0, 255, 255, 255], [0, 0, 0, 0]]).reshape(2, 1, 4)
    expected = F.softplus(torch.tensor([0.0, 4.0, 3.0])).mean()  # -log softmax at 0 of [0, z]
    torch.testing.assert_close(ohem(torch.cat([torch.zeros_like(logits), logits], 1), target, fraction=0.5), expected)


def test_distances_have_a_sign_and_absent_classes_none() -> None:
    # Seven pixels in a row, class 1 in the middle three; its probability is one at one place and nothing elsewhere.
    target = torch.tensor([[[0, 0, 1, 1, 1, 0, 0]]])
    for place, distance in enumerate([2, 1, 0, -1, 0, 1, 2]):
        logits = torch.zeros(1, 3, 1, 7)
        logits[:, 2] = 100.0  # a class that is absent, whose distance counts nothing
        logits[:, 1, :, place] = 200.0
        assert boundary(logits, target).item() == pytest.approx(distance / 21, abs=1e-6)


def test_skeletons_are_middle_lines() -> None:
    bar = torch.zeros(1, 1, 9, 12)
    bar[:, :, 3:6, 2:10] = 1
    line = soft_skeleton(bar)
    assert line[0, 0, 4, 3:9].tolist() == [1] * 6
    assert line[0, 0, 3].sum() == line[0, 0, 5].sum() == 0
    # The right line, a pixel wide instead of three: the same skeleton, so hardly a loss, where Dice loses half.
    target = torch.zeros(1, 9, 12, dtype=torch.long)
    target[:, 4, 2:10] = 1
    logits = 200 * torch.cat([0.5 - bar, bar - 0.5], 1)
    assert cldice(logits, target).item() < 0.1
    assert soft_dice(logits, target).item() > 0.25


def sines() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images, three classes, some pixels unlabelled; the same numbers in every program."""
    place = torch.arange(180, dtype=torch.float64)
    logits = (2 * torch.sin(1.7 * place + 0.3 * place**1.5)).reshape(2, 3, 6, 5)
    target = ((torch.arange(60) * 7) % 3).reshape(2, 6, 5)
    target[0, 0] = 255
    target[1, 3, 2] = 255
    return logits, target


def test_losses_agree_with_independent_programs() -> None:
    logits, target = sines()
    # segmentation_models_pytorch 0.6.0: smooth=0, per_image=True, and unlabelled pixels left out of its inputs.
    assert soft_dice(logits, target).item() == pytest.approx(0.691863, abs=1e-6)
    assert soft_jaccard(logits, target).item() == pytest.approx(0.8176107, abs=1e-6)
    assert tversky(logits, target).item() == pytest.approx(0.6916600, abs=1e-6)
    assert lovasz_softmax(logits, target).item() == pytest.approx(0.7573590, abs=1e-6)
    # MONAI 1.5: GeneralizedDiceLoss(batch=True), and soft_skel(iter_=10) of the probability of class 1.
    assert generalised_dice(logits, target).item() == pytest.approx(0.6901981, abs=1e-6)
    assert soft_skeleton(logits.softmax(1)[:, 1:2]).sum().item() == pytest.approx(13.0726662, abs=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_unlabelled_pixels_take_no_part(name: str) -> None:
    logits, target = sines()
    other = torch.where((target == 255).unsqueeze(1), -3 * logits + 1, logits)
    torch.testing.assert_close(make_loss(name)(other, target), make_loss(name)(logits, target))


@pytest.mark.parametrize("name", [*FUNCTIONS, "ce+dice"])
def test_a_batch_without_labels_gives_zero_with_a_zero_gradient(name: str) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = make_loss(name, torch.ones(3))(logits, torch.full((2, 4, 4), 255))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", [*FUNCTIONS, "ce+dice"])
def test_gradients_in_double_precision(name: str) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 3, 3, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.tensor([0, 1, 2, 255, 1, 0, 2, 2, 0, 255, 1, 1]).reshape(2, 3, 2)
    assert torch.autograd.gradcheck(lambda x: make_loss(name)(x, target), logits)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_loss_prefers_the_truth_and_leads_there(name: str) -> None:
    target = torch.zeros(1, 12, 12, dtype=torch.long)
    target[:, 4:7, 1:11] = 1
    loss = make_loss(name)
    right = 20 * (F.one_hot(target, 2).permute(0, 3, 1, 2) - 0.5)
    assert loss(right, target) < loss(torch.zeros_like(right), target) < loss(-right, target)
    logits = torch.zeros_like(right, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.5)
    for _ in range(40):
        optimizer.zero_grad()
        loss(logits, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    right_now = (logits.argmax(1) == target).float().mean()
    # A skeleton says nothing of how thick its structure is.
    assert right_now > (0.8 if name == "cldice" else 0.99)


def test_terms_have_factors() -> None:
    assert loss_terms("ce + dice+0.01*boundary") == [(1, "ce"), (1, "dice"), (0.01, "boundary")]
    assert loss_terms("1e-3*cldice") == [(0.001, "cldice")]


@pytest.mark.parametrize("name", ["ce+hinge", "ce+", "2ce", "ce*2"])
def test_an_unknown_loss_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"is unknown. Expected one of ce, ohem"):
        make_loss(name)
