"""DeepLab v3 and v3+: ASPP that also pools the whole image, concatenates, and normalises; v3+ adds a decoder.

v3: Chen, Papandreou, Schroff, Adam 2017, "Rethinking Atrous Convolution for Semantic Image Segmentation"
(arXiv:1706.05587), figure 5, as torchvision has it (deeplabv3_resnet50, deeplabv3_resnet101), whose checkpoints it
reads: rates 6, 12, 18 at output stride 16, doubled at 8 (section 3.3).

v3+: Chen, Zhu, Papandreou, Schroff, Adam 2018, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation" (arXiv:1802.02611), figure 2: the ASPP's map, upsampled to stride 4, is joined with the encoder's map of
that stride, reduced to 48 channels, and refined by two 3x3 convolutions. Its 3x3 convolutions are depthwise separable,
with batch norm and ReLU behind both halves; `separable = false` gives the plain ones of the paper's section 4.2.

What differs from the papers:

- image pooling has a bias instead of batch norm, so that a batch of one trains; the weights of torchvision's
  checkpoints are folded into it, which changes nothing in evaluation;
- v3 has no multi-grid in the last stage, and it has torchvision's extra 3x3 convolution behind the ASPP and its
  auxiliary head, which counts half in the loss;
- v3+ stands on a ResNet, where the paper prefers Xception;
- resampling keeps outlines in place, not outer pixel centres (torch's align_corners=False); the loss of v3 is taken at
  full size, as there.

Heads start as torchvision's do, with torch's defaults.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models.dilated import FCNHead, from_torchvision, upsampled
from maskwright.models.encoders import build_encoder

# Atrous rates by output stride; each sees about the same part of the image at both.
RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
POOLING = "classifier.0.convs.4"
BATCH_NORM_EPS = 1e-5  # torch's default, which torchvision keeps


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int, rate: int = 1, *, separable: bool = False
) -> nn.Sequential:
    """A same-size convolution without bias, batch norm and ReLU; separable: first per channel, then 1x1 over channels.

    Figure 3 of v3+, with "extra batch normalization and ReLU ... after each 3x3 depthwise convolution" (section 3.2).
    """
    padding = rate * (kernel // 2)
    if not separable:
        conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=rate, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
    depthwise = nn.Conv2d(
        in_channels, in_channels, kernel, padding=padding, dilation=rate, groups=in_channels, bias=False
    )
    return nn.Sequential(
        *(depthwise, nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True)),
        *conv_norm_relu(in_channels, out_channels, 1),
    )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, 3x3 at each rate, and image pooling, concatenated and projected by 1x1.

    Image pooling is the mean over the whole map, scored like a pixel and repeated at every place (v3, section 3.3).
    Names are torchvision's.
    """

    def __init__(
        self, in_channels: int, out_channels: int, rates: Sequence[int], *, dropout: float, separable: bool = False
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                conv_norm_relu(in_channels, out_channels, 1),
                *(conv_norm_relu(in_channels, out_channels, 3, rate, separable=separable) for rate in rates),
                nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, out_channels, 1), nn.ReLU(inplace=True)),
            ]
        )
        self.project = conv_norm_relu(len(self.convs) * out_channels, out_channels, 1).append(nn.Dropout(dropout))

    def forward(self, map_BChw: torch.Tensor) -> torch.Tensor:
        """B x C x h x w -> B x out_channels x h x w."""
        size = map_BChw.shape[2:]
        branches = [conv(map_BChw).expand(-1, -1, *size) for conv in self.convs]
        projected_BChw: torch.Tensor = self.project(torch.cat(branches, 1))
        return projected_BChw


