"""Dilated convolutions instead of coarse maps: the context module, and an FCN on a dilated ResNet.

Dilated8: Yu, Koltun 2015, "Multi-Scale Context Aggregation by Dilated Convolutions" (arXiv:1511.07122). A front end
gives scores at 1/8 of the size: VGG-16 without pool4 and pool5, the layers behind a removed pooling dilated by 2 for
each (conv5 by 2, fc6 by 4). A context module of seven 3x3 layers, dilated by 1, 1, 2, 4, 8, 16 and 1, then refines the
scores without losing resolution; it starts as the identity (equations 4 and 5), so it starts as the front end alone.

What differs from the paper in Dilated8:

- convolutions are padded with zeros to keep the size; the paper reflects the image by 186 pixels and pads nothing in
  the front end;
- front end and context module train together from the start, instead of one after the other. So that the context
  module's ReLUs pass the first scores on, the front end's scores start around 1 instead of 0 (a shift of all classes
  changes no probability), with weights of deviation 0.01 instead of 0.001, which teach the layers before them faster.

DilatedFCN: "FCN" of torchvision (fcn_resnet50, fcn_resnet101), whose checkpoints it reads. Of Long, Shelhamer, Darrell
2015 (arXiv:1411.4038) it has the idea only: a ResNet (He et al. 2015, arXiv:1512.03385) with the strides of its last
two stages turned into dilation, a head of one 3x3 and one 1x1 convolution, bilinear upsampling by 8, and a second such
head on the stage before the last, which counts half in the loss. For the paper's own FCN with skips see `fcn.py`.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.encoders import build_encoder
from maskwright.models.encoders.vgg import VGG

CONTEXT_DILATIONS = (1, 1, 2, 4, 8, 16, 1)
# Channels of the seven layers as multiples of K, "Basic" and "Large" in the paper's table 1.
BASIC = (1, 1, 1, 1, 1, 1, 1)
LARGE = (2, 2, 4, 8, 16, 32, 32)
TIE_BREAKING_STD = 1e-3


class ContextModule(nn.Sequential):
    """Table 1: seven dilated 3x3 convolutions with ReLU and a 1x1 without; K maps in, K maps of the same size out.

    Starts as the identity on maps that are nowhere negative; its ReLUs cut negative scores off. Every output sees
    67 x 67 values around it.
    """

    def __init__(self, classes: int, *, large: bool) -> None:
        widths = [classes * multiple for multiple in (1, *(LARGE if large else BASIC))]
        layers: list[nn.Module] = []
        for before, after, dilation in zip(widths, widths[1:], CONTEXT_DILATIONS, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(widths[-1], classes, 1))
        for module in self:
            if isinstance(module, nn.Conv2d):
                identity_(module, classes)


def identity_(conv: nn.Conv2d, classes: int) -> None:
    """Start a convolution of the context module so that it passes its K groups of maps on (equations 4 and 5).

    Output b is the sum of the inputs a of its group, floor(a K / inputs) = floor(b K / outputs), times K / outputs, at
    the kernel's centre. Where a group has several maps, noise elsewhere makes them differ.
    """
    outputs, inputs, size, _ = conv.weight.shape
    with torch.no_grad():
        group_O = torch.arange(outputs, device=conv.weight.device) * classes // outputs
        group_I = torch.arange(inputs, device=conv.weight.device) * classes // inputs
        same_OI = group_O[:, None] == group_I[None, :]
        nn.init.zeros_(conv.weight)
        if max(inputs, outputs) > classes:
            nn.init.normal_(conv.weight, std=TIE_BREAKING_STD * classes / outputs)
        centre_OI = conv.weight[:, :, size // 2, size // 2]
        centre_OI.copy_(torch.where(same_OI, classes / outputs, centre_OI))
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


class FCNHead(nn.Sequential):
    """3x3 to a quarter of the channels, batch norm, ReLU, dropout 0.1, 1x1 to the classes; names are torchvision's."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(in_channels // 4),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(in_channels // 4, classes, 1),
        )


class DilatedFCN(nn.Module):
    """torchvision's FCN; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`. In training mode a tuple: the logits, and those of the auxiliary head, which
    count half. `encoder` names one of `encoders.ENCODERS`, `output_stride` (8 or 16) is the stride of its last map, and
    `width` its first width. Raises ModelError for an encoder or output stride that does not exist.
    """

    paper: ClassVar[str] = "torchvision's fcn_resnet50, after Long et al. 2015, arXiv:1411.4038"
    auxiliary: ClassVar[tuple[float, ...]] = (0.5,)

    def __init__(
        self, in_channels: int, classes: int, *, encoder: str = "resnet50", output_stride: int = 8, width: int = 64
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, width, output_stride=output_stride)
        self.stride = self.encoder.stride
        self.classifier = FCNHead(self.encoder.channels[-1], classes)
        self.aux_classifier = FCNHead(self.encoder.channels[-2], classes)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """See the class."""
        *_, before_BChw, last_BChw = self.encoder(x_BCHW)
        logits_BKHW = upsampled(self.classifier(last_BChw), x_BCHW)
        if not self.training:
            return logits_BKHW
        return logits_BKHW, upsampled(self.aux_classifier(before_BChw), x_BCHW)

    @staticmethod
    def convert(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """A checkpoint of torchvision's fcn_resnet50 or fcn_resnet101 under our names; see from_torchvision."""
        return from_torchvision(state)


class Dilated8(nn.Module):
    """Front end and context module; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 8. `large` takes the context module with more channels (table 1); `width` is
    the first width of VGG-16, whose fc6 and fc7 have 64 times as many channels.
    """

    paper: ClassVar[str] = "Yu, Koltun 2015, arXiv:1511.07122"

    def __init__(self, in_channels: int, classes: int, *, large: bool = False, width: int = 64) -> None:
        super().__init__()
        self.encoder = VGG(in_channels, width, output_stride=8, fully_connected=True)
        self.stride = self.encoder.stride
        # pool4 and pool5, which only do not stride in DeepLab, are gone; the layers behind keep their names.
        for place, layer in enumerate(self.encoder.features):
            if isinstance(layer, nn.MaxPool2d) and layer.stride == 1:
                self.encoder.features[place] = nn.Identity()
        self.score = nn.Conv2d(self.encoder.channels[-1], classes, 1)
        self.context = ContextModule(classes, large=large)
        nn.init.normal_(self.score.weight, std=0.01)
        assert self.score.bias is not None
        nn.init.ones_(self.score.bias)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        fc7_BChw = self.encoder(x_BCHW)[-1]
        return upsampled(self.context(self.score(fc7_BChw)), x_BCHW)


def upsampled(score_BKhw: torch.Tensor, like_BCHW: torch.Tensor) -> torch.Tensor:
    """Bilinear upsampling to the size of another map, outlines and not outer pixel centres in place: B x K x H x W."""
    return F.interpolate(score_BKhw, like_BCHW.shape[2:], mode="bilinear", align_corners=False)


def from_torchvision(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """A segmentation network of torchvision under our names; None if it is something else.

    Only the backbone is called otherwise. Whether the rest fits a network is for the caller to find out.
    """
    if "backbone.conv1.weight" not in state:
        return None
    return {
        f"encoder.{name.removeprefix('backbone.')}" if name.startswith("backbone.") else name: tensor
        for name, tensor in state.items()
    }
