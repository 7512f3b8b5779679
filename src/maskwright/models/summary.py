"""What the networks cost, what they see and what they are made of, without computing anything: on torch's meta device.

An operation is a multiplication or an addition, so a multiply-add counts twice. Convolutions, matrix products and
attention are counted, and as usual not activations, norms, biases or resampling. The first count of a process takes
about a second, because torch imports its compiler for it; the others take a tenth. Only `measure` computes, to time it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from maskwright.errors import ModelError
from maskwright.models import MODELS, NO_OPTIONS, build, model_options, row_of
from maskwright.models.pretrained import LICENCES

OVERVIEW_TITLE = "Networks for 3 channels and 2 classes at 256 x 256 pixels"
OVERVIEW_NOTES = (
    "GFLOPs: 10^9 multiplications and additions. Stride: pixels that a place of the coarsest map stands for, per side. "
    "Field: pixels that a prediction can depend on, per side. Weights: whose published ones it can start from."
)
TIMED_SIZE = 256
TIMED_BATCH = 2
TIMED_SECONDS = 0.5
"""Of training, and again of predicting, after one step that is not counted; one step where a step takes longer."""


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """A row of `maskwright models`."""

    name: str
    parameters: int
    """Trainable ones that predict; auxiliary heads, which act in training only, are left out."""
    training_parameters: int
    """All trainable ones."""
    gflops: float
    """10^9 operations of one forward pass."""
    stride: int
    """Input heights and widths are multiples of this; Segmenter pads to it."""
    output_stride: int
    """Pixels per side that one place of the coarsest map stands for, maps of image or pyramid pooling left out."""
    receptive_field: int | None
    """Pixels per side that can change a logit (the theoretical field; most of the weight lies near its middle, Luo et
    al. 2016, arXiv:1701.04128); None: the whole image; 0: not known, as of a backbone of timm."""
    weights: str
    """Which published weights it can start from, a key of `pretrained.LICENCES`; empty where none are known."""
    licence: str
    """Their licence."""
    paper: str


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images per second of a network on one device, TIMED_BATCH at a time, TIMED_SIZE pixels per side."""

    train: float
    """Forward, cross-entropy, backward, and a step of SGD."""
    predict: float


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A row of `maskwright models NAME`: one call of one module that has no modules inside."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Output shape without the batch: channels, height, width; in a transformer also tokens, channels."""
    parameters: int
    """Trainable ones; 0 where an earlier row has counted the same module."""
    gflops: float
    """10^9 operations."""


def overview(progress: Callable[[int, int], None] = lambda done, total: None) -> list[NetworkSummary]:
    """Every network of the table, as OVERVIEW_TITLE says; `progress` is called with the number done and of all."""
    rows = []
    for name in MODELS:
        rows.append(summarize(name))
        progress(len(rows), len(MODELS))
    return rows


def summarize(
    name: str,
    *,
    in_channels: int = 3,
    classes: int = 2,
    size: tuple[int, int] = (256, 256),
    options: Mapping[str, Any] = NO_OPTIONS,
) -> NetworkSummary:
    """Size, cost, view and paper of a network, for RGB at 256 x 256 and two classes if not told else.

    Raises ModelError as `build` does, and for a size that the network's stride does not divide.
    """
    network = _build_on_meta(name, in_channels, classes, size, options)
    called: set[nn.Module] = set()
    for module in network.modules():
        module.register_forward_hook(lambda module, _arguments, _output: called.add(module))
        if isinstance(module, nn.BatchNorm2d):
            # It changes neither size nor place nor the count, and torch is slow to find that out.
            module.forward = _same  # type: ignore[method-assign, assignment]
    flops = _flops(network, in_channels, size)
    field, output_stride = (not options and row_of(name).sees) or (0, _stride(network))
    predicting = {
        parameter for module in called for parameter in module.parameters(recurse=False) if parameter.requires_grad
    }
    weights = _published_weights(name)
    return NetworkSummary(
        name=name,
        parameters=sum(parameter.numel() for parameter in predicting),
        training_parameters=count_parameters(network),
        gflops=flops / 1e9,
        stride=_stride(network),
        output_stride=output_stride,
        receptive_field=field,
        weights=weights,
        licence=LICENCES.get(weights, ""),
        paper=str(getattr(network, "paper", "")),
    )


