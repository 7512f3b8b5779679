"""Optimisers, the learning rate over a run, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn

from maskwright.errors import SettingError
from maskwright.models.segmenter import Segmenter

FLOOR = 1e-3
"""Fraction of the peak rate at which warm-up starts."""
FEWEST = 8
"""Rows or columns below which a matrix has too few directions to balance; see `Muon`."""


def make_optimizer(
    name: str,
    network: nn.Module,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    encoder_rate: float = 1.0,
) -> torch.optim.Optimizer:
    """Make Muon, AdamW, Adam or SGD with Nesterov momentum 0.9.

    Parameters
    ----------
    name
        `muon`, `adamw`, `adam` or `sgd`.
    network
        Whose parameters are trained, those that require gradients.
    lr
        The peak learning rate. Each group of parameters carries its own factor of it as `lr_scale`.
    weight_decay
        Of kernels and matrices; biases and normalisations are not decayed.
    layer_decay
        With d below 1, the parts of `network.encoder` learn slower the farther they lie from its end: the last at d
        times the rate, the one before at d^2 times, and so on (Clark et al. 2020, arXiv:2003.10555, section 3.1).

    encoder_rate
        Another factor on the rate of all of `network.encoder`; 0 leaves it untrained. Below 1 its kernels are AdamW's
        even with `muon`: made orthogonal, a step changes what was learned of other images in all directions alike.

    Raises
    ------
    SettingError
        For an unknown name, for weight decay with `adam`, which has none, or for a layer decay of a network without an
        encoder.
    """
    scales = _encoder_scales(network, layer_decay, encoder_rate)
    hidden = _hidden(network) - (scales.keys() if encoder_rate < 1 else set()) if name == "muon" else set()
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if scales.get(parameter) == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            treatment = scales.get(parameter, 1.0), parameter.ndim > 1, parameter in hidden
            groups.setdefault(treatment, []).append(parameter)
    # Always in the same order: a saved state numbers the moments of parameters by it.
    parts = [
        {"params": parameters, "weight_decay": weight_decay if decayed else 0.0, "lr_scale": scale, "hidden": inner}
        for (scale, decayed, inner), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
    ]
    if name == "muon":
        return Muon(parts, lr)
    if name == "adamw":
        return torch.optim.AdamW(parts, lr, fused=True)
    if name == "adam":
        if weight_decay:
            raise SettingError(
                f"weight_decay = {weight_decay:g} has no effect with optimizer = 'adam'.",
                remedy="Use adamw, or leave it out.",
            )
        return torch.optim.Adam(parts, lr, fused=True)
    if name == "sgd":
        return torch.optim.SGD(parts, lr, momentum=0.9, nesterov=True, fused=True)
    raise SettingError(f"optimizer = {name!r} is unknown.", expected="Expected muon, adamw, adam or sgd.")


def _encoder_scales(network: nn.Module, layer_decay: float, encoder_rate: float) -> dict[nn.Parameter, float]:
    """The factor of the rate of each of the encoder's parameters; none where nothing slows it."""
    if layer_decay == encoder_rate == 1:
        return {}
    encoder = encoder_of(network)
    if encoder is None:
        name, value = ("layer_decay", layer_decay) if layer_decay != 1 else ("encoder_rate", encoder_rate)
        raise SettingError(
            f"{name} = {value:g} slows an encoder, and this network has none of its own.", remedy="Leave it out."
        )
    parts = [part for part in _parts(encoder) if part]
    return {
        parameter: encoder_rate * layer_decay**distance
        for distance, part in enumerate(reversed(parts), 1)
        for parameter in part
    }


def encoder_of(network: nn.Module) -> nn.Module | None:
    """The encoder of a network, or of a segmenter's; None where it has none of its own."""
    encoder = getattr(getattr(network, "network", network), "encoder", None)
    return encoder if isinstance(encoder, nn.Module) else None


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


