"""DeepLab v1 and v2: atrous (dilated) convolutions keep the map at 1/8 of the size, and widen the view again.

v1: Chen, Papandreou, Kokkinos, Murphy, Yuille 2014, "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs" (arXiv:1412.7062), the variant LargeFOV of section 5: VGG-16 whose fourth and fifth poolings do not
stride, conv5 at rate 2, fc6 cut down to 3x3 and 1024 channels at rate 12: 20.5 million parameters.

v2: Chen, Papandreou, Kokkinos, Murphy, Yuille 2016, "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets,
Atrous Convolution, and Fully Connected CRFs" (arXiv:1606.00915), section 3.2: atrous spatial pyramid pooling (ASPP-L)
scores the map at the rates 6, 12, 18 and 24 and sums the scores. On VGG-16 (figure 7b) each branch has an fc6 and fc7
of its own; on a ResNet a branch is its 3x3 score alone, as in the authors' released network.

Both papers refine the result with a dense CRF: that is `predict --crf`, not part of the network.

What differs from the papers:

- VGG-16 as in `encoders/vgg.py` says: poolings that stride are 2x2, and the average pooling that the released networks
  put behind pool5 is left out;
- scores are upsampled bilinearly, and the loss is taken at full size instead of 1/8;
- v2's ResNet strides in its 3x3 convolutions, as torchvision's, and its batch norms learn; one scale goes in, not the
  maximum over three (the paper's MSC).

fc6 and fc7 start He normal, scores normal with std 0.01 as the authors'. The authors cut fc6 and fc7 out of
ImageNet's; here pretrained weights are those of the convolutions.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from maskwright.models.blocks import he_normal_
from maskwright.models.dilated import upsampled
from maskwright.models.encoders import build_encoder


class AtrousScore(nn.Sequential):
    """A 3x3 convolution at some rate that gives scores; with `width` it is fc6, behind which come fc7 and fc8 (1x1).

    fc6 and fc7 have `width` channels, ReLU and dropout 0.5.
    """

    def __init__(self, in_channels: int, classes: int, rate: int, width: int | None = None) -> None:
        atrous = nn.Conv2d(in_channels, classes if width is None else width, 3, padding=rate, dilation=rate)
        if width is None:
            super().__init__(atrous)
        else:
            fc7 = nn.Conv2d(width, width, 1)
            super().__init__(
                *(atrous, nn.ReLU(inplace=True), nn.Dropout(0.5)),
                *(fc7, nn.ReLU(inplace=True), nn.Dropout(0.5)),
                nn.Conv2d(width, classes, 1),
            )
            he_normal_(atrous)
            he_normal_(fc7)
        score = self[-1]
        assert isinstance(score, nn.Conv2d)
        assert score.bias is not None
        nn.init.normal_(score.weight, std=0.01)
        nn.init.zeros_(score.bias)


class DeepLab(nn.Module):
    """DeepLab v1 with a single rate, v2 with several; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 8. The map is scored once at each of `rates`, and the scores are summed.
    `encoder` names one of `encoders.ENCODERS` that can be dilated; behind VGG-16 a branch has fc6 and fc7 of 16 times
    `width` channels, 1024, behind a ResNet none. `width` is the encoder's first width. Raises ModelError for an encoder
    that does not exist or cannot be dilated.
    """

    paper: ClassVar[str] = "Chen et al. 2014, arXiv:1412.7062; 2016, arXiv:1606.00915"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        rates: Sequence[int] = (6, 12, 18, 24),
        encoder: str = "vgg16",
        width: int = 64,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, width, output_stride=8)
        self.stride = self.encoder.stride
        fully_connected = 16 * width if encoder == "vgg16" else None
        self.branches = nn.ModuleList(
            AtrousScore(self.encoder.channels[-1], classes, rate, fully_connected) for rate in rates
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        map_BChw = self.encoder(x_BCHW)[-1]
        first_BKhw, *others = (branch(map_BChw) for branch in self.branches)
        return upsampled(sum(others, start=first_BKhw), x_BCHW)
