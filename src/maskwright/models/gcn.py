"""GCN: large separable kernels that see a whole object while they score it, and a residual block for its boundary.

Peng, Zhang, Yu, Luo, Sun 2017, "Large Kernel Matters: Improve Semantic Segmentation by Global Convolutional Network"
(arXiv:1703.02719), figure 2: the four stages of a ResNet are scored by global convolutional blocks, k = 15 (figure 2B);
a boundary refinement block (figure 2C) follows every score map, every sum and every upsampling; scores are upsampled by
two at a time by transposed convolutions and summed with the next finer ones. Everything but the encoder has K channels.

What differs from the paper:

- the encoder is a ResNet-50 for ImageNet, where the paper's best figures are from a ResNet-152, and from a "ResNet-GCN"
  pretrained by the authors;
- transposed convolutions start as bilinear interpolation, as in Long et al. 2015 (arXiv:1411.4038), and extend the map
  by its own edge.

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of a coarser map, all in pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models.encoders import build_encoder
from maskwright.models.fcn import Upsampling


class GlobalConvolution(nn.Module):
    """k x 1 then 1 x k, plus 1 x k then k x 1, without anything between: a dense k x k kernel of low rank."""

    def __init__(self, in_channels: int, classes: int, kernel: int) -> None:
        super().__init__()
        self.left = nn.Sequential(
            nn.Conv2d(in_channels, classes, (kernel, 1), padding="same"),
            nn.Conv2d(classes, classes, (1, kernel), padding="same"),
        )
        self.right = nn.Sequential(
            nn.Conv2d(in_channels, classes, (1, kernel), padding="same"),
            nn.Conv2d(classes, classes, (kernel, 1), padding="same"),
        )

    def forward(self, map_BChw: torch.Tensor) -> torch.Tensor:
        """B x C x h x w -> scores B x K x h x w."""
        score_BKhw: torch.Tensor = self.left(map_BChw) + self.right(map_BChw)
        return score_BKhw


class BoundaryRefinement(nn.Module):
    """s + conv(relu(conv(s))), both 3x3, on scores s."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(classes, classes, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(classes, classes, 3, padding=1),
        )

    def forward(self, score_BKhw: torch.Tensor) -> torch.Tensor:
        """Return B x K x h x w."""
        refined_BKhw: torch.Tensor = score_BKhw + self.residual(score_BKhw)
        return refined_BKhw


class GCN(nn.Module):
    """GCN; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 32. `encoder` names one of `encoders.ENCODERS` with maps at strides 4, 8, 16
    and 32, `kernel` is k, an odd number, and `width` the encoder's first width. Raises ModelError for an unknown
    encoder, one without these maps, or an even kernel.
    """

    paper: ClassVar[str] = "Peng et al. 2017, arXiv:1703.02719"

    def __init__(
        self, in_channels: int, classes: int, *, encoder: str = "resnet50", kernel: int = 15, width: int = 64
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ModelError(f"kernel = {kernel}: expected an odd size, which has a centre; 15 in the paper.")
        self.encoder = build_encoder(encoder, in_channels, width, needs=(4, 8, 16, 32))
        self.stride = self.encoder.stride
        coarsest_first = self.encoder.channels[:-5:-1]
        self.score = nn.ModuleList(
            nn.Sequential(GlobalConvolution(channels, classes, kernel), BoundaryRefinement(classes))
            for channels in coarsest_first
        )
        # From stride 32 to 16, 8 and 4, with a sum each, then to 2 and 1.
        self.up = nn.ModuleList(Upsampling(classes, 2, learned=True) for _ in range(5))
        self.refine = nn.ModuleList(BoundaryRefinement(classes) for _ in range(5))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        coarsest_first = self.encoder(x_BCHW)[:-5:-1]
        scores = [score(map_BChw) for score, map_BChw in zip(self.score, coarsest_first, strict=True)]
        logits_BKHW: torch.Tensor = scores.pop(0)
        for up, refine in zip(self.up, self.refine, strict=True):
            logits_BKHW = up(logits_BKHW)
            if scores:
                logits_BKHW = logits_BKHW + scores.pop(0)
            logits_BKHW = refine(logits_BKHW)
        return logits_BKHW
