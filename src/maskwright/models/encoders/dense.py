"""Fully connected layers as convolutions: the step from a classification network to a fully convolutional one.

Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation" (arXiv:1411.4038), section 3.1:
a fully connected layer over a C x k x k map is a k x k convolution, so its weights O x (C k k) fit by reshaping.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from maskwright.models.blocks import he_normal_


class DenseLayers(nn.Sequential):
    """fc6 (k x k) and fc7 (1x1) as convolutions of `channels`, each with ReLU and dropout 0.5.

    `fc6_index` is fc6's place in the published `classifier`, and fc7 stands three further. `padding` and `dilation` are
    fc6's. Weights start He normal by fan-in, biases at zero.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel: int, *, fc6_index: int, padding: int, dilation: int = 1
    ) -> None:
        super().__init__()
        fc6 = nn.Conv2d(in_channels, channels, kernel, padding=padding, dilation=dilation)
        fc7 = nn.Conv2d(channels, channels, 1)
        for place, conv in ((fc6_index, fc6), (fc6_index + 3, fc7)):
            he_normal_(conv)
            self.add_module(str(place), conv)
            self.add_module(str(place + 1), nn.ReLU(inplace=True))
            self.add_module(str(place + 2), nn.Dropout(0.5))


def convert_dense(
    state: Mapping[str, torch.Tensor], names: Mapping[str, str], dense: DenseLayers | None
) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors with its fully connected layers fitted to `dense`, or left out where there are none.

    `names` says which published layer (`classifier.0`) is which of ours (`classifier.0`); one that is "" is left out,
    as the last, which scores ImageNet's classes, always is.
    """
    converted = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if layer not in names or kind not in ("weight", "bias"):
            converted[name] = tensor
        elif dense is not None and names[layer]:
            ours = f"{names[layer]}.{kind}"
            wanted = dense.get_parameter(ours.removeprefix("classifier."))
            fits = tensor.ndim == 2 and tensor.numel() == wanted.numel()
            converted[ours] = tensor.reshape(wanted.shape) if fits else tensor
    return converted
