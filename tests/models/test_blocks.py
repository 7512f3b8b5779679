"""The even same-size convolution, the up-convolution, and initial values."""

from __future__ import annotations

import math

import torch
from torch import nn

from maskwright.models.blocks import (
    Concatenation,
    ConvNormPair,
    SameConv2x2,
    glorot_uniform_,
    he_normal_,
    up_convolution,
)


def test_an_even_same_convolution_pads_right_and_bottom() -> None:
    conv = SameConv2x2(1, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]]))
        nn.init.constant_(conv.bias, 0.5) if conv.bias is not None else None
    x_11HW = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    # (0, 0): 1*1 + 10*2 + 100*4 + 1000*5; beyond the right and the bottom edge there are zeros.
    expected = torch.tensor([[5421.0, 6532.0, 603.0], [54.0, 65.0, 6.0]]) + 0.5
    assert torch.equal(conv(x_11HW)[0, 0], expected)


def test_concatenation_puts_the_first_map_first() -> None:
    joined = Concatenation()(torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, 1))
    assert joined.flatten().tolist() == [0, 0, 1]


def test_he_normal_has_the_variance_that_was_asked_for_and_is_cut_off() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 3)
    he_normal_(conv)
    std = math.sqrt(2 / (64 * 9))
    # 36,864 draws: the deviation is known to about 0.4 %.
    assert abs(conv.weight.std().item() / std - 1) < 0.015
    assert abs(conv.weight.mean().item()) < 0.02 * std
    # A normal of deviation 1 cut at +-2 has deviation 0.8796, so the cut lies at 2 / 0.8796 of the final deviation.
    largest = conv.weight.abs().max().item() / std
    assert 2.2 < largest <= 2 / 0.87962566103423978 + 1e-6
    assert conv.bias is not None
    assert not conv.bias.any()


def test_glorot_uniform_fills_its_interval() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(100, 50, 1)
    glorot_uniform_(conv)
    assert 0.99 * 0.2 < conv.weight.abs().max().item() <= 0.2  # sqrt(6 / 150)
    assert conv.bias is not None
    assert not conv.bias.any()


def test_an_up_convolution_keeps_the_size_of_the_response() -> None:
    torch.manual_seed(0)
    conv = up_convolution(64, 32)
    out_BCHW = conv(torch.randn(4, 64, 8, 8))
    assert out_BCHW.shape == (4, 32, 16, 16)
    # He et al.: variance 2 for inputs of variance 1, so that 1 is left after ReLU.
    assert 1.9 < out_BCHW.var().item() < 2.1


def test_a_pair_is_normalised_cut_and_keeps_the_size() -> None:
    torch.manual_seed(0)
    pair = ConvNormPair(3, 16).train()
    assert [type(module) for module in pair[0].children()] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    out_BCHW = pair(100 + 50 * torch.randn(4, 3, 16, 16))
    assert out_BCHW.shape == (4, 16, 16, 16)
    # ReLU of a standard normal has the mean 1 / sqrt(2 pi).
    assert abs(out_BCHW.mean().item() - 1 / math.sqrt(2 * math.pi)) < 0.02
