"""A light decoder on an encoder that can start from ImageNet weights: `lite0-2`, `lite0-4`.

Our own choice, from the parts of `compact.py`, whose header names the papers: a residual unit per level, each level's
1x1-narrowed map summed with the upsampled one of the level below (feature pyramids, Lin et al. 2016, arXiv:1612.03144,
figure 3), and a head that unfolds s x s pixels out of the channels (Shi et al. 2016, arXiv:1609.05158; started as in
Aitken et al. 2017, arXiv:1707.02937). It stops at 1/s of the resolution, `fold`.

The encoder's finest map has forgotten much that a classifier of whole photographs has no use for. So the image itself,
s x s pixels folded into channels, goes through one 3x3 convolution and joins the sum at the finest level: every input
pixel has weights of its own, and thin structures survive.

Beside the decoder, a linear layer goes from all of the encoder's maps straight to the logits, at 1/4 of the resolution:
what `pixels.fit_linear` fits in seconds. It starts at zero, or with such a fit (`start_linear`), and then training
begins where the fit ended.

Shapes: B batch, C input channels, K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.compact import ResidualUnit
from maskwright.models.encoders import PUBLISHED_WIDTH, build_encoder

if TYPE_CHECKING:
    from maskwright.models.pixels import LinearPixels

WIDTHS = (160, 128, 96, 64, 32)
"""Channels of the decoder at 1/32, 1/16, 1/8, 1/4 and 1/2; it has as many levels as its `fold` needs."""
REDUCTION = 4
"""Stride at which the linear layer's parts are added up: that of the features in `pixels.py`."""


class LightDecoder(nn.Module):
    """A pyramid of sums on an encoder's maps; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`. `encoder` is a name that `encoders.build_encoder` knows, `width` its own (64
    for published weights), and `fold` the stride of its map at which the decoder stops. `widths` are the decoder's,
    from 1/32 to the finest. Raises ModelError for an unknown encoder, one without a map of that stride, or too few
    widths.
    """

    paper: ClassVar[str] = "pyramid of sums of our own, arXiv:1612.03144; EfficientNet-Lite, arXiv:1905.11946"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        encoder: str = "lite0",
        fold: int = 4,
        width: int = PUBLISHED_WIDTH,
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, width)
        self.stride: int = self.encoder.stride
        if fold not in self.encoder.strides:
            raise ModelError(
                f"fold = {fold}: the encoder {encoder!r} has no map of this stride.",
                expected=f"Expected one of {', '.join(map(str, self.encoder.strides))}.",
            )
        self.first = self.encoder.strides.index(fold)
        channels = self.encoder.channels[: self.first - 1 if self.first else None : -1]
        if len(widths) < len(channels):
            raise ModelError(
                f"widths = {list(widths)}: the decoder has {len(channels)} levels.",
                expected=f"Expected {len(channels)} numbers, for 1/{self.stride} to 1/{fold} of the image's size.",
            )
        widths = tuple(widths[: len(channels)])
        self.lateral = nn.ModuleList(_narrowed(a, b, 1) for a, b in zip(channels, widths, strict=True))
        self.narrow = nn.ModuleList(_narrowed(a, b, 1) for a, b in pairwise(widths))
        self.fold = nn.PixelUnshuffle(fold)
        self.detail = _narrowed(in_channels * fold**2, widths[-1], 3)
        self.up = nn.ModuleList(ResidualUnit(width, width) for width in widths[1:])
        self.head = nn.Conv2d(widths[-1], classes * fold**2, 3, padding=1)
        self.unfold = nn.PixelShuffle(fold)
        self.linear = nn.ModuleList(nn.Conv2d(channels, classes, 1) for channels in self.encoder.channels)
        with torch.no_grad():
            for parameter in self.head.parameters():
                parameter.copy_(parameter[:: fold**2].repeat_interleave(fold**2, 0))
            for parameter in self.linear.parameters():
                parameter.zero_()

    @torch.no_grad()
    def start_linear(self, layer: LinearPixels) -> None:
        """Take over a linear layer fitted on the encoder's features; nothing else adds to the logits at first."""
        assert layer.score.bias is not None
        parts = torch.split(layer.score.weight, list(self.encoder.channels), 1)
        for conv, weight_KC11 in zip(self.linear, parts, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            conv.weight.copy_(weight_KC11)
            conv.bias.copy_(layer.score.bias / len(parts))
        for parameter in self.head.parameters():
            parameter.zero_()

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """See the class."""
        maps = self.encoder(x_BCHW)
        linear_BKHW = self._linear(maps)
        maps = maps[self.first :]
        detail_BCHW = self.detail(self.fold(x_BCHW))
        x_BCHW = F.relu(self.lateral[0](maps.pop()), inplace=True)
        for lateral, narrow, unit in zip(self.lateral[1:], self.narrow, self.up, strict=True):
            sum_BCHW = lateral(maps.pop()) + F.interpolate(narrow(x_BCHW), scale_factor=2.0, mode="nearest")
            if not maps:
                sum_BCHW = sum_BCHW + detail_BCHW
            x_BCHW = unit(F.relu(sum_BCHW, inplace=True))
        logits_BKHW: torch.Tensor = self.unfold(self.head(x_BCHW)) + linear_BKHW
        return logits_BKHW

    def _linear(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """The linear layer's part of the logits; as `pixels.PixelFeatures`, but scored before it is interpolated."""
        size = [side * self.encoder.strides[-1] // REDUCTION for side in maps[-1].shape[2:]]
        scores = []
        for conv, map_BCHW, stride in zip(self.linear, maps, self.encoder.strides, strict=True):
            if stride < REDUCTION:
                scores.append(conv(F.avg_pool2d(map_BCHW, REDUCTION // stride)))
            else:
                scores.append(F.interpolate(conv(map_BCHW), size, mode="bilinear", align_corners=False))
        logits_BKhw = sum(scores[1:], scores[0])
        return F.interpolate(logits_BKhw, scale_factor=float(REDUCTION), mode="bilinear", align_corners=False)


def _narrowed(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out_channels)
    )
