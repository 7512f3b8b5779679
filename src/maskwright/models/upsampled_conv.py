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
The gradient is written out as well, because the additions in between, left to autograd, would cost half of the gain
(EXPERIMENTS.md has the figures).

Shapes: B batch, C input channels, K output channels, H, W height and width before upsampling, N = B H W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable


def upsampled_conv_relu(s_BCHW: torch.Tensor, weight_KC22: torch.Tensor, bias_K: torch.Tensor) -> torch.Tensor:
    """ReLU of the 2x2 convolution (zero-padded at the right and the bottom) of the map at twice its size.

    Floating point B x C x H x W -> B x K x 2H x 2W, channels last in memory; under autocast, of its type.
    """
    kind = s_BCHW.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else s_BCHW.dtype
    operands = s_BCHW.to(dtype), weight_KC22.to(dtype), bias_K.to(dtype)
    out_BKHW: torch.Tensor = _UpsampledConvReLU.apply(*operands)  # type: ignore[no-untyped-call]
    return out_BKHW


class _UpsampledConvReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s_BCHW: torch.Tensor, weight_KC22: torch.Tensor, bias_K: torch.Tensor) -> torch.Tensor:
        s_BHWC = s_BCHW.permute(0, 2, 3, 1).contiguous()
        right_BHWC = _to_next(s_BHWC, 2)
        down_BHWC = _to_next(s_BHWC, 1)
        both_BHWC = _to_next(right_BHWC, 1)
        batch, height, width, channels = s_BHWC.shape
        all_KC, right_KC, down_KC, last_KC = _sums(weight_KC22)

        first_NK = torch.addmm(bias_K, s_BHWC.view(-1, channels), all_KC.t())
        right_NK = right_BHWC.view(-1, channels) @ right_KC.t()
        down_NK = down_BHWC.view(-1, channels) @ down_KC.t()
        both_NK = torch.addmm(down_NK, both_BHWC.view(-1, channels), last_KC.t())
        right_NK += first_NK
        down_NK += first_NK
        both_NK += right_NK

        out_BHWK = s_BHWC.new_empty(batch, 2 * height, 2 * width, len(bias_K))
        for found_NK, place_BHWK in zip((first_NK, right_NK, down_NK, both_NK), _corners(out_BHWK), strict=True):
            torch.clamp_min(found_NK.view(place_BHWK.shape), 0, out=place_BHWK)
        ctx.save_for_backward(s_BHWC, right_BHWC, down_BHWC, both_BHWC, weight_KC22, out_BHWK)
        return out_BHWK.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BKHW: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        *inputs, weight_KC22, out_BHWK = ctx.saved_tensors
        kernels = _sums(weight_KC22)
        channels, outputs = weight_KC22.shape[1], weight_KC22.shape[0]
        # Gradients of the four sums: each reaches all outputs that it is part of.
        first, right, down, both = (
            torch.ops.aten.threshold_backward(grad_BHWK, place_BHWK, 0)
            for grad_BHWK, place_BHWK in zip(_corners(grad_BKHW.permute(0, 2, 3, 1)), _corners(out_BHWK), strict=True)
        )
        first += right
        down += both
        first += down
        right += both
        grads_NK = [grad.reshape(-1, outputs) for grad in (first, right, down, both)]

        products = zip(grads_NK, inputs, strict=True)
        all_KC, right_KC, down_KC, last_KC = (g_NK.t() @ x_BHWC.view(-1, channels) for g_NK, x_BHWC in products)
        grad_KC22 = torch.empty_like(weight_KC22)
        grad_KC22[:, :, 0, 0] = all_KC
        grad_KC22[:, :, 0, 1] = all_KC + right_KC
        grad_KC22[:, :, 1, 0] = down_KC.add_(all_KC)
        grad_KC22[:, :, 1, 1] = down_KC.add_(right_KC).add_(last_KC)

        grad_s_BCHW = None
        if ctx.needs_input_grad[0]:
            back = (g_NK @ kernel_KC for g_NK, kernel_KC in zip(grads_NK, kernels, strict=True))
            s_BHWC, right_BHWC, down_BHWC, both_BHWC = (x_NC.view(inputs[0].shape) for x_NC in back)
            _add_from_next(right_BHWC, both_BHWC, 1)
            _add_from_next(s_BHWC, right_BHWC, 2)
            _add_from_next(s_BHWC, down_BHWC, 1)
            grad_s_BCHW = s_BHWC.permute(0, 3, 1, 2)
        return grad_s_BCHW, grad_KC22, grads_NK[0].sum(0)


def _sums(weight_KC22: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The kernels of the four products, K x C each."""
    last_KC = weight_KC22[:, :, 1, 1].contiguous()
    return weight_KC22.sum((2, 3)), weight_KC22[:, :, 0, 1] + last_KC, weight_KC22[:, :, 1, 0] + last_KC, last_KC


def _corners(x_BHWK: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Views of every second row and column, from each of the four starts."""
    return tuple(x_BHWK[:, row::2, column::2] for row in (0, 1) for column in (0, 1))


def _to_next(x_BHWC: torch.Tensor, axis: int) -> torch.Tensor:
    """The next pixel along an axis, zero beyond the end, minus the pixel."""
    difference_BHWC = -x_BHWC
    size = x_BHWC.shape[axis] - 1
    difference_BHWC.narrow(axis, 0, size).add_(x_BHWC.narrow(axis, 1, size))
    return difference_BHWC


def _add_from_next(x_BHWC: torch.Tensor, grad_BHWC: torch.Tensor, axis: int) -> None:
    """Add to `x_BHWC` what `_to_next` gives back for the gradient of its result."""
    size = x_BHWC.shape[axis] - 1
    x_BHWC -= grad_BHWC
    x_BHWC.narrow(axis, 1, size).add_(grad_BHWC.narrow(axis, 0, size))
