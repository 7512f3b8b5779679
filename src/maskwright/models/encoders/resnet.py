"""ResNet encoders, strided or dilated, that read torchvision's and timm's checkpoint files unchanged.

He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), figure 5 and table 1;
dilated as in Yu, Koltun, Funkhouser 2017, "Dilated Residual Networks" (arXiv:1705.09914), section 2.
Differs from the paper as torchvision does ("ResNet v1.5"): a bottleneck strides in its 3x3 convolution, not in its
first 1x1, which is about half a per cent better on ImageNet. Left out: the average pool and the classifier.
Module names are torchvision's (and timm's), so that their state dictionaries fit by name.

With `output_stride` 8 or 16 the last stages do not stride; their 3x3 convolutions are dilated instead, so that each
sees what it saw before, at more places. As torchvision's `replace_stride_with_dilation` has it, the convolution that
would have strided keeps the dilation of the stage before it. torchvision dilates bottlenecks only; basic blocks follow
the same rule here, as they do in timm.

Shapes: B batch, C channels, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from maskwright.models.encoders.encoder import Encoder


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity or a projection (ResNet-18, ResNet-34).

    `dilation` is the second convolution's and `first_dilation`, the same if not told, that of the one that strides.
    """

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int = 1, first_dilation: int | None = None
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, width, stride, first_dilation or dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(in_channels, width * self.expansion, stride)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return B x width x H/stride x W/stride."""
        y_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.bn2(self.conv2(y_BCHW))
        out_BCHW: torch.Tensor = self.relu(y_BCHW + (x_BCHW if self.downsample is None else self.downsample(x_BCHW)))
        return out_BCHW


class Bottleneck(nn.Module):
    """1x1 down to `width`, 3x3, 1x1 up to four times `width`, around an identity or a projection (ResNet-50, -101).

    The 3x3 convolution has the dilation `first_dilation`, or `dilation` if not told.
    """

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int = 1, first_dilation: int | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride, first_dilation or dilation)
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


class ResNet(Encoder):
    """A residual network without its classifier: maps of strides 2, 4, 8, 16, 32, none above `output_stride`.

    `depths` are blocks per stage, of three convolutions if `bottleneck`, else of two; `width` is the first stage's, 64
    in the paper and in every published checkpoint.
    Weights start as torchvision's: He normal by fan-out, batch norms at 1 and 0.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 64,
        output_stride: int = 32,
        *,
        depths: Sequence[int],
        bottleneck: bool,
    ) -> None:
        super().__init__()
        block = Bottleneck if bottleneck else BasicBlock
        self.stride = output_stride
        self.strides = tuple(min(stride, output_stride) for stride in (2, 4, 8, 16, 32))
        widths = [width * 2**stage for stage in range(4)]
        self.channels = (width, *(w * block.expansion for w in widths))
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, self.channels[0], widths[0], depths[0])
        self.layer2 = _stage(block, self.channels[1], widths[1], depths[1], stride=2)
        at_16, at_32 = 16 // self.strides[3], 32 // self.strides[4]
        self.layer3 = _stage(block, self.channels[2], widths[2], depths[2], stride=2 // at_16, dilation=at_16)
        self.layer4 = _stage(
            block,
            self.channels[3],
            widths[3],
            depths[3],
            stride=self.strides[4] // self.strides[3],
            dilation=at_32,
            first_dilation=at_16,
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The checkpoint without its classifier, `fc`."""
        return {name: tensor for name, tensor in state.items() if name not in ("fc.weight", "fc.bias")}

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """B x C x H x W, H and W multiples of `stride` -> five maps, finest first."""
        maps = [self.relu(self.bn1(self.conv1(x_BCHW)))]
        maps.append(self.layer1(self.maxpool(maps[-1])))
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps


def _conv3x3(in_channels: int, out_channels: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """The 1x1 projection of a shortcut whose size or channels change, else None."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def _stage(
    block: type[BasicBlock | Bottleneck],
    in_channels: int,
    width: int,
    depth: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    first_dilation: int = 1,
) -> nn.Sequential:
    """`depth` blocks of one width; the first one strides, or keeps the dilation of the stage before it."""
    later = [block(width * block.expansion, width, 1, dilation) for _ in range(depth - 1)]
    return nn.Sequential(block(in_channels, width, stride, dilation, first_dilation), *later)
