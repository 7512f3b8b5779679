"""SegNet: a decoder that puts every value back where the encoder's pooling took it from.

Badrinarayanan, Kendall, Cipolla 2015, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
Segmentation" (arXiv:1511.00561), section 3. The encoder is VGG-16's thirteen convolutions with batch norm. Each of its
poolings remembers which of four values was the largest; the mirrored decoder's unpooling puts its value at that place,
the other three being zero, and convolutions make the sparse map dense (figure 3). So boundaries are carried by indices
alone, two bits for each value, not by whole maps as in U-Net. The last convolution of the decoder gives the classes.

What differs from the paper: no local contrast normalisation of the image, and no class weights by median frequency,
which belong to training. Decoder convolutions have ReLU, as in the released `segnet_train.prototxt`.

The encoder's names are those of torchvision's `vgg16_bn`, whose checkpoints it reads.

Shapes: B batch, C input channels, K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.encoders.encoder import Encoder

DEPTHS = (2, 2, 3, 3, 3)


class SegNetEncoder(Encoder):
    """VGG-16 with batch norm, 13 convolutions in five stages; each ends with a pooling whose indices are kept."""

    first: ClassVar[str] = "features.0.weight"

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)
        self.strides = tuple(2 ** (stage + 1) for stage in range(len(widths)))
        self.channels = tuple(widths)
        layers: list[nn.Module] = []
        for depth, width in zip(DEPTHS, widths, strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                in_channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The checkpoint without its classifier, which timm calls pre_logits and head."""
        classifier = ("classifier.", "pre_logits.", "head.")
        return {name: tensor for name, tensor in state.items() if not name.startswith(classifier)}

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """The maps after each pooling, finest first."""
        return self.pooled(x_BCHW)[0]

    def pooled(self, x_BCHW: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The maps after each pooling, finest first, and the places of their values in the map before it (int64)."""
        maps, places = [], []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                x_BCHW, place_BCHW = F.max_pool2d(x_BCHW, 2, return_indices=True)
                maps.append(x_BCHW)
                places.append(place_BCHW)
            else:
                x_BCHW = layer(x_BCHW)
        return maps, places


class SegNet(nn.Module):
    """SegNet; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 32. `width` is the first stage's, 64 in the paper. With 3 channels and 11
    classes it has 29,449,355 parameters, the paper's 29.45 million (table 6). Weights start by He's rule (section 3).
    """

    paper: ClassVar[str] = "Badrinarayanan et al. 2015, arXiv:1511.00561"

    def __init__(self, in_channels: int, classes: int, *, width: int = 64) -> None:
        super().__init__()
        widths = tuple(width * factor for factor in (1, 2, 4, 8, 8))
        self.encoder = SegNetEncoder(in_channels, widths)
        self.stride: int = self.encoder.stride
        self.unpool = nn.MaxUnpool2d(2)
        self.decoder = nn.ModuleList()
        for stage in reversed(range(len(widths))):
            # A stage keeps its width until its last convolution, which goes to the next finer stage's.
            here, finer = widths[stage], widths[stage - 1] if stage else classes
            convs: list[nn.Module] = [_conv_norm_relu(here, here) for _ in range(DEPTHS[stage] - 1)]
            convs.append(_conv_norm_relu(here, finer) if stage else nn.Conv2d(here, classes, 3, padding=1))
            self.decoder.append(nn.Sequential(*convs))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        maps, places = self.encoder.pooled(x_BCHW)
        x_BCHW = maps[-1]
        for stage in self.decoder:
            x_BCHW = stage(self.unpool(x_BCHW, places.pop()))
        return x_BCHW


def _conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )
