"""RefineNet: from the coarsest map to the finest, each refined with the one before, through residual paths throughout.

Lin, Milan, Shen, Reid 2016, "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation"
(arXiv:1611.06612), figures 2 and 3: four cascaded RefineNets on the four stages of a ResNet, 512 channels in the
coarsest, 256 in the others. Each has two residual convolution units (RCU) for every path that comes in, fuses the paths
at the finer resolution, pools them in a chain of two 5x5 poolings, and ends with one more RCU; two further RCUs stand
before the scores. As published, none of this has batch norm.

The paper leaves a few layers open; there it follows the authors' code (github.com/guosheng/refinenet): a 3x3
convolution brings each stage to its channels, convolutions of fusion and pooling have no bias, nor has an RCU's second
one; dropout 0.5 and a 3x3 convolution give the scores; weights start normal with std 0.01, here scaled up where
the network is narrower than published.

What differs from the paper: the ResNet-50 or -101 is torchvision's, its batch norms learn (the authors' are fixed), and
scores at 1/4 of the size are upsampled bilinearly with the loss at full size. In the released code each pooling comes
after its convolution; here, as in figure 3, before.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.dilated import upsampled
from maskwright.models.encoders import build_encoder

PUBLISHED_STD = 0.01
PUBLISHED_WIDTH = 256


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), both 3x3: a residual unit of ResNet without batch norm (figure 3b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels, channels, bias=True)
        self.conv2 = _conv3x3(channels, channels)

    def forward(self, x_BChw: torch.Tensor) -> torch.Tensor:
        """Return B x C x h x w."""
        out_BChw: torch.Tensor = x_BChw + self.conv2(F.relu(self.conv1(F.relu(x_BChw))))
        return out_BChw


class MultiResolutionFusion(nn.Module):
    """A 3x3 convolution of each path, upsampled to the finest one's size, summed (figure 3c)."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv3x3(channels, out_channels) for channels in in_channels)

    def forward(self, paths: Sequence[torch.Tensor]) -> torch.Tensor:
        """Paths from coarse to fine, each B x its channels -> B x out_channels x h x w at the last one's size."""
        first, *others = (upsampled(conv(path), paths[-1]) for conv, path in zip(self.convs, paths, strict=True))
        return sum(others, start=first)


class ChainedResidualPooling(nn.Module):
    """relu(x), plus each step of a chain of 5x5 max pooling and 3x3 convolution that starts from it (figure 3d)."""

    def __init__(self, channels: int, steps: int = 2) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(5, stride=1, padding=2), _conv3x3(channels, channels)) for _ in range(steps)
        )

    def forward(self, x_BChw: torch.Tensor) -> torch.Tensor:
        """Return B x C x h x w."""
        sum_BChw = pooled_BChw = F.relu(x_BChw)
        for step in self.steps:
            pooled_BChw = step(pooled_BChw)
            sum_BChw = sum_BChw + pooled_BChw
        return sum_BChw


class RefineBlock(nn.Module):
    """One RefineNet (figure 3a): RCUs, fusion (if there is more than one path), chained pooling, an RCU."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(
            nn.Sequential(ResidualConvUnit(channels), ResidualConvUnit(channels)) for channels in in_channels
        )
        # "If there is only one input path, [it] will directly go through this block without changes" (section 3.2).
        self.fuse = MultiResolutionFusion(in_channels, out_channels) if len(in_channels) > 1 else None
        self.pool = ChainedResidualPooling(out_channels)
        self.output = ResidualConvUnit(out_channels)

    def forward(self, *paths: torch.Tensor) -> torch.Tensor:
        """Paths from coarse to fine -> B x out_channels x h x w at the last one's size."""
        adapted = [adapt(path) for adapt, path in zip(self.adapt, paths, strict=True)]
        out_BChw: torch.Tensor = self.output(self.pool(adapted[0] if self.fuse is None else self.fuse(adapted)))
        return out_BChw


class RefineNet(nn.Module):
    """The 4-cascaded RefineNet; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 32. `encoder` names one of `encoders.ENCODERS` with maps at strides 4, 8, 16
    and 32, and `width` its first width; the RefineNets have four times as many channels, the coarsest eight times.
    Raises ModelError for an unknown encoder, or one without these maps.
    """

    paper: ClassVar[str] = "Lin et al. 2016, arXiv:1611.06612"

    def __init__(self, in_channels: int, classes: int, *, encoder: str = "resnet50", width: int = 64) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, width, needs=(4, 8, 16, 32))
        self.stride = self.encoder.stride
        coarsest_first = self.encoder.channels[:-5:-1]
        widths = (8 * width, 4 * width, 4 * width, 4 * width)
        self.reduce = nn.ModuleList(
            _conv3x3(channels, after) for channels, after in zip(coarsest_first, widths, strict=True)
        )
        self.refine = nn.ModuleList(
            [
                RefineBlock(widths[:1], widths[0]),
                *(RefineBlock((before, after), after) for before, after in pairwise(widths)),
            ]
        )
        self.classifier = nn.Sequential(
            ResidualConvUnit(widths[-1]),
            ResidualConvUnit(widths[-1]),
            nn.Dropout(0.5),
            _conv3x3(widths[-1], classes, bias=True),
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        coarsest_first = self.encoder(x_BCHW)[:-5:-1]
        reduced = [conv(map_BChw) for conv, map_BChw in zip(self.reduce, coarsest_first, strict=True)]
        refined_BChw = self.refine[0](reduced[0])
        for refine, path_BChw in zip(self.refine[1:], reduced[1:], strict=True):
            refined_BChw = refine(refined_BChw, path_BChw)
        return upsampled(self.classifier(refined_BChw), x_BCHW)


def _conv3x3(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
    nn.init.normal_(conv.weight, std=PUBLISHED_STD * max(1.0, PUBLISHED_WIDTH / in_channels) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
