from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from maskwright.errors import SettingError
from maskwright.train.losses import cross_entropy, make_loss, soft_dice


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


@pytest.mark.parametrize("name", ["ce", "dice", "ce+dice"])
def test_a_batch_without_labels_gives_zero_with_a_zero_gradient(name: str) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = make_loss(name, torch.ones(3))(logits, torch.full((2, 4, 4), 255))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", ["ce", "dice", "ce+dice"])
def test_gradients_in_double_precision(name: str) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 3, 3, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.tensor([0, 1, 2, 255, 1, 0, 2, 2, 0, 255, 1, 1]).reshape(2, 3, 2)
    assert torch.autograd.gradcheck(lambda x: make_loss(name)(x, target), logits)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(SettingError, match=r"'hinge' is unknown. Expected ce, dice"):
        make_loss("ce+hinge")
