"""VGG-16, with or without its fully connected layers as convolutions, that reads torchvision's and timm's checkpoints.

Simonyan, Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv:1409.1556),
table 1, column D. Cast as a fully convolutional network as in Long et al. 2015 (arXiv:1411.4038), sections 3.1 and 4.1:
fc6 becomes a 7x7 convolution and fc7 a 1x1, with dropout after each; fc8, which scores ImageNet's classes, goes. With
`output_stride` 8 or 16 dilated as in Chen et al. 2014 (DeepLab, arXiv:1412.7062), section 3.1: the last poolings do not
stride, and what follows a pooling that does not is dilated.

What differs: fc6 is zero-padded, so that its map has pool5's size, instead of the image by 100 pixels. A pooling
that does not stride is 3x3, as in DeepLab's released network, since 2x2 has no centre; the others stay 2x2 (there,
3x3). Weights start as torchvision's: He normal by fan-out; fc6 and fc7 by fan-in, instead of a normal of std
0.01, which suits their full width only. Without batch norm it trains slowly unless it starts from published weights.
Module names are torchvision's.

Shapes: B batch, C channels, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from maskwright.models.encoders.dense import DenseLayers, convert_dense
from maskwright.models.encoders.encoder import Encoder

DENSE = {"classifier.0": "classifier.0", "classifier.3": "classifier.3", "classifier.6": ""}
TIMM_DENSE = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": ""}


class VGG(Encoder):
    """Maps before each pooling (strides 1, 2, 4, 8, 16) and after the last (32), none above `output_stride`.

    With `fully_connected`, the maps that FCN scores: after each pooling but the last (strides 2, 4, 8, 16), and fc7
    (32). `width` is the first stage's, 64 in the paper and in every published checkpoint; fc6 and fc7 have 64 times as
    many channels.
    """

    def __init__(
        self, in_channels: int = 3, width: int = 64, output_stride: int = 32, *, fully_connected: bool = False
    ) -> None:
        super().__init__()
        strides = tuple(min(stride, output_stride) for stride in (1, 2, 4, 8, 16, 32))
        widths = tuple(width * factor for factor in (1, 2, 4, 8, 8))
        self.features = nn.Sequential()
        channels, dilation = in_channels, 1
        for stage, depth in enumerate((2, 2, 3, 3, 3)):
            for _ in range(depth):
                conv = nn.Conv2d(channels, widths[stage], 3, padding=dilation, dilation=dilation)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
                self.features.extend([conv, nn.ReLU(inplace=True)])
                channels = widths[stage]
            if strides[stage + 1] > strides[stage]:
                self.features.append(nn.MaxPool2d(2))
            else:
                self.features.append(nn.MaxPool2d(3, stride=1, padding=1))
                dilation *= 2
        self.classifier = (
            DenseLayers(channels, 64 * width, 7, fc6_index=0, padding=3 * dilation, dilation=dilation)
            if fully_connected
            else None
        )
        self.stride = output_stride
        self.strides = strides[1:] if fully_connected else strides
        self.channels = (*widths[:-1], 64 * width) if fully_connected else (*widths, channels)

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The checkpoint without fc8 and, if this encoder has no fully connected layers, without fc6 and fc7.

        timm calls these pre_logits.fc1 and pre_logits.fc2, and fc8 head.fc.
        """
        return convert_dense(state, DENSE | TIMM_DENSE, self.classifier)

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """B x C x H x W, H and W multiples of `stride` -> maps of `channels`, finest first."""
        before, after = [], []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                before.append(x_BCHW)
                after.append(layer(x_BCHW))
            x_BCHW = after[-1] if isinstance(layer, nn.MaxPool2d) else layer(x_BCHW)
        if self.classifier is None:
            return [*before, x_BCHW]
        return [*after[:-1], self.classifier(x_BCHW)]