def overview_table(
    rows: Sequence[NetworkSummary], speeds: Mapping[str, Speed] = MappingProxyType({})
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and cells for people: of papers the first, and images per second where they were measured."""
    timed = ("train/s", "predict/s") if speeds else ()
    columns = ("name", "parameters", "GFLOPs", "stride", "field", *timed, "weights", "paper")
    cells = []
    for row in rows:
        speed = speeds.get(row.name)
        cells.append(
            (
                row.name,
                f"{row.parameters:,}",
                f"{row.gflops:.1f}",
                str(row.output_stride),
                _field(row),
                *([f"{speed.train:.1f}", f"{speed.predict:.1f}"] if speed else []),
                row.weights,
                row.paper.split(";")[0],
            )
        )
    return columns, cells


def licence_notes(rows: Sequence[NetworkSummary]) -> list[str]:
    """A line for each licence of published weights: whose weights, and what it says."""
    owners: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.weights:
            owners.setdefault(row.licence, {})[row.weights] = None
    return [f"Weights of {', '.join(names)}: {licence}." for licence, names in owners.items()]


def facts(row: NetworkSummary, speed: Speed | None = None) -> list[tuple[str, str]]:
    """What `maskwright models NAME` says above the layers: names and values."""
    heads = row.training_parameters - row.parameters
    found = [
        ("paper", row.paper),
        ("parameters", f"{row.parameters:,}" + (f", and {heads:,} in heads that only train" if heads else "")),
        ("GFLOPs", f"{row.gflops:.1f} at 256 x 256"),
        ("stride", f"{row.output_stride}; sides are padded to multiples of {row.stride}"),
        ("receptive field", "the whole image" if row.receptive_field is None else f"{_field(row)} pixels"),
    ]
    if row.weights:
        found.append(("published weights", f"{row.weights} ({row.licence})"))
    if speed is not None:
        found.append(("images per second", f"{speed.train:.1f} training, {speed.predict:.1f} predicting"))
    return found


def measure(name: str, device: torch.device | str = "cpu") -> Speed:
    """Time a network of the table on a device, for RGB and two classes: a second, or a step and a prediction if longer.

    As in training and prediction, channels come last in memory, and a CUDA GPU multiplies in bfloat16. Raises
    ModelError for an unknown name.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        network = build(name, 3, 2).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x_BCHW = torch.rand(TIMED_BATCH, 3, TIMED_SIZE, TIMED_SIZE).to(device, memory_format=torch.channels_last)
        target_BHW = torch.zeros(TIMED_BATCH, TIMED_SIZE, TIMED_SIZE, dtype=torch.long, device=device)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)

        def forward() -> tuple[Tensor, ...]:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                outputs = network(x_BCHW)
            return outputs if isinstance(outputs, tuple) else (outputs,)

        def step() -> None:
            optimizer.zero_grad()
            losses = [F.cross_entropy(logits_BKHW.float(), target_BHW) for logits_BKHW in forward()]
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        network.train()
        train = _rate(step, device)
        network.eval()
        with torch.inference_mode():
            return Speed(train=train, predict=_rate(forward, device))


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
    return _flops(_on_meta(network), in_channels, size)


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
    with torch.no_grad(), count:
        meta(torch.empty(1, in_channels, *size, device="meta"))
    return rows


def _on_meta(network: nn.Module) -> nn.Module:
    """A copy without values: shapes are computed and nothing else; the original stays as it is."""
    return copy.deepcopy(network).to("meta").eval()


def _build_on_meta(
    name: str, in_channels: int, classes: int, size: tuple[int, int], options: Mapping[str, Any]
) -> nn.Module:
    """Build a network without values, in evaluation, and check that it takes images of this size."""
    with torch.device("meta"):
        network = build(name, in_channels, classes, options)
    stride = _stride(network)
    if min(size) < 1 or any(side % stride for side in size):
        raise ModelError(
            f"size = {size[0]}x{size[1]}: the network {name!r} takes multiples of {stride}. Count at such a size; "
            "training and prediction pad images of any size."
        )
    return network.eval()


def _flops(network: nn.Module, in_channels: int, size: tuple[int, int]) -> int:
    """Operations of one forward pass of a network on the meta device."""
    with torch.no_grad(), FlopCounterMode(display=False) as count:
        network(torch.empty(1, in_channels, *size, device="meta"))
    return int(count.get_total_flops())


def _rate(step: Callable[[], object], device: torch.device) -> float:
    """Images per second: steps for TIMED_SECONDS after one that is not counted, unless that one takes longer."""

    def seconds(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    first = seconds(1)
    if first >= TIMED_SECONDS:
        return TIMED_BATCH / first
    count = 1
    while (taken := seconds(count)) < TIMED_SECONDS:
        count = 2 * max(count, round(count * TIMED_SECONDS / taken / 2))
    return TIMED_BATCH * count / taken


def _field(row: NetworkSummary) -> str:
    return "all" if row.receptive_field is None else str(row.receptive_field or "?")


def _published_weights(name: str) -> str:
    """The key of LICENCES that stands for a network: its own name, or its encoder's."""
    encoder = str({**model_options(name), **row_of(name).numbers}.get("encoder", ""))
    return next((key for key in (name, encoder) if key in LICENCES), "")


def _same(x_BCHW: Tensor) -> Tensor:
    return x_BCHW


def _stride(network: nn.Module) -> int:
    stride = network.stride
    assert isinstance(stride, int)
    return stride
