"""Compact: the default network of `maskwright train`, a residual U-Net behind a space-to-depth stem.

Our own choice, made by measurement (EXPERIMENTS.md), from published parts:

- U-Net (Ronneberger, Fischer, Brox 2015, arXiv:1505.04597): contracting path, expanding path, a skip at every level;
- skips that are summed after a 1x1 convolution of the coarser map (feature pyramids, Lin et al. 2016, arXiv:1612.03144,
  figure 3; LinkNet, Chaurasia & Culurciello 2017, arXiv:1707.03718): a third cheaper than concatenated ones, whose 3x3
  convolutions see both maps, and better in the same time;
- residual units with batch normalisation (He et al. 2015, arXiv:1512.03385), two 3x3 convolutions each;
- a stem that folds s x s pixels into channels, and a head that unfolds them (sub-pixel convolution, Shi et al. 2016,
  arXiv:1609.05158). Inside, everything runs at 1/s of the resolution and costs 1/s² of the time, yet every input pixel
  is seen and every output pixel has weights of its own, so that thin structures survive; a strided stem with a bilinear
  head, as usual, blurs them. The head starts with equal weights for all s² positions (ICNR, Aitken et al. 2017,
  arXiv:1707.02937), so it starts as nearest upsampling, without a checkerboard.

Shapes: B batch, C input channels, K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (24, 48, 96, 160, 224)
"""Channels of each level, from fine to coarse."""


class ResidualUnit(nn.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + x); a 1x1 projection where the width changes (He et al., figure 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.project = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """B x C x H x W -> B x C' x H x W."""
        y_BCHW = F.relu(self.norm1(self.conv1(x_BCHW)), inplace=True)
        y_BCHW = self.norm2(self.conv2(y_BCHW))
        return F.relu(y_BCHW + self.project(x_BCHW), inplace=True)


class Compact(nn.Module):
    """Residual U-Net at 1/`fold` of the resolution; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`.
    """

    paper: ClassVar[str] = "residual U-Net of our own, arXiv:1505.04597 and 1512.03385"

    def __init__(self, in_channels: int, classes: int, *, fold: int = 2, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.stride = fold * 2 ** (len(widths) - 1)
        self.fold = nn.PixelUnshuffle(fold)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels * fold**2, widths[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        narrower = (widths[0], *widths[:-1])
        self.down = nn.ModuleList(ResidualUnit(a, b) for a, b in zip(narrower, widths, strict=True))
        self.narrow = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b))
            for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.up = nn.ModuleList(ResidualUnit(width, width) for width in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], classes * fold**2, 3, padding=1)
        self.unfold = nn.PixelShuffle(fold)
        with torch.no_grad():
            for parameter in self.head.parameters():
                parameter.copy_(parameter[:: fold**2].repeat_interleave(fold**2, 0))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x_BCHW = self.stem(self.fold(x_BCHW))
        skips = []
        for level, unit in enumerate(self.down):
            x_BCHW = unit(F.max_pool2d(x_BCHW, 2) if level else x_BCHW)
            skips.append(x_BCHW)
        x_BCHW = skips.pop()
        for narrow, unit in zip(self.narrow, self.up, strict=True):
            coarse_BCHW = F.interpolate(narrow(x_BCHW), scale_factor=2.0, mode="nearest")
            x_BCHW = unit(F.relu(skips.pop() + coarse_BCHW, inplace=True))
        logits_BKHW: torch.Tensor = self.unfold(self.head(x_BCHW))
        return logits_BKHW
