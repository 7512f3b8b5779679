"""BiSeNet V2: one wide, shallow branch for detail, one narrow, deep branch for meaning, each guiding the other.

Yu, Gao, Wang, Yu, Shen, Sang 2020, "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic
Segmentation" (arXiv:2004.02147), table 1 and figures 3 to 6.

What the paper leaves open is as in the well-known implementations (MMSegmentation, CoinCheung/BiSeNet), which agree:
batch norm follows every convolution except the 1x1 of the aggregation and of the heads; the first 3x3 of a
gather-and-expansion layer keeps the channels and its depthwise convolution expands them sixfold; ReLU follows the last
depthwise convolution and the aggregation; the head is 1024 wide, with dropout 0.1. That makes 24.6 billion
multiply-adds at 512 x 1024; the paper says 21.15.

What differs from the paper:

- context embedding looks at the mean of the whole map, a single value per channel, so it has a bias and no batch norm:
  with a batch of one there would be nothing to normalise by;
- booster heads are 128 wide whatever they sit on; as in the paper they act in training only, each with loss weight 1.

Shapes: B batch, C channels (of the input, or of a map), K classes, H height, W width, h and w those of a coarser map.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

EXPANSION = 6


class ConvUnit(nn.Sequential):
    """A convolution without bias that keeps the size over its stride, batch norm, and ReLU unless told otherwise."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            *([nn.ReLU(inplace=True)] if relu else []),
        )


class Stem(nn.Module):
    """Two ways to shrink, joined: strided convolution and max pooling (figure 4a); a quarter of the size."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.first = ConvUnit(in_channels, width, stride=2)
        self.conv = nn.Sequential(ConvUnit(width, width // 2, 1), ConvUnit(width // 2, width, stride=2))
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.fuse = ConvUnit(2 * width, width)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x width x H/4 x W/4."""
        x_BCHW = self.first(x_BCHW)
        fused_BCHW: torch.Tensor = self.fuse(torch.cat([self.conv(x_BCHW), self.pool(x_BCHW)], 1))
        return fused_BCHW


class GatherExpansion(nn.Module):
    """3x3 gathers, a depthwise 3x3 expands sixfold, 1x1 projects, around an identity (figure 5b).

    With stride 2 there are two depthwise convolutions, and a separable convolution instead of the identity (figure 5c).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        inner = EXPANSION * in_channels
        self.gather = ConvUnit(in_channels, in_channels)
        self.shortcut: nn.Module
        if stride == 1:
            self.expand = nn.Sequential(ConvUnit(in_channels, inner, groups=in_channels))
            self.shortcut = nn.Identity()
        else:
            self.expand = nn.Sequential(
                ConvUnit(in_channels, inner, stride=stride, groups=in_channels, relu=False),
                ConvUnit(inner, inner, groups=inner),
            )
            self.shortcut = nn.Sequential(
                ConvUnit(in_channels, in_channels, stride=stride, groups=in_channels, relu=False),
                ConvUnit(in_channels, out_channels, 1, relu=False),
            )
        self.project = ConvUnit(inner, out_channels, 1, relu=False)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels x H/stride x W/stride."""
        return F.relu(self.project(self.expand(self.gather(x_BCHW))) + self.shortcut(x_BCHW), inplace=True)


class ContextEmbedding(nn.Module):
    """Adds the mean over the whole map, transformed, to every place (figure 4b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.context = nn.Conv2d(channels, channels, 1)
        self.fuse = ConvUnit(channels, channels)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return a map of the same shape."""
        context_BC11 = F.relu(self.context(x_BCHW.mean((2, 3), keepdim=True)), inplace=True)
        fused_BCHW: torch.Tensor = self.fuse(x_BCHW + context_BC11)
        return fused_BCHW


