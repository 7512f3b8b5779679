"""ResNet encoders that read torchvision's checkpoint files unchanged.

He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), figure 5 and table 1.
Differs from the paper as torchvision does ("ResNet v1.5"): a bottleneck strides in its 3x3 convolution, not in its
first 1x1, which is about half a per cent better on ImageNet. Left out: the average pool and the classifier.
Module names are torchvision's, so that its state dictionaries fit by name.

Shapes: B batch, C channels, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from maskwright.errors import ModelError

STRIDES = (2, 4, 8, 16, 32)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity or a projection (ResNet-18, ResNet-34)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(in_channels, width * self.expansion, stride)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x width x H/stride x W/stride."""
        y_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.bn2(self.conv2(y_BCHW))
        out_BCHW: torch.Tensor = self.relu(y_BCHW + (x_BCHW if self.downsample is None else self.downsample(x_BCHW)))
        return out_BCHW


class Bottleneck(nn.Module):
    """1x1 down to `width`, 3x3, 1x1 up to four times `width`, around an identity or a projection (ResNet-50)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, width * self.expansion, stride)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x 4 width x H/stride x W/stride."""
        y_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.relu(self.bn2(self.conv2(y_BCHW)))
        y_BCHW = self.bn3(self.conv3(y_BCHW))
        out_BCHW: torch.Tensor = self.relu(y_BCHW + (x_BCHW if self.downsample is None else self.downsample(x_BCHW)))
        return out_BCHW


class ResNet(nn.Module):
    """A residual network without its classifier: one map per stride of STRIDES, finest first.

    `channels` holds the maps' channels. `depths` are blocks per stage; `width` is the first stage's, 64 in the paper
    and in every published checkpoint. Weights start as torchvision's: He normal by fan-out, batch norms at 1 and 0.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], in_channels: int = 3, width: int = 64
    ) -> None:
        super().__init__()
        self.stride = STRIDES[-1]
        widths = [width * 2**stage for stage in range(4)]
        self.channels = (width, *(w * block.expansion for w in widths))
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, self.channels[0], widths[0], depths[0], stride=1)
        self.layer2 = _stage(block, self.channels[1], widths[1], depths[1], stride=2)
        self.layer3 = _stage(block, self.channels[2], widths[2], depths[2], stride=2)
        self.layer4 = _stage(block, self.channels[3], widths[3], depths[3], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """B x C x H x W, H and W multiples of 32 -> five maps of `channels`, at H/2 x W/2 down to H/32 x W/32."""
        maps = [self.relu(self.bn1(self.conv1(x_BCHW)))]
        maps.append(self.layer1(self.maxpool(maps[-1])))
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps


ENCODERS: dict[str, Callable[..., ResNet]] = {
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
}


def build_encoder(name: str, in_channels: int, width: int = 64) -> ResNet:
    """Build an encoder of ENCODERS by its name, with random weights. Raises ModelError for an unknown name."""
    if name not in ENCODERS:
        raise ModelError(f"There is no encoder {name!r}. Expected one of: {', '.join(ENCODERS)}.")
    return ENCODERS[name](in_channels=in_channels, width=width)


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """The 1x1 projection of a shortcut whose size or channels change, else None."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def _stage(
    block: type[BasicBlock | Bottleneck], in_channels: int, width: int, depth: int, *, stride: int
) -> nn.Sequential:
    """`depth` blocks of one width; the first one strides."""
    later = [block(width * block.expansion, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(block(in_channels, width, stride), *later)
