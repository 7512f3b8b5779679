"""Fully convolutional networks: flat, encoder-decoder, and with skips that are summed (32s, 16s, 8s).

Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation" (arXiv:1411.4038).

FCN is the paper's network, section 4. Scores are 1x1 convolutions that start at zero; a step of 2x is a transposed
convolution that starts bilinear and is learned; skips are sums of scores, those of pool4 (16s) and pool3 (8s); the last
step (32x, 16x, 8x) stays bilinear. With VGG-16 and AlexNet, fc6 and fc7 are convolutions with dropout (section 3.1).
What differs from the paper:

- the default encoder is ResNet-18 (He et al. 2015, arXiv:1512.03385), which has no fully connected layers; its maps at
  1/16 and 1/8 stand for pool4 and pool3;
- the paper pads images by 100 pixels so that fc6 and upsampling never see a border; here fc6 is padded, and each
  upsampling extends its map by its own edge, which makes bilinear weights exact up to the border;
- 32s, 16s and 8s train at once, each from the start, instead of one from the other;
- the paper has AlexNet only as 32s, and crops where its cells do not stand in the middle of their pixels. AlexNet's
  skips (pool2, pool1) are added as they are, half a cell (7.5 and 3.5 pixels) up and to the left of their place.

FlatFCN is the idea before pooling: same-size convolutions all the way, every pixel classified at once. Its cost at full
resolution and its small view (2 depth + 1 pixels) are what pooling and upsampling were invented for.

EncoderDecoderFCN upsamples with learned convolutions and without skips, so that edges must be made up from the coarsest
map: what skips were invented for. It is the conv-deconv idea of Noh, Hong, Han 2015, "Learning Deconvolution Network
for Semantic Segmentation" (arXiv:1505.04366), without the unpooling (SegNet, `segnet.py`, has that), with a step up as
in Xiao, Wu, Wei 2018, "Simple Baselines for Human Pose Estimation" (arXiv:1804.06208, section 2): a 4x4 transposed
convolution of stride 2 (a kernel that the stride divides leaves no checkerboard), batch norm, ReLU. Five such steps
go to full size, where they have three and stay at a quarter.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.blocks import he_normal_
from maskwright.models.encoders import FULLY_CONNECTED, build_encoder


def bilinear_kernel(factor: int) -> torch.Tensor:
    """Weights (float32, 2 factor x 2 factor) that make a transposed convolution of stride `factor` bilinear upsampling.

    A triangle of half-width `factor` in each direction, its top between the two middle weights (the paper's
    `upsample_filt` for an even size). `factor` must be even.
    """
    assert factor % 2 == 0
    triangle = 1 - (torch.arange(2 * factor, dtype=torch.float32) - (factor - 0.5)).abs() / factor
    return torch.outer(triangle, triangle)


class Upsampling(nn.Module):
    """A transposed convolution that upsamples K maps by `factor` and starts as bilinear interpolation.

    Learned, it has weights between all pairs of classes, which start at zero (the paper's intermediate steps); else it
    has one fixed kernel for all classes (the paper's last step), a buffer that is no part of the state dictionary.
    """

    weight: torch.Tensor

    def __init__(self, classes: int, factor: int, *, learned: bool) -> None:
        super().__init__()
        self.factor = factor
        kernel = bilinear_kernel(factor)
        if learned:
            weight = torch.zeros(classes, classes, *kernel.shape)
            weight[range(classes), range(classes)] = kernel
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", kernel.repeat(classes, 1, 1, 1), persistent=False)

    def forward(self, score_BKhw: torch.Tensor) -> torch.Tensor:
        """Return B x K x factor h x factor w."""
        # One pixel of the map's own edge around it, and `padding` cuts the output back to factor times the size:
        # without it, the zeros beyond the border would fade the scores there.
        score_BKhw = F.pad(score_BKhw, (1, 1, 1, 1), mode="replicate")
        groups = score_BKhw.shape[1] // self.weight.shape[1]
        return F.conv_transpose2d(
            score_BKhw, self.weight, stride=self.factor, padding=3 * self.factor // 2, groups=groups
        )


class FCN(nn.Module):
    """FCN-32s, -16s or -8s; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 32. `skips` are the strides of the maps whose scores are added, the coarsest
    first whatever their order: () is 32s, (16,) is 16s, (8, 16) is 8s. `encoder` is a name that
    `encoders.build_encoder` knows, and `width` the encoder's first width. Batch norm needs more than one value per
    channel: a single 32x32 image cannot train alone with a ResNet. Raises ModelError for an unknown encoder.
    """

    paper: ClassVar[str] = "Long et al. 2015, arXiv:1411.4038"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        skips: Sequence[int] = (8, 16),
        encoder: str = "resnet18",
        width: int = 64,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(
            encoder, in_channels, width, fully_connected=encoder in FULLY_CONNECTED, needs=skips
        )
        self.stride: int = self.encoder.stride
        channels = dict(zip(self.encoder.strides, self.encoder.channels, strict=True))
        skips = sorted(skips, reverse=True)
        scored = (max(channels), *skips)
        self.score = nn.ModuleDict({str(s): nn.Conv2d(channels[s], classes, 1) for s in scored})
        self.up = nn.ModuleDict({str(s): Upsampling(classes, 2, learned=True) for s in skips})
        self.upsample = Upsampling(classes, scored[-1], learned=False)
        # "random initialization yielded neither better performance nor faster convergence" (section 4.3), and a skip
        # that starts at zero starts as the coarser network.
        for score in self.score.values():
            for parameter in score.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        maps = dict(zip(map(str, self.encoder.strides), self.encoder(x_BCHW), strict=True))
        coarsest, *_ = self.score
        score_BKhw = self.score[coarsest](maps[coarsest])
        for stride, up in self.up.items():
            score_BKhw = up(score_BKhw) + self.score[stride](maps[stride])
        logits_BKHW: torch.Tensor = self.upsample(score_BKhw)
        return logits_BKHW


class FlatFCN(nn.Module):
    """`depth` 3x3 same-size convolutions of `width` channels with ReLU, then 1x1 to the classes: no pooling at all.

    Normalised float32 B x C x H x W in, any H and W; logits B x K x H x W out.
    """

    paper: ClassVar[str] = "the idea before pooling; Long et al. 2015, arXiv:1411.4038, section 3"

    def __init__(self, in_channels: int, classes: int, *, depth: int = 8, width: int = 64) -> None:
        super().__init__()
        self.stride = 1
        self.convs = nn.ModuleList(
            nn.Conv2d(width if level else in_channels, width, 3, padding=1) for level in range(depth)
        )
        self.score = nn.Conv2d(width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                he_normal_(module)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        for conv in self.convs:
            x_BCHW = F.relu(conv(x_BCHW), inplace=True)
        logits_BKHW: torch.Tensor = self.score(x_BCHW)
        return logits_BKHW


class EncoderDecoderFCN(nn.Module):
    """Encoder, learned upsampling, no skips; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`. `encoder` is a name that `encoders.build_encoder` knows and `width` its first
    width; `widths` are those of the steps up, from coarse to fine, one for each halving of the encoder, five for 1/32.
    Raises ModelError for an unknown encoder or another number of steps.
    """

    paper: ClassVar[str] = "conv-deconv without unpooling; Noh et al. 2015, arXiv:1505.04366"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        encoder: str = "resnet18",
        width: int = 64,
        widths: Sequence[int] = (256, 128, 64, 32, 16),
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, width)
        self.stride: int = self.encoder.stride
        coarsest = self.encoder.strides[-1]
        if 2 ** len(widths) != coarsest:
            raise ModelError(
                f"widths = {list(widths)}: expected {coarsest.bit_length() - 1} numbers, because the encoder "
                f"{encoder!r} ends at 1/{coarsest} of the image's size, and each step up doubles it."
            )
        steps = pairwise((self.encoder.channels[-1], *widths))
        self.up = nn.Sequential(*(_learned_step_up(deep, shallow) for deep, shallow in steps))
        self.score = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        logits_BKHW: torch.Tensor = self.score(self.up(self.encoder(x_BCHW)[-1]))
        return logits_BKHW


def _learned_step_up(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
    # Of the 16 weights of a kernel, each pixel of the output meets 4.
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (4 * in_channels)))
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
