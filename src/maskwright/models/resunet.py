"""ResUNet: a U-Net of pre-activated residual units.

Zhang, Liu, Wang 2018, "Road Extraction by Deep Residual U-Net" (arXiv:1711.10684), figure 2 and table 1: three units
down, a bridge, three units up, each unit two 3x3 convolutions after batch norm and ReLU (He et al. 2016,
arXiv:1603.05027); halving is a stride of 2 in a unit's first convolution, not a pooling; doubling is plain upsampling,
and the contracting path's map is concatenated before the unit.

What differs from the paper, or is left open there:

- the paper does not say how a shortcut crosses a change of size or channels, and its 7.8 million parameters are the
  3x3 convolutions alone; here it is a 1x1 convolution, strided where the unit is, with batch norm (option B of the
  residual network's paper), which makes 8.2 million;
- "up sampling" is taken as nearest, as in U-Net's listings;
- K logits instead of one sigmoid.

Shapes: B batch, C input channels, K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.blocks import Concatenation


class PreactivatedUnit(nn.Module):
    """x -> conv(relu(norm(conv(relu(norm(x)))))) + shortcut(x); `stride` is the first convolution's (figure 1b).

    The first unit of a network sees raw pixels, so it has no batch norm and ReLU in front (`first`).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, first: bool = False) -> None:
        super().__init__()
        self.before = nn.Identity() if first else nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.between = nn.Sequential(nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels x H/stride x W/stride."""
        y_BCHW = self.conv2(self.between(self.conv1(self.before(x_BCHW))))
        sum_BCHW: torch.Tensor = y_BCHW + self.shortcut(x_BCHW)
        return sum_BCHW


class ResUNet(nn.Module):
    """ResUNet; normalised float32 B x C x H x W in, logits B x K x H x W out.

    `widths` are those of the units down and, last, of the bridge. H and W must be multiples of `stride`, 8 with four.
    """

    paper: ClassVar[str] = "Zhang et al. 2018, arXiv:1711.10684"

    def __init__(self, in_channels: int, classes: int, *, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList([PreactivatedUnit(in_channels, widths[0], first=True)])
        self.down.extend(PreactivatedUnit(before, after, stride=2) for before, after in pairwise(widths))
        self.concatenate = Concatenation()
        self.up = nn.ModuleList(
            PreactivatedUnit(deep + shallow, shallow) for deep, shallow in pairwise(reversed(widths))
        )
        self.output = nn.Conv2d(widths[0], classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        maps = []
        for unit in self.down:
            x_BCHW = unit(x_BCHW)
            maps.append(x_BCHW)
        x_BCHW = maps.pop()
        for unit in self.up:
            x_BCHW = unit(self.concatenate(maps.pop(), F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest")))
        logits_BKHW: torch.Tensor = self.output(x_BCHW)
        return logits_BKHW
