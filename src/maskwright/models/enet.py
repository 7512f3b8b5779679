"""ENet: a network of a third of a million parameters for real-time segmentation.

Paszke, Chaurasia, Kim, Culurciello 2016, "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation"
(arXiv:1606.02147), figure 2 and table 1; numbers that the paper leaves open come from the authors' code
(github.com/e-lab/ENet-training): a bottleneck narrows to a quarter of its output channels, batch norm adds 1e-3, the
last transposed convolution is 2x2, weights start uniform within +-1/sqrt(fan_in), which is torch's default too.

As in the paper (sections 4 and 5): the image shrinks to an eighth at once (early downsampling); poolings keep the
indices of their maxima, and the decoder's unpoolings put values back there; 5x5 convolutions are factored into 5x1 and
1x5, and dilated ones see far; PReLU with a slope for every channel; spatial dropout, p = 0.01 in stage 1, 0.1
afterwards; a decoder much smaller than the encoder.

What differs from the paper:

- encoder and decoder train at once, not one after the other;
- convolutions before a batch norm have no bias (the paper says so of the projections only; the norm undoes it anyway);
- the first block joins 13 filters with the 3 pooled channels of an RGB image. For C channels it has 16 - C filters, so
  that the 16 maps stay; images of more than 8 channels have 16 filters and are not passed on, because copies of the
  input would crowd the filters out.

Shapes: B batch, C channels (of the input, or of a map), K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F


class ConvUnit(nn.Sequential):
    """A convolution without bias, batch norm, and PReLU with a slope for every channel."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int = 1,
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False),
            nn.BatchNorm2d(out_channels, eps=1e-3),
            nn.PReLU(out_channels),
        )


class InitialBlock(nn.Module):
    """Strided 3x3 filters beside the pooled image (figure 2a): half the size, `width` maps."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.passes_image = in_channels <= width // 2
        filters = width - in_channels if self.passes_image else width
        self.conv = nn.Conv2d(in_channels, filters, 3, 2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=1e-3)
        self.act = nn.PReLU(width)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x width x H/2 x W/2."""
        y_BCHW = self.conv(x_BCHW)
        if self.passes_image:
            y_BCHW = torch.cat([y_BCHW, F.max_pool2d(x_BCHW, 2)], 1)
        out_BCHW: torch.Tensor = self.act(self.norm(y_BCHW))
        return out_BCHW


class Bottleneck(nn.Module):
    """1x1 to a quarter, one main convolution, 1x1 back, spatial dropout, around an identity (figure 2b).

    The main convolution is 3x3 with `dilation`, or 5x1 and 1x5 if `asymmetric`.
    """

    def __init__(self, channels: int, dropout: float, *, dilation: int = 1, asymmetric: bool = False) -> None:
        super().__init__()
        inner = channels // 4
        self.project = ConvUnit(channels, inner, 1)
        self.conv: nn.Module
        if asymmetric:
            self.conv = nn.Sequential(
                ConvUnit(inner, inner, (5, 1), padding=(2, 0)), ConvUnit(inner, inner, (1, 5), padding=(0, 2))
            )
        else:
            self.conv = ConvUnit(inner, inner, 3, padding=dilation, dilation=dilation)
        self.expand = _expansion(inner, channels)
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.PReLU(channels)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return a map of the same shape."""
        y_BCHW = self.dropout(self.expand(self.conv(self.project(x_BCHW))))
        out_BCHW: torch.Tensor = self.act(x_BCHW + y_BCHW)
        return out_BCHW


class DownBottleneck(nn.Module):
    """A bottleneck that halves the size: its projection is a strided 2x2, its identity a max pooling padded with zeros.

    The pooling's indices go to the unpooling of the decoder.
    """

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        inner = out_channels // 4
        self.widening = out_channels - in_channels
        self.project = ConvUnit(in_channels, inner, 2, stride=2)
        self.conv = ConvUnit(inner, inner, 3, padding=1)
        self.expand = _expansion(inner, out_channels)
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.PReLU(out_channels)

    def forward(self, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return B x out_channels x H/2 x W/2, and the indices of the maxima, B x in_channels x H/2 x W/2."""
        pooled_BCHW, indices_BCHW = F.max_pool2d(x_BCHW, 2, return_indices=True)
        y_BCHW = self.dropout(self.expand(self.conv(self.project(x_BCHW))))
        return self.act(F.pad(pooled_BCHW, (0, 0, 0, 0, 0, self.widening)) + y_BCHW), indices_BCHW


