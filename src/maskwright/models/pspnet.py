"""PSPNet: what a pixel is, told from averages over the whole image, its halves, thirds and sixths.

Zhao, Shi, Qi, Wang, Jia 2016, "Pyramid Scene Parsing Network" (arXiv:1612.01105), figure 3: a ResNet with dilation
instead of the strides of its last two stages, pyramid pooling over 1, 2, 3 and 6 bins a side, each level reduced to a
quarter of the channels and upsampled bilinearly, all concatenated with the map itself, and two more convolutions. An
auxiliary head on the stage before the last (figure 4) counts 0.4 in the loss. New layers start He normal, as the
authors' do.

What differs from the paper:

- the ResNet begins with the 7x7 convolution of He et al. 2015 (arXiv:1512.03385), for which pretrained weights exist,
  instead of the authors' three 3x3 ones;
- the level with a single bin has a bias instead of batch norm, so that a batch of one trains.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from maskwright.models.blocks import he_normal_
from maskwright.models.dilated import FCNHead, upsampled
from maskwright.models.encoders import build_encoder


class PyramidPooling(nn.Module):
    """A map and its averages over n x n bins for each n of `bins`, concatenated: twice the channels for four levels.

    Bins are torch's adaptive ones: they cover the map, whatever its size, and overlap by a pixel where n does not
    divide it.
    """

    def __init__(self, channels: int, bins: Sequence[int]) -> None:
        super().__init__()
        width = channels // len(bins)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(n),
                nn.Conv2d(channels, width, 1, bias=n == 1),
                nn.Identity() if n == 1 else nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for n in bins
        )
        self.channels = channels + len(bins) * width

    def forward(self, map_BChw: torch.Tensor) -> torch.Tensor:
        """B x C x h x w -> B x `channels` x h x w."""
        return torch.cat([map_BChw, *(upsampled(level(map_BChw), map_BChw) for level in self.levels)], 1)


class PSPNet(nn.Module):
    """PSPNet; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`. In training mode a tuple: the logits, and those of the auxiliary head, which
    count 0.4. `encoder` names one of `encoders.ENCODERS`, `bins` are the pyramid's levels, `output_stride` (8 or 16) is
    the stride of the encoder's last map, and `width` its first width. Raises ModelError for an encoder or output stride
    that does not exist.
    """

    paper: ClassVar[str] = "Zhao et al. 2016, arXiv:1612.01105"
    auxiliary: ClassVar[tuple[float, ...]] = (0.4,)

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        encoder: str = "resnet50",
        bins: Sequence[int] = (1, 2, 3, 6),
        output_stride: int = 8,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, width, output_stride=output_stride)
        self.stride = self.encoder.stride
        channels = self.encoder.channels[-1]
        self.pyramid = PyramidPooling(channels, bins)
        self.classifier = nn.Sequential(
            nn.Conv2d(self.pyramid.channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(channels // 4, classes, 1),
        )
        self.aux_classifier = FCNHead(self.encoder.channels[-2], classes)
        for part in (self.pyramid, self.classifier, self.aux_classifier):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    he_normal_(module)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """See the class."""
        *_, before_BChw, last_BChw = self.encoder(x_BCHW)
        logits_BKHW = upsampled(self.classifier(self.pyramid(last_BChw)), x_BCHW)
        if not self.training:
            return logits_BKHW
        return logits_BKHW, upsampled(self.aux_classifier(before_BChw), x_BCHW)
