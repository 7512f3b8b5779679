"""Attention U-Net: skips pass through gates that the coarser map opens where it looks.

Oktay et al. 2018, "Attention U-Net: Learning Where to Look for the Pancreas" (arXiv:1804.03999), figures 1 and 2, in
two dimensions. An additive gate (equations 1 to 3) weighs every pixel of a skip x by

    alpha = sigmoid(psi(relu(W_x x + W_g g + b_g)) + b_psi),

g being the next coarser map of the expanding path, and W_x, W_g, psi linear at each pixel. alpha is computed at the
size of g and resampled to that of x. The finest skip has no gate, because it does not represent the image in a
sufficiently high-dimensional space (section 2); deep supervision (section 3) lets every level's scores take part in
the output.

As the authors' released code (github.com/ozan-oktay/Attention-Gated-Networks, `unet_CT_single_att_dsv_3D`) has it: W_x
brings x to the size of g by a 2x2 convolution of stride 2; the gated skip passes a 1x1 convolution with batch norm; the
first gating signal is a 1x1 convolution with batch norm and ReLU of the bottleneck; upsampling is linear; deep
supervision is one 1x1 convolution over the upsampled scores of all levels, not a loss for each.

What differs from it: two dimensions instead of three; U-Net's widths, 64 to 1024, which the code divides by 4 to fit
volumes into memory; a gated skip goes straight to the concatenation, without the code's second 1x1 convolution, which
exists there to combine several gates and which the paper does not have.

Shapes: B batch, C input channels, K classes, H height, W width, h and w half of these, all in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.blocks import Concatenation, ConvNormPair


class AttentionGate(nn.Module):
    """Scales each pixel of a skip by a weight in 0..1, from the skip and the coarser map (equations 1 to 3)."""

    def __init__(self, skip_channels: int, gate_channels: int) -> None:
        super().__init__()
        self.w_x = nn.Conv2d(skip_channels, skip_channels, 2, stride=2, bias=False)
        self.w_g = nn.Conv2d(gate_channels, skip_channels, 1)
        self.psi = nn.Conv2d(skip_channels, 1, 1)
        self.out = nn.Sequential(nn.Conv2d(skip_channels, skip_channels, 1), nn.BatchNorm2d(skip_channels))

    def forward(self, x_BCHW: torch.Tensor, gate_BChw: torch.Tensor) -> torch.Tensor:
        """Return B x C x H x W, the skip with the gate's weights on it."""
        gated_BCHW: torch.Tensor = self.out(self.weights(x_BCHW, gate_BChw) * x_BCHW)
        return gated_BCHW

    def weights(self, x_BCHW: torch.Tensor, gate_BChw: torch.Tensor) -> torch.Tensor:
        """The attention coefficients alpha, B x 1 x H x W in 0..1."""
        alpha_B1hw = self.psi(F.relu(self.w_x(x_BCHW) + self.w_g(gate_BChw), inplace=True)).sigmoid()
        return _doubled(alpha_B1hw)


class AttentionUNet(nn.Module):
    """Attention U-Net; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride` (16 with five widths). Raises ModelError for fewer than three widths, with
    which there would be no gate.
    """

    paper: ClassVar[str] = "Oktay et al. 2018, arXiv:1804.03999"

    def __init__(self, in_channels: int, classes: int, *, widths: Sequence[int] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        if len(widths) < 3:
            raise ModelError(
                f"widths = {list(widths)}: expected three numbers or more, because the finest skip has no gate."
            )
        self.stride = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(ConvNormPair(before, after) for before, after in pairwise((in_channels, *widths)))
        self.gating = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 1), nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)
        )
        steps = list(pairwise(reversed(widths)))
        self.gates = nn.ModuleList(AttentionGate(shallow, deep) for deep, shallow in steps[:-1])
        self.concatenate = Concatenation()
        self.up = nn.ModuleList(ConvNormPair(deep + shallow, shallow) for deep, shallow in steps)
        self.scores = nn.ModuleList(nn.Conv2d(shallow, classes, 1) for _, shallow in steps)
        self.output = nn.Conv2d(classes * len(steps), classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        skips = [self.down[0](x_BCHW)]
        for pair in self.down[1:]:
            skips.append(pair(F.max_pool2d(skips[-1], 2)))
        x_BChw = skips.pop()
        gate_BChw = self.gating(x_BChw)
        scores = []
        for level, (pair, score) in enumerate(zip(self.up, self.scores, strict=True)):
            skip_BCHW = skips.pop()
            if level < len(self.gates):
                skip_BCHW = self.gates[level](skip_BCHW, gate_BChw)
            x_BChw = gate_BChw = pair(self.concatenate(skip_BCHW, _doubled(x_BChw)))
            scores.append(score(x_BChw))
        size = scores[-1].shape[2:]
        scores = [F.interpolate(score, size, mode="bilinear", align_corners=False) for score in scores]
        logits_BKHW: torch.Tensor = self.output(torch.cat(scores, 1))
        return logits_BKHW


def _doubled(x_BChw: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x_BChw, scale_factor=2.0, mode="bilinear", align_corners=False)
