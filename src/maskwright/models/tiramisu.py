"""FC-DenseNet, the "tiramisu": a U-Net of dense blocks.

Jégou, Drozdzal, Vazquez, Romero, Bengio 2017, "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for
Semantic Segmentation" (arXiv:1611.09326), section 3, tables 1 and 2. In a dense block each layer sees the block's input
and all layers before it, and adds `growth` maps (Huang et al. 2016, arXiv:1608.06993). On the way down a block's input
stays in its output, so that maps grow linearly; on the way up that would be too many, so only the maps that a block
made itself are upsampled, and the skip brings the rest back (section 3.2).

What differs from the paper: nothing known; where it is silent the released code (github.com/SimJeg/FC-DenseNet) is
followed: biases in all convolutions, He uniform weights, and a 3x3 transposed convolution of stride 2 whose output of
2h + 1 is cut to 2h at its end.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.blocks import Concatenation

FIRST_WIDTH = 48


class Layer(nn.Sequential):
    """Batch norm, ReLU, a convolution that keeps the size, dropout (table 1)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dropout: float) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2),
            nn.Dropout(dropout),
        )


class DenseBlock(nn.Module):
    """`depth` layers, each of which sees the block's input and all layers before it (figure 2)."""

    def __init__(self, in_channels: int, growth: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(in_channels + n * growth, growth, 3, dropout) for n in range(depth))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the layers' own maps, B x depth * growth x H x W, without the input."""
        made = []
        for layer in self.layers:
            made.append(layer(x_BCHW))
            x_BCHW = torch.cat([x_BCHW, made[-1]], 1)
        return torch.cat(made, 1)


class TransitionUp(nn.Module):
    """Twice the size by a 3x3 transposed convolution that keeps the channels; the skip comes after it (table 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 3, stride=2)
        self.concatenate = Concatenation()

    def forward(self, x_BChw: torch.Tensor, skip_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x (C + the skip's channels) x 2h x 2w."""
        joined_BCHW: torch.Tensor = self.concatenate(self.conv(x_BChw)[..., :-1, :-1], skip_BCHW)
        return joined_BCHW


class FCDenseNet(nn.Module):
    """FC-DenseNet; normalised float32 B x C x H x W in, logits B x K x H x W out.

    `depths` are the layers of the blocks down and, last, of the bottleneck; those up mirror them. H and W must be
    multiples of `stride`, 32 with six depths. `growth` goes with the paper's first width of 48; another `width` scales
    the growth with it. Raises ModelError for a dropout outside 0..1.
    """

    paper: ClassVar[str] = "Jégou et al. 2017, arXiv:1611.09326"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        depths: Sequence[int] = (4, 5, 7, 10, 12, 15),
        growth: int = 16,
        width: int = FIRST_WIDTH,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ModelError(f"dropout = {dropout!r}: expected a fraction of activations, from 0 to below 1.")
        growth = max(1, growth * width // FIRST_WIDTH)
        self.stride = 2 ** (len(depths) - 1)
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        self.transition_down = nn.ModuleList()
        channels, skips = width, []
        for depth in depths[:-1]:
            self.down.append(DenseBlock(channels, growth, depth, dropout))
            channels += depth * growth
            skips.append(channels)
            self.transition_down.append(Layer(channels, channels, 1, dropout))
        self.bottleneck = DenseBlock(channels, growth, depths[-1], dropout)
        self.transition_up = nn.ModuleList()
        self.up = nn.ModuleList()
        made = depths[-1] * growth
        for depth in reversed(depths[:-1]):
            self.transition_up.append(TransitionUp(made))
            channels = made + skips.pop()
            self.up.append(DenseBlock(channels, growth, depth, dropout))
            made = depth * growth
        self.output = nn.Conv2d(channels + made, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        x_BCHW = self.first(x_BCHW)
        skips = []
        for block, transition in zip(self.down, self.transition_down, strict=True):
            x_BCHW = torch.cat([x_BCHW, block(x_BCHW)], 1)
            skips.append(x_BCHW)
            x_BCHW = F.max_pool2d(transition(x_BCHW), 2)
        made_BCHW = self.bottleneck(x_BCHW)
        for transition, block in zip(self.transition_up, self.up, strict=True):
            x_BCHW = transition(made_BCHW, skips.pop())
            made_BCHW = block(x_BCHW)
        # Only here a block's input is needed beside what it made: the classes see all 256 maps of table 2.
        logits_BKHW: torch.Tensor = self.output(torch.cat([x_BCHW, made_BCHW], 1))
        return logits_BKHW