def lr_factor(progress: float, warmup: float, schedule: str) -> float:
    """Tell what fraction of the peak learning rate holds at a moment of the run.

    Parameters
    ----------
    progress
        The moment: 0 is the start, 1 the end of the run.
    warmup
        Fraction of the run over which the rate rises linearly.
    schedule
        What follows: `cosine`, half a cosine down to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, one
        cycle); `poly`, (1 - done)^0.9 (Chen et al. 2017, arXiv:1606.00915, section 4.1); or `constant`.
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
    """Momentum whose matrices are made orthogonal before they are applied; AdamW for what is no matrix.

    Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) stands for momentum, orthogonalised by Newton-Schulz.
    Why: the gradient of a kernel is dominated by a few directions, and Adam, which scales each element by itself,
    follows mostly these. Made orthogonal, a step goes equally far in every direction that the momentum has learned of,
    the rare ones too, and training needs fewer steps (EXPERIMENTS.md has the figures).

    A kernel of shape C' x C x h x w counts as a matrix of C' rows. Its step is the orthogonal factor U V^T of its
    Nesterov momentum U S V^T, scaled by 0.2 sqrt(larger side), so that its elements are about as large as AdamW's steps
    (Liu et al. 2025, arXiv:2502.16982, equation 4), and by `KERNEL_RATE`. This is for the groups of parameters that say
    `hidden`. The others are AdamW's: vectors; the head, whose rows are classes and not features; and kernels of fewer
    than `FEWEST` rows or columns, which have no directions to balance.
    """

    MOMENTUM: ClassVar[float] = 0.95
    KERNEL_RATE: ClassVar[float] = 3.5
    """Rate of kernels in units of the rate of the rest (EXPERIMENTS.md)."""

    def __init__(self, params: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(params, lr, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take the kernels' steps and drop their gradients; AdamW then goes on with the parameters that have one."""
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
                ahead = torch.lerp(parameter.grad, momentum, self.MOMENTUM)  # Nesterov's: as the next step will see it
                # Rows are output channels; within them the layout of channels_last is kept, so nothing is copied.
                rows = ahead.movedim(1, -1)
                update = orthogonal(rows.reshape(len(rows), -1)).reshape(rows.shape).movedim(-1, 1)
                lr = group["lr"] * self.KERNEL_RATE
                larger = max(len(rows), rows[0].numel())
                parameter.mul_(1 - lr * group["weight_decay"])
                parameter.add_(update, alpha=-lr * 0.2 * math.sqrt(larger))
                parameter.grad = None
        super().step(closure)


QUINTICS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Coefficients a, b, c of a s + b s^3 + c s^5, five polynomials to be applied one after the other to singular values s:
they bring all values from 0.005 to 1 near 1. Published with Muon; steeper at 0 than Newton-Schulz's own
1.5 s - 0.5 s^3, which would need thirteen iterations for as much."""


def orthogonal(matrix_MN: torch.Tensor) -> torch.Tensor:
    """Find about the nearest matrix with orthonormal rows (or columns, if they are fewer), by Newton-Schulz iteration.

    With X = U S V^T, the product (a + b X X^T + c (X X^T)^2) X is U (a S + b S^3 + c S^5) V^T: an odd polynomial of a
    matrix acts on its singular values and leaves U and V alone. So polynomials that push all singular values to 1 lead
    to U V^T with nothing but matrix products, where an SVD would take many times as long.

    The polynomials are gathered in the small Gram matrix X X^T, and the matrix itself is multiplied once; singular
    values of 0.005 to 1 of its norm end between 0.7 and 1.2. A matrix of zeros stays one.

    Parameters
    ----------
    matrix_MN
        M x N float32.

    Returns
    -------
    torch.Tensor
        M x N float32.
    """
    wide_MN = matrix_MN.T if matrix_MN.shape[0] > matrix_MN.shape[1] else matrix_MN
    wide_MN = wide_MN / (wide_MN.norm() + 1e-12)
    gram_MM = wide_MN @ wide_MN.T  # X X^T of the present X, which itself is never written down
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


@contextmanager
def averaged(segmenter: Segmenter, average: Average | None) -> Iterator[None]:
    """Put the averaged weights in place of the raw ones for a while; None leaves the raw ones."""
    if average is None:
        yield
        return
    raw = {name: tensor.detach().clone() for name, tensor in segmenter.state_dict().items()}
    segmenter.load_state_dict(average.state)
    try:
        yield
    finally:
        segmenter.load_state_dict(raw)
