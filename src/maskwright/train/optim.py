"""Optimisers, the learning rate over a run, and averaged weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from maskwright.errors import SettingError

FLOOR = 1e-3
"""Share of the peak rate at which warm-up starts."""


def make_optimizer(
    name: str, network: nn.Module, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD with Nesterov momentum 0.9; biases and normalisations are not decayed.

    With a `layer_decay` d below 1, the parts of `network.encoder` learn slower the farther they lie from its end: the
    last at d times the rate, the one before at d^2 times, and so on (Clark et al. 2020, arXiv:2003.10555, section 3.1).
    Each group of parameters carries its share of the rate as `rate`.

    Raises SettingError for an unknown name, for weight decay with `adam`, which has none, or for a layer decay of a
    network without an encoder.
    """
    shares = _shares(network, layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups.setdefault((shares.get(parameter, 1.0), parameter.ndim > 1), []).append(parameter)
    parts = [
        {"params": parameters, "weight_decay": weight_decay if decayed else 0.0, "rate": share}
        for (share, decayed), parameters in sorted(groups.items(), key=lambda group: (-group[0][0], -group[0][1]))
    ]
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
    raise SettingError(f"optimizer = {name!r} is unknown. Expected adamw, adam or sgd.")


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
