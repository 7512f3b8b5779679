"""Nearest upsampling, a same-size 2x2 convolution and ReLU, in a quarter of the multiplications.

An upsampled map repeats each pixel four times, so a 2x2 convolution of it multiplies the same values again and again.
With s(y, x) the map before upsampling, zero beyond its right and bottom edge, and w00 w01 / w10 w11 the kernel, the
four outputs that stand for a pixel are

    out(2y, 2x)         = (w00 + w01 + w10 + w11) s(y, x)
    out(2y, 2x + 1)     = the first + (w01 + w11) (s(y, x + 1) - s(y, x))
    out(2y + 1, 2x)     = the first + (w10 + w11) (s(y + 1, x) - s(y, x))
    out(2y + 1, 2x + 1) = the sum of the last two - the first
                          + w11 (s(y + 1, x + 1) - s(y + 1, x) - s(y, x + 1) + s(y, x))

which are four matrix products at the small size instead of sixteen. Nothing is left out: results differ by rounding.
EXPERIMENTS.md has the figures.

Shapes: B batch, C input channels, K output channels, H, W height and width before upsampling.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def upsampled_conv_relu(s_BCHW: torch.Tensor, weight_KC22: torch.Tensor, bias_K: torch.Tensor) -> torch.Tensor:
    """ReLU of the 2x2 convolution (zero-padded at the right and the bottom) of the map at twice its size.

    Floating point B x C x H x W -> B x K x 2H x 2W, channels last in memory; under autocast, of its type.
    """
    s_BHWC = s_BCHW.permute(0, 2, 3, 1)
    right_BHWC, down_BHWC = to_next(s_BHWC, 2), to_next(s_BHWC, 1)
    last_KC = weight_KC22[:, :, 1, 1]
    first_BHWK = F.linear(s_BHWC, weight_KC22.sum((2, 3)), bias_K)
    second_BHWK = first_BHWK + F.linear(right_BHWC, weight_KC22[:, :, 0, 1] + last_KC)
    below_BHWK = F.linear(down_BHWC, weight_KC22[:, :, 1, 0] + last_KC)
    fourth_BHWK = second_BHWK + below_BHWK + F.linear(to_next(right_BHWC, 1), last_KC)
    upper = torch.stack((first_BHWK, second_BHWK), 3)
    lower = torch.stack((first_BHWK + below_BHWK, fourth_BHWK), 3)
    out_BHWK = torch.stack((upper, lower), 2).flatten(1, 2).flatten(2, 3)
    return F.relu(out_BHWK, inplace=True).permute(0, 3, 1, 2)


def to_next(x_BHWC: torch.Tensor, axis: int) -> torch.Tensor:
    """The next pixel along axis 1 or 2, zero beyond the end, minus the pixel."""
    padded_BHWC = F.pad(x_BHWC, (0, 0, 0, 1) if axis == 2 else (0, 0, 0, 0, 0, 1))
    return padded_BHWC.narrow(axis, 1, x_BHWC.shape[axis]) - x_BHWC