class GuidedAggregation(nn.Module):
    """Each branch gates the other at its own scale, and both meet at the finer one (figure 6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.detail_keep = _separable(channels)
        self.detail_down = nn.Sequential(
            ConvUnit(channels, channels, stride=2, relu=False), nn.AvgPool2d(3, 2, padding=1)
        )
        self.semantic_up = ConvUnit(channels, channels, relu=False)
        self.semantic_keep = _separable(channels)
        self.fuse = ConvUnit(channels, channels)

    def forward(self, detail_BCHW: torch.Tensor, semantic_BChw: torch.Tensor) -> torch.Tensor:
        """Return B x C x H x W; h and w are a quarter of H and W."""
        gate_BCHW = _upsampled(self.semantic_up(semantic_BChw), 4).sigmoid()
        gate_BChw = self.semantic_keep(semantic_BChw).sigmoid()
        fine_BCHW = self.detail_keep(detail_BCHW) * gate_BCHW
        coarse_BChw = self.detail_down(detail_BCHW) * gate_BChw
        fused_BCHW: torch.Tensor = self.fuse(fine_BCHW + _upsampled(coarse_BChw, 4))
        return fused_BCHW


class Head(nn.Module):
    """3x3 to `width` channels, 1x1 to the classes, bilinear upsampling by `factor`."""

    def __init__(self, in_channels: int, width: int, classes: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = ConvUnit(in_channels, width)
        self.dropout = nn.Dropout(0.1)
        self.score = nn.Conv2d(width, classes, 1)

    def forward(self, x_BChw: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x factor h x factor w."""
        return _upsampled(self.score(self.dropout(self.conv(x_BChw))), self.factor)


class BiSeNetV2(nn.Module):
    """BiSeNet V2; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 32. In training mode the logits of the four booster heads follow, finest
    first. `width` is the detail branch's first width; everything else is proportional, the semantic branch a quarter.
    It must be a multiple of 8.
    """

    paper: ClassVar[str] = "Yu et al. 2020, arXiv:2004.02147"
    auxiliary: ClassVar[tuple[float, ...]] = (1.0, 1.0, 1.0, 1.0)

    def __init__(self, in_channels: int, classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.stride = 32
        wide = 2 * width
        self.detail = nn.Sequential(
            ConvUnit(in_channels, width, stride=2),
            ConvUnit(width, width),
            ConvUnit(width, width, stride=2),
            ConvUnit(width, width),
            ConvUnit(width, width),
            ConvUnit(width, wide, stride=2),
            ConvUnit(wide, wide),
            ConvUnit(wide, wide),
        )
        semantic = (width // 4, width // 2, width, wide)
        self.semantic = nn.ModuleList(
            [
                Stem(in_channels, semantic[0]),
                _stage(semantic[0], semantic[1], 2),
                _stage(semantic[1], semantic[2], 2),
                _stage(semantic[2], semantic[3], 4),
            ]
        )
        self.context = ContextEmbedding(wide)
        self.aggregate = GuidedAggregation(wide)
        self.head = Head(wide, 16 * width, classes, 8)
        self.boosters = nn.ModuleList(
            Head(channels, wide, classes, factor) for channels, factor in zip(semantic, (4, 8, 16, 32), strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return logits B x K x H x W; in training mode a tuple of them and the boosters' logits, of the same size."""
        semantic_BChw = x_BCHW
        boosted = []
        for index, stage in enumerate(self.semantic):
            semantic_BChw = stage(semantic_BChw)
            if self.training:
                boosted.append(self.boosters[index](semantic_BChw))
        logits_BKHW: torch.Tensor = self.head(self.aggregate(self.detail(x_BCHW), self.context(semantic_BChw)))
        return (logits_BKHW, *boosted) if self.training else logits_BKHW


def _stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    """`depth` gather-and-expansion layers; the first one halves the size."""
    later = [GatherExpansion(out_channels, out_channels, 1) for _ in range(depth - 1)]
    return nn.Sequential(GatherExpansion(in_channels, out_channels, 2), *later)


def _separable(channels: int) -> nn.Sequential:
    """Depthwise 3x3 with batch norm, then 1x1 without: what it gives is gated, or is a gate."""
    return nn.Sequential(
        ConvUnit(channels, channels, groups=channels, relu=False), nn.Conv2d(channels, channels, 1, bias=False)
    )


def _upsampled(x_BChw: torch.Tensor, factor: int) -> torch.Tensor:
    return F.interpolate(x_BChw, scale_factor=float(factor), mode="bilinear", align_corners=False)
