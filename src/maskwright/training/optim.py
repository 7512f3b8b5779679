"""Optimisers, the learning rate over a run, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import nn

from maskwright.errors import SettingError

FLOOR = 1e-3
"""Share of the peak rate at which warm-up starts."""
FEWEST = 8
"""Rows or columns below which a matrix has too few directions to balance; see `Muon`."""


def make_optimizer(
    name: str, network: nn.Module, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """Muon, AdamW, Adam or SGD with Nesterov momentum 0.9; biases and normalisations are not decayed.

    With a `layer_decay` d below 1, the parts of `network.encoder` learn slower the farther they lie from its end: the
    last at d times the rate, the one before at d^2 times, and so on (Clark et al. 2020, arXiv:2003.10555, section 3.1).
    Each group of parameters carries its share of the rate as `rate`.

    Raises SettingError for an unknown name, for weight decay with `adam`, which has none, or for a layer decay of a
    network without an encoder.
    """
    shares = _shares(network, layer_decay)
    hidden = _hidden(network) if name == "muon" else set()
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            kind = shares.get(parameter, 1.0), parameter.ndim > 1, parameter in hidden
            groups.setdefault(kind, []).append(parameter)
    parts = [
        {"params": parameters, "weight_decay": weight_decay if decayed else 0.0, "rate": share, "hidden": inner}
        for (share, decayed, inner), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
    ]
    if name == "muon":
        return Muon(parts, lr)
    if name == "adamw":
        return torch.optim.AdamW(parts, lr, fused=True)
    if name == "adam":
        if weight_decay:
            raise SettingError(
                f"weight_decay = {weight_decay:g} has no effect with optimizer = 'adam'. Use adamw, or leave it out."
            )
        return torch.optim.Adam(parts, lr, fused=True)
    if name == "sgd":
        return torch.optim.SGD(parts, lr, momentum=0.9, nesterov=True, fused=True)
    raise SettingError(f"optimizer = {name!r} is unknown. Expected muon, adamw, adam or sgd.")


def _shares(network: nn.Module, layer_decay: float) -> dict[nn.Parameter, float]:
    """The share of the rate of each of the encoder's parameters."""
    if layer_decay == 1:
        return {}
    encoder = getattr(getattr(network, "network", network), "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise SettingError(
            f"layer_decay = {layer_decay:g} slows an encoder, and this network has none of its own. Leave it out."
        )
    parts = [part for part in _parts(encoder) if part]
    return {parameter: layer_decay**distance for distance, part in enumerate(reversed(parts), 1) for parameter in part}


def _hidden(network: nn.Module) -> set[nn.Parameter]:
    """The kernels between input and output: all but those of the network's `head`."""
    head = getattr(getattr(network, "network", network), "head", None)
    last = set(head.parameters()) if isinstance(head, nn.Module) else set()
    return {p for p in network.parameters() if p.ndim > 1 and p not in last and min(len(p), p[0].numel()) >= FEWEST}


