"""A U-Net whose contracting path is a classification network, so that it can start from ImageNet weights.

Iglovikov, Shvets 2018, "TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image Segmentation"
(arXiv:1801.05746) showed it with VGG-11, and the same was soon done with every encoder. Ours takes any of
`encoders.build_encoder`: the expanding path doubles the encoder's coarsest map until it has the image's size and, where
the encoder has a map of that size, concatenates it (Ronneberger et al. 2015, arXiv:1505.04597).

What differs from TernausNet: nearest upsampling and two 3x3 convolutions with batch norm for each step, instead of one
convolution and a transposed one without; and the widths of the expanding path do not follow the encoder's.

Shapes: B batch, C input channels, K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models.blocks import Concatenation, ConvNormPair
from maskwright.models.encoders import build_encoder


class EncoderUpStep(nn.Module):
    """Twice the size; the encoder's map of that size beside it, if there is one (`skip_channels` above 0)."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.concatenate = Concatenation() if skip_channels else None
        self.pair = ConvNormPair(in_channels + skip_channels, out_channels)

    def forward(self, x_BCHW: torch.Tensor, skip_BCHW: torch.Tensor | None) -> torch.Tensor:
        """Return B x out_channels x 2H x 2W; the encoder's map comes first in the concatenation."""
        x_BCHW = self.upsample(x_BCHW)
        if self.concatenate is not None:
            x_BCHW = self.concatenate(skip_BCHW, x_BCHW)
        out_BCHW: torch.Tensor = self.pair(x_BCHW)
        return out_BCHW


class EncoderUNet(nn.Module):
    """A U-Net around an encoder; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`. `encoder` is a name that `encoders.build_encoder` knows, and `width` is the
    encoder's own (64 for published weights). `widths` are those of the expanding path, from coarse to fine, the last
    one at the image's size: five for an encoder that ends at 1/32. Raises ModelError for an unknown encoder, or another
    number of widths.
    """

    paper: ClassVar[str] = "Ronneberger et al. 2015, arXiv:1505.04597; Iglovikov, Shvets 2018, arXiv:1801.05746"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        encoder: str = "resnet34",
        width: int = 64,
        widths: Sequence[int] = (256, 128, 64, 32, 16),
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, width)
        self.stride: int = self.encoder.stride
        channels = dict(zip(self.encoder.strides, self.encoder.channels, strict=True))
        coarsest = max(channels)
        self.skips = tuple(coarsest // 2**step for step in range(1, coarsest.bit_length()))
        if len(widths) != len(self.skips):
            raise ModelError(
                f"widths = {list(widths)}: expected {len(self.skips)} numbers, because the encoder {encoder!r} ends at "
                f"1/{coarsest} of the image's size, and each step up doubles it."
            )
        steps = pairwise((channels[coarsest], *widths))
        self.up = nn.ModuleList(
            EncoderUpStep(deep, channels.get(stride, 0), shallow)
            for stride, (deep, shallow) in zip(self.skips, steps, strict=True)
        )
        self.output = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        maps = dict(zip(self.encoder.strides, self.encoder(x_BCHW), strict=True))
        x_BCHW = maps[max(maps)]
        for stride, step in zip(self.skips, self.up, strict=True):
            x_BCHW = step(x_BCHW, maps.get(stride))
        logits_BKHW: torch.Tensor = self.output(x_BCHW)
        return logits_BKHW
