"""AlexNet, with or without its fully connected layers as convolutions, that reads torchvision's checkpoint.

Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks"; in the one-tower
form of Krizhevsky 2014 (arXiv:1404.5997), as torchvision publishes it. Cast as a fully convolutional network as in Long
et al. 2015 (arXiv:1411.4038), sections 3.1 and 4.1: fc6 becomes a 6x6 convolution and fc7 a 1x1, with dropout after
each; fc8, which scores ImageNet's classes, goes. Like torchvision's it has no local response normalisation.

Geometry. conv1 is 11x11 with stride 4 and padding 2, the poolings are 3x3 with stride 2 and without padding, so a side
of 224 pixels gives 55, 27, 13 and 6 cells instead of 56, 28, 14 and 7. Here the image is extended by 31 zeros at the
right and at the bottom, which gives exactly H/32 cells after the last pooling, and more than enough before; the maps
are cut to H/4, H/8, H/16. So the maps are torchvision's of the extended image, cell for cell. A cell of stride s
stands for pixels s k .. s k + s - 1 and is centred on the last of them; fc6 is padded by 3 cells at the left and top
and by 2 at the right and bottom, which centres fc7's cells on pixel 32 k + 15, the middle.

Weights start He normal by fan-in, biases at zero (the paper: a normal of std 0.01, which suits the full width
only). Module names are torchvision's.

Shapes: B batch, C channels, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.blocks import he_normal_
from maskwright.models.encoders.dense import DenseLayers, convert_dense
from maskwright.models.encoders.encoder import Encoder

DENSE = {"classifier.1": "classifier.1", "classifier.4": "classifier.4", "classifier.6": ""}


class AlexNet(Encoder):
    """Maps before each pooling (strides 4, 8, 16) and after the last (32).

    With `fully_connected`, the maps that FCN scores: after the first two poolings (strides 8, 16), and fc7 (32).
    `width` is the first layer's, 64 in the published checkpoint; fc6 and fc7 have 64 times as many channels.
    """

    def __init__(self, in_channels: int = 3, width: int = 64, *, fully_connected: bool = False) -> None:
        super().__init__()
        one, two, three, four = width, 3 * width, 6 * width, 4 * width
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, one, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(one, two, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(two, three, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(three, four, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(four, four, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                he_normal_(layer)
        self.classifier = DenseLayers(four, 64 * width, 6, fc6_index=1, padding=2) if fully_connected else None
        self.stride = 32
        self.strides = (8, 16, 32) if fully_connected else (4, 8, 16, 32)
        self.channels = (one, two, 64 * width) if fully_connected else (one, two, four, four)

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The checkpoint without fc8 and, if this encoder has no fully connected layers, without fc6 and fc7."""
        return convert_dense(state, DENSE, self.classifier)

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """B x C x H x W, H and W multiples of 32 -> maps of `channels`, finest first."""
        height, width = x_BCHW.shape[2:]
        x_BCHW = F.pad(x_BCHW, (0, 31, 0, 31))
        before, after = [], []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                before.append(x_BCHW)
                after.append(layer(x_BCHW))
            x_BCHW = after[-1] if isinstance(layer, nn.MaxPool2d) else layer(x_BCHW)
        if self.classifier is None:
            maps = [*before, x_BCHW]
        else:
            maps = [*after[:-1], self.classifier(F.pad(x_BCHW, (1, 0, 1, 0)))]
        return [m[..., : height // s, : width // s] for s, m in zip(self.strides, maps, strict=True)]