def _parts(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of an encoder's parts, from its input on; one long sequence is divided at its poolings."""
    parts: list[list[nn.Parameter]] = []
    for child in encoder.children():
        parts.append([])
        for layer in child if isinstance(child, nn.Sequential) else [child]:
            if isinstance(layer, nn.MaxPool2d):
                parts.append([])
            parts[-1] += layer.parameters()
    return parts


def rate(progress: float, warmup: float, schedule: str) -> float:
    """Share of the peak rate at `progress` (0 start, 1 end of the run).

    Linear warm-up over the first `warmup` of the run, then half a cosine down to 0 (Loshchilov & Hutter 2017,
    arXiv:1608.03983, equation 5, one cycle), (1 - done)^0.9 (poly, Chen et al. 2017, arXiv:1606.00915, section 4.1), or
    constant.
    """
    if progress < warmup:
        return FLOOR + (1 - FLOOR) * progress / warmup
    if schedule == "constant":
        return 1.0
    done = min(1.0, (progress - warmup) / (1 - warmup))
    if schedule == "poly":
        return float((1 - done) ** 0.9)
    return 0.5 * (1 + math.cos(math.pi * done))


class Muon(torch.optim.AdamW):
    """Momentum whose matrices are made orthogonal before they are applied (Jordan 2024); AdamW for what is no matrix.

    A kernel of shape C' x C x h x w is a matrix of C' rows. The step of such a matrix is the orthogonal factor of its
    Nesterov momentum: every direction it has learned of counts alike, where Adam follows the few strongest. It is
    scaled by 0.2 sqrt(larger side), so that its elements are about as large as AdamW's steps (Liu et al. 2025,
    arXiv:2502.16982, equation 4), and by `KERNEL_RATE`. It is for groups of parameters that say `hidden`; the others
    are AdamW's: vectors, the head, and kernels of fewer than `FEWEST` rows or columns.
    """

    MOMENTUM: ClassVar[float] = 0.95
    KERNEL_RATE: ClassVar[float] = 3.5
    """Rate of kernels in units of the rate of the rest (EXPERIMENTS.md)."""

    def __init__(self, params: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(params, lr, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take the kernels' steps; what is left has its gradient still, and AdamW goes on with it."""
        for group in (group for group in self.param_groups if group["hidden"]):
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:  # with a count of steps, which AdamW looks for when a state is loaded
                    state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(parameter)}
                momentum = state["momentum"]
                state["step"] += 1
                momentum.lerp_(parameter.grad, 1 - self.MOMENTUM)
                ahead = torch.lerp(parameter.grad, momentum, self.MOMENTUM)
                # Rows are output channels; within them the layout of channels_last is kept, so nothing is copied.
                rows = ahead.movedim(1, -1)
                update = orthogonal(rows.reshape(len(rows), -1)).reshape(rows.shape).movedim(-1, 1)
                rate = group["lr"] * self.KERNEL_RATE
                larger = max(len(rows), rows[0].numel())
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update, alpha=-rate * 0.2 * math.sqrt(larger))
                parameter.grad = None
        super().step(closure)


QUINTICS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Coefficients a, b, c of a s + b s^3 + c s^5 for the singular values s, one after the other: they bring values from
0.005 to 1 near 1 (Muon's published five steps)."""


def orthogonal(matrix_MN: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with orthonormal rows (or columns, if they are fewer), by Newton-Schulz iteration.

    The polynomials are gathered in the small Gram matrix, and the matrix itself is multiplied once; singular values of
    0.005 to 1 of its norm end between 0.7 and 1.2. A matrix of zeros stays one.
    """
    wide_MN = matrix_MN.T if matrix_MN.shape[0] > matrix_MN.shape[1] else matrix_MN
    wide_MN = wide_MN / (wide_MN.norm() + 1e-12)
    gram_MM = wide_MN @ wide_MN.T
    product_MM: torch.Tensor | None = None
    for a, b, c in QUINTICS:
        factor_MM = b * gram_MM + c * (gram_MM @ gram_MM)
        factor_MM.diagonal().add_(a)
        product_MM = factor_MM if product_MM is None else factor_MM @ product_MM
        gram_MM = factor_MM @ gram_MM @ factor_MM
    assert product_MM is not None
    result_MN: torch.Tensor = product_MM @ wide_MN
    return result_MN.T if matrix_MN.shape[0] > matrix_MN.shape[1] else result_MN


class Average:
    """Exponential moving average of a module's weights and running statistics.

    After step t the average is d * average + (1 - d) * weights with d = min(decay, (1 + t) / (10 + t)), so that the
    start is forgotten quickly (the warm-up of TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after `step` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = module.state_dict()
        floating = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.state[n] for n in floating], [current[n] for n in floating], 1 - decay)
        for name, tensor in self.state.items():
            if not tensor.is_floating_point():
                tensor.copy_(current[name])
