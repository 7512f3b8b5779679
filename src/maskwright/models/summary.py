"""What the networks cost and what they are made of, without computing anything: all on torch's meta device.

An operation is a multiplication or an addition, so a multiply-add counts twice. Convolutions, matrix products and
attention are counted, and as usual not activations, norms, biases or resampling. The first count of a process takes
about a second, because torch imports its compiler for it; the others take milliseconds.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from maskwright.errors import ModelError
from maskwright.models import MODELS, NO_OPTIONS, build

OVERVIEW_TITLE = (
    "Networks for 3 channels and 2 classes; GFLOPs: 10^9 multiplications and additions of a forward pass at 256 x 256"
)


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """A row of `maskwright models`."""

    name: str
    parameters: int
    gflops: float
    """10^9 operations of one forward pass."""
    stride: int
    """Input heights and widths are multiples of this; Segmenter pads to it."""
    paper: str


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A row of `maskwright models NAME`: one call of one module that has no modules inside."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Output shape without the batch: channels, height, width."""
    parameters: int
    """Trainable ones; 0 where an earlier row has counted the same module."""
    gflops: float
    """10^9 operations."""


def overview() -> list[NetworkSummary]:
    """Every network of the table, as OVERVIEW_TITLE says."""
    return [summarize(name) for name in MODELS]


def summarize(
    name: str,
    *,
    in_channels: int = 3,
    classes: int = 2,
    size: tuple[int, int] = (256, 256),
    options: Mapping[str, Any] = NO_OPTIONS,
) -> NetworkSummary:
    """Parameters, operations, stride and paper of a network, for RGB at 256 x 256 and two classes if not told else.

    Raises ModelError as `build` does, and for a size that the network's stride does not divide.
    """
    network = _build_on_meta(name, in_channels, classes, size, options)
    return NetworkSummary(
        name=name,
        parameters=count_parameters(network),
        gflops=count_flops(network, in_channels, size) / 1e9,
        stride=_stride(network),
        paper=str(getattr(network, "paper", "")),
    )


def layer_table(
    name: str,
    *,
    in_channels: int = 3,
    classes: int = 2,
    size: tuple[int, int] = (256, 256),
    options: Mapping[str, Any] = NO_OPTIONS,
) -> list[LayerRow]:
    """Layers of a network in the order of the forward pass: name, type, output shape, parameters, operations.

    Raises ModelError as `summarize` does.
    """
    return layer_rows(_build_on_meta(name, in_channels, classes, size, options), in_channels, size)


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_flops(network: nn.Module, in_channels: int, size: tuple[int, int] = (256, 256)) -> int:
    """Operations of one forward pass for one image of `size` (height, width, multiples of the network's stride)."""
    meta = _on_meta(network)
    with FlopCounterMode(display=False) as count:
        meta(torch.empty(1, in_channels, *size, device="meta"))
    return int(count.get_total_flops())


def layer_rows(network: nn.Module, in_channels: int, size: tuple[int, int] = (256, 256)) -> list[LayerRow]:
    """Rows for the modules without modules inside, in the order in which one forward pass calls them."""
    meta = _on_meta(network)
    count = FlopCounterMode(display=False)
    before: dict[str, int] = {}
    seen: set[nn.Module] = set()
    rows: list[LayerRow] = []

    def start(name: str, _module: nn.Module, _arguments: tuple[Tensor, ...]) -> None:
        before[name] = count.get_total_flops()

    def record(name: str, module: nn.Module, _arguments: tuple[Tensor, ...], output: Tensor) -> None:
        rows.append(
            LayerRow(
                name=name,
                kind=type(module).__name__,
                shape=tuple(output.shape[1:]),
                parameters=0 if module in seen else count_parameters(module),
                gflops=(count.get_total_flops() - before[name]) / 1e9,
            )
        )
        seen.add(module)

    for name, module in meta.named_modules():
        if next(module.children(), None) is None:
            module.register_forward_pre_hook(partial(start, name))
            module.register_forward_hook(partial(record, name))
    with count:
        meta(torch.empty(1, in_channels, *size, device="meta"))
    return rows


def _on_meta(network: nn.Module) -> nn.Module:
    """A copy without values: shapes are computed and nothing else; the original stays as it is."""
    return copy.deepcopy(network).to("meta").eval()


def _build_on_meta(
    name: str, in_channels: int, classes: int, size: tuple[int, int], options: Mapping[str, Any]
) -> nn.Module:
    """Build a network without values, and check that it takes images of this size."""
    with torch.device("meta"):
        network = build(name, in_channels, classes, options)
    stride = _stride(network)
    if min(size) < 1 or any(side % stride for side in size):
        raise ModelError(
            f"size = {size[0]}x{size[1]}: the network {name!r} takes multiples of {stride}. Count at such a size; "
            "training and prediction pad images of any size."
        )
    return network


def _stride(network: nn.Module) -> int:
    stride = network.stride
    assert isinstance(stride, int)
    return stride
