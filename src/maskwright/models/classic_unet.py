"""U-Net, as published and as the classic listing has it: two paths, joined at every level by concatenation.

Ronneberger, Fischer, Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation" (arXiv:1505.04597).
The contracting path halves the map and doubles the channels, the expanding path does the opposite, and at every level
it gets the contracting path's map of that size beside its own.

`UNetOriginal` is the paper's network. It differs in one thing: convolutions keep the size, where the paper's lose their
border, so that 572 x 572 pixels gave 388 x 388; here maps need no cropping, and every pixel of the image has a score.

`UNet` is the Keras listing that most people mean by the name (github.com/zhixuhao/unet, `model.py`). That listing
differs from the paper, and we follow the listing:

- same-size convolutions instead of valid ones, so maps need no cropping and the output has the input's size;
- nearest upsampling and a 2x2 convolution with ReLU instead of a 2x2 transposed convolution;
- dropout 0.5 after the fourth and the fifth pair of convolutions;
- a 3x3 convolution to 2 channels with ReLU before the 1x1 output, and one sigmoid output.

What differs from the listing in `UNet`: logits come out instead of the sigmoid, [0, z] for two classes (softmax of
[0, z] is sigmoid(z)); with more classes the narrow last convolution has K channels instead of 2, and the output K.

That last ReLU over 2 channels can die: then z is the same at every pixel and no gradient flows. It is a known weakness
of the listing, kept because the listing is what is asked for. At full width none of 16 seeds started dead; narrow
variants do, now and then, and high learning rates kill: the listing trains with Adam at 1e-4.

Shapes: B batch, C input channels, K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.blocks import Concatenation, SameConv2x2, glorot_uniform_, he_normal_, up_convolution
from maskwright.models.upsampled_conv import upsampled_conv_relu


class ConvPair(nn.Module):
    """Two 3x3 same-size convolutions, each with ReLU, and dropout where `dropout` is above 0."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout) if dropout else None

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels x H x W."""
        x_BCHW = F.relu(self.conv1(x_BCHW), inplace=True)
        x_BCHW = F.relu(self.conv2(x_BCHW), inplace=True)
        return x_BCHW if self.dropout is None else self.dropout(x_BCHW)


class UpStep(nn.Module):
    """Twice the size, half the channels, joined with the encoder's map of that size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.conv = SameConv2x2(in_channels, out_channels)
        self.concatenate = Concatenation()
        self.pair = ConvPair(2 * out_channels, out_channels)

    def forward(self, x_BCHW: torch.Tensor, skip_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels at the skip's size; the encoder's map comes first in the concatenation."""
        if self.training and x_BCHW.is_cpu and not torch.compiler.is_compiling():
            # The same in a quarter of the multiplications: a processor then trains 1.1 times as fast (EXPERIMENTS.md).
            assert self.conv.bias is not None, "as made above"
            x_BCHW = upsampled_conv_relu(x_BCHW, self.conv.weight, self.conv.bias)
        else:
            x_BCHW = F.relu(self.conv(self.upsample(x_BCHW)), inplace=True)
        joined_BCHW: torch.Tensor = self.pair(self.concatenate(skip_BCHW, x_BCHW))
        return joined_BCHW


class UpConvolutionStep(nn.Module):
    """The paper's step up: a learned 2x2 up-convolution that halves the channels, the joining, two convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = up_convolution(in_channels, out_channels)
        self.concatenate = Concatenation()
        self.pair = ConvPair(2 * out_channels, out_channels)

    def forward(self, x_BCHW: torch.Tensor, skip_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels at the skip's size; the encoder's map comes first, as in the paper's figure 1."""
        # The figure shows no ReLU here; the network that the authors released has one.
        x_BCHW = F.relu(self.upsample(x_BCHW), inplace=True)
        joined_BCHW: torch.Tensor = self.pair(self.concatenate(skip_BCHW, x_BCHW))
        return joined_BCHW


class UNet(nn.Module):
    """The classic U-Net; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride` (16 with five widths). Dropout follows the last two pairs of the contracting
    path. With one input channel, two classes and the default widths it has 31,031,685 parameters, as the listing has.
    Raises ModelError for a dropout outside 0..1.
    """

    paper: ClassVar[str] = "Ronneberger et al. 2015, arXiv:1505.04597; the Keras listing"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        self.down = contracting_path(in_channels, widths, dropout)
        self.pool = nn.ModuleList(nn.MaxPool2d(2) for _ in widths[1:])
        self.up = nn.ModuleList(UpStep(deep, shallow) for deep, shallow in pairwise(reversed(widths)))
        self.narrow = nn.Conv2d(widths[0], classes, 3, padding=1)
        # A single sigmoid output for two classes, as in the listing: its logit stands against a constant 0.
        self.output = nn.Conv2d(classes, classes if classes > 2 else 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                he_normal_(module)
        glorot_uniform_(self.output)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        x_BCHW = down_and_up(x_BCHW, self.down, self.pool, self.up)
        logits_BKHW: torch.Tensor = self.output(F.relu(self.narrow(x_BCHW), inplace=True))
        if logits_BKHW.shape[1] == 1:
            logits_BKHW = torch.cat([torch.zeros_like(logits_BKHW), logits_BKHW], 1)
        return logits_BKHW


class UNetOriginal(nn.Module):
    """The U-Net of the paper; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride` (16 with five widths). Weights start normal with std sqrt(2 / N), N the
    inputs of a unit (section 3); dropout ends the contracting path (section 3.1), after its last two pairs as in the
    released network. Raises ModelError for a dropout outside 0..1.
    """

    paper: ClassVar[str] = "Ronneberger et al. 2015, arXiv:1505.04597"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        self.down = contracting_path(in_channels, widths, dropout)
        self.pool = nn.ModuleList(nn.MaxPool2d(2) for _ in widths[1:])
        self.up = nn.ModuleList(UpConvolutionStep(deep, shallow) for deep, shallow in pairwise(reversed(widths)))
        self.output = nn.Conv2d(widths[0], classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        logits_BKHW: torch.Tensor = self.output(down_and_up(x_BCHW, self.down, self.pool, self.up))
        return logits_BKHW


def contracting_path(in_channels: int, widths: Sequence[int], dropout: float) -> nn.ModuleList:
    """A pair of convolutions for each width, with dropout in the last two; raises ModelError for an impossible one."""
    if not 0 <= dropout < 1:
        raise ModelError(f"dropout = {dropout!r}: expected a fraction of activations, from 0 to below 1.")
    return nn.ModuleList(
        ConvPair(before, after, dropout if level >= len(widths) - 2 else 0.0)
        for level, (before, after) in enumerate(pairwise((in_channels, *widths)))
    )


def down_and_up(x_BCHW: torch.Tensor, down: nn.ModuleList, pool: nn.ModuleList, up: nn.ModuleList) -> torch.Tensor:
    """Run both paths: each map of `down` but the last goes on, pooled, and across to the step of `up` at its size."""
    x_BCHW = down[0](x_BCHW)
    skips = []
    for pooling, level in zip(pool, down[1:], strict=True):
        skips.append(x_BCHW)
        x_BCHW = level(pooling(x_BCHW))
    for step in up:
        x_BCHW = step(x_BCHW, skips.pop())
    return x_BCHW


def unet(pretrained_weights: Path | str | None = None, input_size: Sequence[int] = (256, 256, 1)) -> nn.Module:
    """The classic U-Net for two classes, called as in the well-known Keras listing.

    `input_size` is height, width, channels. Only the channels shape the network: it takes every height and width that
    16 divides, and `Segmenter` any at all. `pretrained_weights` is a file of this network, or one that Keras wrote for
    the listing (.h5, .hdf5, .keras); images for the latter are divided by 255, as there.

    The network takes B x C x H x W (channels first, unlike Keras) and returns logits B x 2 x H x W, which are [0, z];
    the listing's output is their sigmoid: `model(x)[:, 1:].sigmoid()`, the probability of class 1.

    Raises ModelError for an input size that 16 does not divide, or weights that do not fit.
    """
    if len(input_size) != 3 or min(input_size) < 1 or any(side % 16 for side in input_size[:2]):
        raise ModelError(
            f"input_size = {tuple(input_size)}: expected height, width, channels, with a height and a width that 16 "
            "divides (four poolings). For other sizes wrap the network in maskwright.models.Segmenter."
        )
    network = UNet(input_size[2], 2)
    if pretrained_weights is not None:
        from maskwright.models.pretrained import load_pretrained

        load_pretrained(network, pretrained_weights)
    return network
