"""UNet++: the skips of a U-Net filled with convolutions of their own, and a score at every depth.

Zhou, Siddiquee, Tajbakhsh, Liang 2018, "UNet++: A Nested U-Net Architecture for Medical Image Segmentation"
(arXiv:1807.10165), figure 1 and equation 1. Node (i, j), at 1/2^i of the size and the j-th along the skip, is

    x(i, 0) = convolutions(pooled x(i-1, 0)),
    x(i, j) = convolutions([x(i, 0), ..., x(i, j-1), up(x(i+1, j-1))]),

so that what meets in a concatenation is semantically close. A 1x1 convolution gives a score at every node (0, j), j
from 1, and each is trained with a loss of its own, all of equal weight (section 3.2). In evaluation the output is the
"accurate mode" of that section, the mean of the probabilities of all scores; its logarithm is returned as logits.

What differs from the paper: batch norm after every 3x3 convolution, as in the authors' later code
(github.com/MrGiovanni/UNetPlusPlus); without it there would be the 9.04 million parameters of table 2. K logits
instead of one sigmoid. Up is a 2x2 transposed convolution, as in the released code; the paper does not say.

Shapes: B batch, C input channels, K classes, H height, W width, all in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.blocks import ConvNormPair, up_convolution


class UNetPlusPlus(nn.Module):
    """UNet++; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride` (16 with five widths). In training mode the output is a tuple: the logits of
    the deepest score, (0, 4), then those of (0, 3), (0, 2) and (0, 1); `auxiliary` has their weights in the loss.
    Raises ModelError for fewer than three widths.
    """

    paper: ClassVar[str] = "Zhou et al. 2018, arXiv:1807.10165"

    def __init__(self, in_channels: int, classes: int, *, widths: Sequence[int] = (32, 64, 128, 256, 512)) -> None:
        super().__init__()
        if len(widths) < 3:
            raise ModelError(
                f"widths = {list(widths)}: expected three numbers or more, else no skip has a node of its own."
            )
        self.depth = len(widths) - 1
        self.stride = 2**self.depth
        self.auxiliary = (1.0,) * (self.depth - 1)
        self.nodes = nn.ModuleDict()
        self.up = nn.ModuleDict()
        for i, width in enumerate(widths):
            self.nodes[f"{i}_0"] = ConvNormPair(widths[i - 1] if i else in_channels, width)
        for j in range(1, len(widths)):
            for i in range(len(widths) - j):
                self.up[f"{i}_{j}"] = up_convolution(widths[i + 1], widths[i])
                self.nodes[f"{i}_{j}"] = ConvNormPair((j + 1) * widths[i], widths[i])
        self.scores = nn.ModuleList(nn.Conv2d(widths[0], classes, 1) for _ in range(self.depth))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return logits B x K x H x W; in training mode the tuple that the class describes."""
        x: dict[tuple[int, int], torch.Tensor] = {}
        for i in range(self.depth + 1):
            x[i, 0] = self.nodes[f"{i}_0"](F.max_pool2d(x[i - 1, 0], 2) if i else x_BCHW)
        for j in range(1, self.depth + 1):
            for i in range(self.depth + 1 - j):
                skips = [x[i, before] for before in range(j)]
                x[i, j] = self.nodes[f"{i}_{j}"](torch.cat([*skips, self.up[f"{i}_{j}"](x[i + 1, j - 1])], 1))
        logits = [score(x[0, j + 1]) for j, score in enumerate(self.scores)]
        if self.training:
            return tuple(reversed(logits))
        log_p_NBKHW = torch.stack(logits).log_softmax(2)
        return log_p_NBKHW.logsumexp(0) - math.log(len(logits))
