"""Parts that several networks share, and ways of starting weights.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

# Standard deviation of a unit normal cut off at +-2, so that dividing by it restores the deviation that was asked for.
CUT_NORMAL_STD = 0.87962566103423978


class Concatenation(nn.Module):
    """Joins two maps along the channels, the first one first; a module, so that layer tables show it."""

    def forward(self, first_BCHW: torch.Tensor, second_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x (C1 + C2) x H x W."""
        return torch.cat([first_BCHW, second_BCHW], 1)


class ConvNormReLU(nn.Sequential):
    """A 3x3 same-size convolution without bias, batch norm and ReLU: the unit of most networks after 2015.

    Starts as He et al. 2015 (arXiv:1502.01852), equation 10, normal by fan-in. Batch norm: Ioffe, Szegedy 2015,
    arXiv:1502.03167.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        for module in self:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


class ConvNormPair(nn.Sequential):
    """U-Net's two 3x3 convolutions with ReLU, each with batch norm, which the first U-Net came too early for."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(ConvNormReLU(in_channels, out_channels), ConvNormReLU(out_channels, out_channels))


class SameConv2x2(nn.Conv2d):
    """A 2x2 convolution whose output has its input's size, zero-padded as TensorFlow's 'same' does.

    An even kernel has no centre. TensorFlow pads the odd pixel at the right and at the bottom, so output (y, x) sees
    input (y..y+1, x..x+1); torch's `padding=` can only pad both sides alike, hence the explicit F.pad.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # torch's own name for it
        """B x C x H x W -> B x out_channels x H x W."""
        return super().forward(F.pad(input, (0, 1, 0, 1)))


def up_convolution(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """U-Net's "up-convolution": a 2x2 transposed convolution of stride 2, started as He et al. 2015 says.

    Kernel and stride are equal, so one pixel of the output has as many inputs as the map has channels; torch's own
    fan-in counts four times the output channels instead.
    """
    conv = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / in_channels))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def he_normal_(conv: nn.Conv2d) -> None:
    """Start a convolution as Keras's `he_normal` does: normal of variance 2 / fan_in, cut at +-2 deviations; bias zero.

    He et al. 2015, "Delving Deep into Rectifiers" (arXiv:1502.01852), equation 10.
    """
    std = math.sqrt(2 / conv.weight[0].numel()) / CUT_NORMAL_STD
    nn.init.trunc_normal_(conv.weight, 0.0, std, -2 * std, 2 * std)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def glorot_uniform_(conv: nn.Conv2d) -> None:
    """Start a convolution as Keras does by default: uniform within +-sqrt(6 / (fan_in + fan_out)); bias zero.

    Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", equation 16.
    """
    nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
