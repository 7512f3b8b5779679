"""What every encoder has: maps at several strides, and the way into it for published classification weights.

Shapes: B batch, C channels, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """A contracting path: normalised float32 B x C x H x W in, one map per stride out, finest first.

    `stride` is the multiple that H and W must be of; `strides` and `channels` describe the maps: map n has
    `channels[n]` channels and the size H / `strides[n]` x W / `strides[n]`.
    """

    stride: int
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    """What published weights expect of RGB: (value - mean) / std, for values from 0 to 1."""
    publisher: Literal["timm", "tensorflow"] | None = None
    """Whose published weights fit; None where torchvision's and timm's both do."""

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A published checkpoint's tensors under this encoder's names, without the classifier's.

        Only names are looked at, and nothing is left out but what is known to be the classifier: whatever else does
        not fit is for the caller to report.
        """
        raise NotImplementedError

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """See the class."""
        raise NotImplementedError