class UpBottleneck(nn.Module):
    """A bottleneck that doubles the size: a transposed main convolution beside 1x1 and max unpooling."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        inner = out_channels // 4
        self.shortcut = _expansion(in_channels, out_channels)
        self.project = ConvUnit(in_channels, inner, 1)
        self.conv = nn.Sequential(
            nn.ConvTranspose2d(inner, inner, 3, 2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(inner, eps=1e-3),
            nn.PReLU(inner),
        )
        self.expand = _expansion(inner, out_channels)
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.PReLU(out_channels)

    def forward(self, x_BCHW: torch.Tensor, indices_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels x 2H x 2W; `indices_BCHW` say where in each 2x2 square the shortcut's value goes."""
        unpooled_BCHW = F.max_unpool2d(self.shortcut(x_BCHW), indices_BCHW, (2, 2))
        y_BCHW = self.dropout(self.expand(self.conv(self.project(x_BCHW))))
        out_BCHW: torch.Tensor = self.act(unpooled_BCHW + y_BCHW)
        return out_BCHW


class ENet(nn.Module):
    """ENet; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 8. `width` is the number of maps after the first block; the stages have 4 and
    8 times as many. It must be a multiple of 4, at least 8, to leave the last bottlenecks two channels.
    """

    paper: ClassVar[str] = "Paszke et al. 2016, arXiv:1606.02147"

    def __init__(self, in_channels: int, classes: int, *, width: int = 16) -> None:
        super().__init__()
        self.stride = 8
        shallow, deep = 4 * width, 8 * width
        self.initial = InitialBlock(in_channels, width)
        self.down1 = DownBottleneck(width, shallow, 0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(shallow, 0.01) for _ in range(4)))
        self.down2 = DownBottleneck(shallow, deep, 0.1)
        self.stage2 = _context_stage(deep)
        self.stage3 = _context_stage(deep)
        self.up4 = UpBottleneck(deep, shallow, 0.1)
        self.stage4 = nn.Sequential(*(Bottleneck(shallow, 0.1) for _ in range(2)))
        self.up5 = UpBottleneck(shallow, width, 0.1)
        self.stage5 = Bottleneck(width, 0.1)
        # The first block pooled the image itself, so there are no indices for the last step: "a bare full convolution".
        self.score = nn.ConvTranspose2d(width, classes, 2, 2)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        x_BCHW, indices1_BCHW = self.down1(self.initial(x_BCHW))
        x_BCHW, indices2_BCHW = self.down2(self.stage1(x_BCHW))
        x_BCHW = self.stage3(self.stage2(x_BCHW))
        x_BCHW = self.stage4(self.up4(x_BCHW, indices2_BCHW))
        x_BCHW = self.stage5(self.up5(x_BCHW, indices1_BCHW))
        logits_BKHW: torch.Tensor = self.score(x_BCHW)
        return logits_BKHW


def _expansion(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution and batch norm; the nonlinearity follows the sum."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels, eps=1e-3))


def _context_stage(channels: int) -> nn.Sequential:
    """Bottlenecks 2.1 to 2.8 of table 1, of which stage 3 is a repetition."""
    return nn.Sequential(
        Bottleneck(channels, 0.1),
        Bottleneck(channels, 0.1, dilation=2),
        Bottleneck(channels, 0.1, asymmetric=True),
        Bottleneck(channels, 0.1, dilation=4),
        Bottleneck(channels, 0.1),
        Bottleneck(channels, 0.1, dilation=8),
        Bottleneck(channels, 0.1, asymmetric=True),
        Bottleneck(channels, 0.1, dilation=16),
    )
