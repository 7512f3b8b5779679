"""Optimisers, the learning rate over a run, and averaged weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from maskwright.errors import SettingError

FLOOR = 1e-3
"""Share of the peak rate at which warm-up starts."""


def make_optimizer(name: str, network: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD with Nesterov momentum 0.9; biases and normalisations are not decayed.

    Raises SettingError for an unknown name, or for weight decay with `adam`, which has none.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr, fused=True)
    if name == "adam":
        if weight_decay:
            raise SettingError(
                f"weight_decay = {weight_decay:g} has no effect with optimizer = 'adam'. Use adamw, or leave it out."
            )
        return torch.optim.Adam(groups, lr, fused=True)
    if name == "sgd":
        return torch.optim.SGD(groups, lr, momentum=0.9, nesterov=True, fused=True)
    raise SettingError(f"optimizer = {name!r} is unknown. Expected adamw, adam or sgd.")


def rate(progress: float, warmup: float, schedule: str) -> float:
    """Share of the peak rate at `progress` (0 start, 1 end of the run).

    Linear warm-up over the first `warmup` of the run, then half a cosine down to 0 (Loshchilov & Hutter 2017,
    arXiv:1608.03983, equation 5, one cycle), or constant.
    """
    if progress < warmup:
        return FLOOR + (1 - FLOOR) * progress / warmup
    if schedule == "constant":
        return 1.0
    done = min(1.0, (progress - warmup) / (1 - warmup))
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
