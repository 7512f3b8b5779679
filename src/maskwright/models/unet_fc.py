"""A U-Net with fully connected layers at its bottleneck: every pixel's score can depend on the whole image.

A convolutional bottleneck sees a neighbourhood, whatever the size of the image; two dense layers see all of it, and
where in it things are. Pathak et al. 2016, "Context Encoders: Feature Learning by Inpainting" (arXiv:1604.07379,
section 3.1) pass information across the whole image in this way between an encoder and a decoder, and Noh et al. 2015
(arXiv:1505.04366) put VGG's fc6 and fc7 there. Both fix the image's size, because a dense layer has a fixed number of
inputs. Ours takes any size:

- a 1x1 convolution squeezes the bottleneck's channels, else the dense layers would hold nearly all parameters;
- adaptive average pooling brings the map to `grid` x `grid` cells, of whatever size the cells then are;
- two dense layers over all cells and channels at once: ReLU between, and dropout as after VGG's dense layers;
- the cells are spread back over the map bilinearly, a 1x1 convolution restores the channels, and the sum of this global
  map and the local one goes up.

So global context is as fine as a cell, and edges come from the skips. There is no batch norm in this branch: with a
batch of one it would see few values. The rest is U-Net (Ronneberger et al. 2015, arXiv:1505.04597) with batch norm and
2x2 up-convolutions.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of the bottleneck, g cells of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.blocks import Concatenation, ConvNormPair, up_convolution
from maskwright.models.classic_unet import down_and_up


class DenseContext(nn.Module):
    """Adds to a map what two dense layers make of the whole of it, seen as grid x grid cells."""

    def __init__(self, channels: int, squeezed: int, grid: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.grid = grid
        units = squeezed * grid**2
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.dense = nn.Sequential(
            nn.Linear(units, units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(units, units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.restore = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x_BChw: torch.Tensor) -> torch.Tensor:
        """Return B x C x h x w, for any h and w."""
        cells_BCgg = F.adaptive_avg_pool2d(F.relu(self.squeeze(x_BChw)), self.grid)
        cells_BCgg = self.dense(cells_BCgg.flatten(1)).unflatten(1, (-1, self.grid, self.grid))
        context_BChw = F.interpolate(cells_BCgg, x_BChw.shape[2:], mode="bilinear", align_corners=False)
        sum_BChw: torch.Tensor = x_BChw + self.restore(context_BChw)
        return sum_BChw


class UpPairStep(nn.Module):
    """A 2x2 up-convolution that halves the channels, the encoder's map beside it, two convolutions with batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = up_convolution(in_channels, out_channels)
        self.concatenate = Concatenation()
        self.pair = ConvNormPair(2 * out_channels, out_channels)

    def forward(self, x_BCHW: torch.Tensor, skip_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels at the skip's size; the encoder's map comes first in the concatenation."""
        joined_BCHW: torch.Tensor = self.pair(self.concatenate(skip_BCHW, self.upsample(x_BCHW)))
        return joined_BCHW


class UNetFC(nn.Module):
    """U-Net with dense layers at the bottleneck; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride` (16 with five widths). The dense layers have `squeezed` x `grid`² units each.
    """

    paper: ClassVar[str] = "Ronneberger et al. 2015, arXiv:1505.04597; dense layers as in arXiv:1604.07379"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        squeezed: int = 64,
        grid: int = 4,
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        *shallower, deepest = (ConvNormPair(before, after) for before, after in pairwise((in_channels, *widths)))
        self.down = nn.ModuleList([*shallower, nn.Sequential(deepest, DenseContext(widths[-1], squeezed, grid))])
        self.pool = nn.ModuleList(nn.MaxPool2d(2) for _ in widths[1:])
        self.up = nn.ModuleList(UpPairStep(deep, shallow) for deep, shallow in pairwise(reversed(widths)))
        self.output = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        logits_BKHW: torch.Tensor = self.output(down_and_up(x_BCHW, self.down, self.pool, self.up))
        return logits_BKHW