class DeepLabV3(nn.Module):
    """DeepLab v3; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`. In training mode a tuple: the logits, and those of the auxiliary head, which
    count half. `encoder` names one of `encoders.ENCODERS`, `output_stride` (8 or 16) is the stride of its last map, and
    `width` its first width; the ASPP has four times as many channels, 256. Weights do not depend on the output stride.
    Raises ModelError for an encoder or output stride that does not exist.
    """

    paper: ClassVar[str] = "Chen et al. 2017, arXiv:1706.05587; torchvision's deeplabv3_resnet50"
    auxiliary: ClassVar[tuple[float, ...]] = (0.5,)

    def __init__(
        self, in_channels: int, classes: int, *, encoder: str = "resnet50", output_stride: int = 8, width: int = 64
    ) -> None:
        super().__init__()
        rates = _rates(output_stride)
        self.encoder = build_encoder(encoder, in_channels, width, output_stride=output_stride)
        self.stride = self.encoder.stride
        *_, before, last = self.encoder.channels
        self.classifier = nn.Sequential(
            ASPP(last, 4 * width, rates, dropout=0.5),
            *conv_norm_relu(4 * width, 4 * width, 3),
            nn.Conv2d(4 * width, classes, 1),
        )
        self.aux_classifier = FCNHead(before, classes)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """See the class."""
        *_, before_BChw, last_BChw = self.encoder(x_BCHW)
        logits_BKHW = upsampled(self.classifier(last_BChw), x_BCHW)
        if not self.training:
            return logits_BKHW
        return logits_BKHW, upsampled(self.aux_classifier(before_BChw), x_BCHW)

    @staticmethod
    def convert(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """A checkpoint of torchvision's deeplabv3_resnet50 or _resnet101 under our names; see from_torchvision.

        The batch norm of its image pooling, gamma (W x - mean) / sqrt(var + eps) + beta, becomes a weight and a bias.
        """
        converted = from_torchvision(state)
        if converted is None or f"{POOLING}.2.running_var" not in converted:
            return converted
        gamma, beta, mean, var = (
            converted.pop(f"{POOLING}.2.{name}") for name in ("weight", "bias", "running_mean", "running_var")
        )
        converted.pop(f"{POOLING}.2.num_batches_tracked", None)
        scale = gamma * (var + BATCH_NORM_EPS).rsqrt()
        converted[f"{POOLING}.1.weight"] = converted[f"{POOLING}.1.weight"] * scale[:, None, None, None]
        converted[f"{POOLING}.1.bias"] = beta - mean * scale
        return converted


class DeepLabV3Plus(nn.Module):
    """DeepLab v3+; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`. Options are those of DeepLabV3, and `separable`: whether 3x3 convolutions of
    ASPP and decoder are depthwise separable. The decoder has four times `width` channels, 256, and takes three quarters
    of `width`, 48, from the encoder. Raises ModelError as DeepLabV3 does.
    """

    paper: ClassVar[str] = "Chen et al. 2018, arXiv:1802.02611"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        encoder: str = "resnet50",
        output_stride: int = 16,
        separable: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__()
        rates = _rates(output_stride)
        self.encoder = build_encoder(encoder, in_channels, width, output_stride=output_stride, needs=(4,))
        self.stride = self.encoder.stride
        self.low = self.encoder.strides.index(4)
        low_channels = -(-3 * width // 4)
        self.aspp = ASPP(self.encoder.channels[-1], 4 * width, rates, dropout=0.1, separable=separable)
        self.reduce = conv_norm_relu(self.encoder.channels[self.low], low_channels, 1)
        self.decoder = nn.Sequential(
            conv_norm_relu(4 * width + low_channels, 4 * width, 3, separable=separable),
            conv_norm_relu(4 * width, 4 * width, 3, separable=separable),
            nn.Conv2d(4 * width, classes, 1),
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        maps = self.encoder(x_BCHW)
        low_BChw = self.reduce(maps[self.low])
        map_BChw = upsampled(self.aspp(maps[-1]), low_BChw)
        return upsampled(self.decoder(torch.cat([map_BChw, low_BChw], 1)), x_BCHW)


def _rates(output_stride: int) -> tuple[int, ...]:
    if output_stride not in RATES:
        raise ModelError(f"output_stride = {output_stride}: expected 8 or 16, for which the papers give atrous rates.")
    return RATES[output_stride]
