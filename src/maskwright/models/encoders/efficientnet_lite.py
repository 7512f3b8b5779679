"""EfficientNet-Lite encoders: the classification networks for small machines, as TensorFlow computes them.

Tan, Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (arXiv:1905.11946), table 1, of
inverted bottlenecks (Sandler et al. 2018, "MobileNetV2", arXiv:1801.04381, figure 3b); the Lite variants are those of
github.com/tensorflow/tpu, models/official/efficientnet/lite: no squeeze and excitation, ReLU6 instead of swish, the
stem and the first and last stage not scaled. Left out: stochastic depth, the 1280 channels before the classifier, and
the classifier.

Convolutions are padded as TensorFlow's "SAME" does at sizes that the strides divide: with stride 2 a pixel less before
the map than after it, where torch's symmetric padding would shift what every kernel sees by one pixel. Module names are
those of efficientnet_lite_pytorch without the leading underscores.

Shapes: B batch, C channels, H height, W width, all in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.encoders.encoder import Encoder

EPS = 1e-3
"""Batch norm's, as in TensorFlow; torch's own is a hundredth of it."""
STEM_CHANNELS = 32
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


class Stage(NamedTuple):
    """Blocks of one width; the first of them strides."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Of Lite0; the larger ones multiply repeats and channels."""


class SameConv(nn.Conv2d):
    """A convolution without bias whose map has ceil(side / stride) places a side, zero-padded as TensorFlow's "SAME".

    With stride 2 and an even side kernel - 2 pixels are missing, and the odd one comes after the map.

    On a processor a depthwise convolution multiplies in float32 even where the rest is bfloat16: torch's backward pass
    of it in bfloat16 took 45 % of a step of `lite0-4`, three times as long as in float32 (EXPERIMENTS.md).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        # The distribution by fan-out that TensorFlow's networks of this family start from.
        nn.init.normal_(self.weight, std=math.sqrt(2 * groups / (kernel**2 * out_channels)))

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # torch's own name for it
        """B x C x H x W, sides that the stride divides -> B x out_channels x H / stride x W / stride."""
        padding = (self.kernel_size[0] - 1) // 2
        if self.stride[0] == 2:
            missing = self.kernel_size[0] - 2
            before = missing // 2
            input = F.pad(input, (before, missing - before, before, missing - before))
            padding = 0
        if self.groups == 1 or input.dtype != torch.bfloat16 or input.device.type != "cpu":
            return F.conv2d(input, self.weight, None, self.stride, padding, 1, self.groups)
        with torch.autocast("cpu", enabled=False):
            map_BCHW = F.conv2d(input.float(), self.weight.float(), None, self.stride, padding, 1, self.groups)
            return map_BCHW.to(input.dtype)


class InvertedBottleneck(nn.Module):
    """1x1 to `expansion` times the channels, depthwise, 1x1 down without activation; its input added if it fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expands = expansion > 1
        self.adds = stride == 1 and in_channels == out_channels
        if self.expands:
            self.expand_conv = SameConv(in_channels, wide, 1)
            self.bn0 = nn.BatchNorm2d(wide, EPS)
        self.depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self.bn1 = nn.BatchNorm2d(wide, EPS)
        self.project_conv = SameConv(wide, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels, EPS)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x out_channels x H / stride x W / stride."""
        y_BCHW = F.relu6(self.bn0(self.expand_conv(x_BCHW)), inplace=True) if self.expands else x_BCHW
        y_BCHW = F.relu6(self.bn1(self.depthwise_conv(y_BCHW)), inplace=True)
        y_BCHW = self.bn2(self.project_conv(y_BCHW))
        out_BCHW: torch.Tensor = y_BCHW + x_BCHW if self.adds else y_BCHW
        return out_BCHW


class EfficientNetLite(Encoder):
    """Maps of strides 2, 4, 8, 16 and 32: the last of each, before any activation, as the blocks give them.

    `wider` multiplies channels and `deeper` repeats: 1 and 1 are Lite0, 1 and 1.1 Lite1, 1.1 and 1.2 Lite2. `width`
    makes all channels smaller or larger in proportion; 64, as with every encoder, stands for the published ones.
    """

    mean = (127 / 255,) * 3
    std = (128 / 255,) * 3
    publisher = "tensorflow"

    def __init__(self, in_channels: int = 3, width: int = 64, *, wider: float = 1.0, deeper: float = 1.0) -> None:
        super().__init__()
        self.stride = 32
        stem = _rounded(STEM_CHANNELS * width / 64)
        self.conv_stem = SameConv(in_channels, stem, 3, 2)
        self.bn0 = nn.BatchNorm2d(stem, EPS)
        self.blocks = nn.ModuleList()
        self.ends: dict[int, int] = {}
        """The last block of each stride, and its channels, in order."""
        channels = stem
        for stage in STAGES:
            out_channels = _rounded(stage.channels * wider * width / 64)
            scaled = stage not in (STAGES[0], STAGES[-1])
            if stage.stride == 2:
                self.ends[len(self.blocks) - 1] = channels
            for block in range(math.ceil(stage.repeats * deeper) if scaled else stage.repeats):
                stride = stage.stride if block == 0 else 1
                self.blocks.append(InvertedBottleneck(channels, out_channels, stage.kernel, stride, stage.expansion))
                channels = out_channels
        self.ends[len(self.blocks) - 1] = channels
        self.strides = (2, 4, 8, 16, 32)
        self.channels = tuple(self.ends.values())

    @property
    def reach(self) -> int:
        """Pixels beyond its own 32 x 32 that a place of the coarsest map sees, on the side where it sees further."""
        before = after = 0
        convs = [module for module in self.modules() if isinstance(module, SameConv)]
        for conv in reversed(convs):
            kernel, stride = conv.kernel_size[0], conv.stride[0]
            before = stride * before + (kernel - stride) // 2
            after = stride * after + kernel - 1 - (kernel - stride) // 2
        return max(before, after - (self.stride - 1))

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The checkpoint of efficientnet_lite_pytorch without what leads to its classifier."""
        kept = {name: tensor for name, tensor in state.items() if not name.startswith(CLASSIFIER)}
        return {".".join(part.removeprefix("_") for part in name.split(".")): tensor for name, tensor in kept.items()}

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """B x C x H x W, H and W multiples of 32 -> five maps, finest first."""
        x_BCHW = F.relu6(self.bn0(self.conv_stem(x_BCHW)), inplace=True)
        maps = []
        for place, block in enumerate(self.blocks):
            x_BCHW = block(x_BCHW)
            if place in self.ends:
                maps.append(x_BCHW)
        return maps


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and at least 90 % of what was asked for, as in TensorFlow's networks."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
