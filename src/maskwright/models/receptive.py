"""What a network looks at: its receptive field and its output stride, traced through one forward pass without values.

Every map of the pass carries, for each of its columns, the first and the last column of the image that can change it.
An operation of torch says which columns of its input a column of its output takes (a convolution those under its
kernel, an upsampling the nearest or the two nearest, attention all of them), so this is exact for a network, whatever
its branches and skips, up to holes: with dilation, not all columns between the first and the last are looked at.
Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks" (Distill) derive the formulas
for chains; effective receptive fields, where most of the weight lies, are smaller (Luo et al. 2016, arXiv:1701.04128).

Everything runs on the meta device. Columns only: networks here look as far down as they look to the right.

Shapes: B batch, C channels, H height, W width, N columns of a map, T columns that one of them takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

WIDTH = 4096
"""Columns of the traced image: wider than any receptive field that is not the whole image."""


class View(NamedTuple):
    """How far a network sees, in pixels of its input."""

    receptive_field: int | None
    """Side of the square of pixels that can change a logit, the largest over all logits; None: the whole image."""
    output_stride: int
    """Pixels of a side that one place of the coarsest map stands for; maps of image or pyramid pooling left out."""


class _Columns(NamedTuple):
    """Image columns that each column of a map depends on: first to last, both included; first > last is none."""

    first_N: np.ndarray
    last_N: np.ndarray
    coarsest: int
    """Columns of the narrowest map that it was computed from."""
    pooled: bool = False
    """Whether this is a map of a fixed number of places, whatever the image's size."""

    def taken(self, index_NT: np.ndarray, valid_NT: np.ndarray) -> _Columns:
        """The columns of a map of which column n takes those columns `index_NT[n]` of this one that are valid."""
        index_NT = index_NT.clip(0, len(self.first_N) - 1)
        first_N = np.where(valid_NT, self.first_N[index_NT], WIDTH).min(1)
        last_N = np.where(valid_NT, self.last_N[index_NT], -1).max(1)
        return self._replace(first_N=first_N, last_N=last_N)

    def everywhere(self, count: int, *, pooled: bool) -> _Columns:
        """`count` columns, each of which depends on all of these."""
        first_N, last_N = np.full(count, self.first_N.min()), np.full(count, self.last_N.max())
        return self._replace(first_N=first_N, last_N=last_N, pooled=pooled)

    def measured(self, output: torch.Tensor) -> _Columns:
        """These columns of a convolution's or a pooling's output, which may be the narrowest map so far."""
        return self if self.pooled else self._replace(coarsest=min(self.coarsest, output.shape[3]))


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows columns from the image through every operation."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Tensors are kept, so that no other one gets the address of one that is gone.
        self.known: dict[int, tuple[torch.Tensor, _Columns]] = {}
        self.record(image, _Columns(np.arange(WIDTH), np.arange(WIDTH), WIDTH))

    def record(self, tensor: torch.Tensor, columns: _Columns) -> None:
        self.known[id(tensor)] = (tensor, columns)

    def columns(self, tensor: torch.Tensor) -> _Columns:
        """Columns of a map B x C x H x N."""
        columns = self.known[id(tensor)][1]
        return columns.everywhere(tensor.shape[3], pooled=columns.pooled) if len(columns.first_N) == 1 else columns

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then note which columns its outputs depend on."""
        result = func(*args, **(kwargs or {}))
        inputs = [tensor for tensor in _tensors((*args, *(kwargs or {}).values())) if id(tensor) in self.known]
        outputs = list(_tensors([result]))
        if inputs and outputs:
            columns = RULES.get(func.overloadpacket.__name__, _pointwise)(self, inputs, outputs[0], args)
            for output in outputs:
                self.record(output, columns)
        return result


Rule = Callable[[_Tracer, list[torch.Tensor], torch.Tensor, tuple[Any, ...]], _Columns]


def trace(network: nn.Module, in_channels: int) -> View:
    """Receptive field and output stride of a network on the meta device, in evaluation."""
    stride = network.stride
    assert isinstance(stride, int)
    assert WIDTH % stride == 0
    image_BCHW = torch.empty(1, in_channels, 2 * stride, WIDTH, device="meta")
    with torch.no_grad(), _Tracer(image_BCHW) as tracer:
        logits_BKHW = network(image_BCHW)
    columns = tracer.columns(logits_BKHW)
    widest = int((columns.last_N - columns.first_N).max()) + 1
    return View(None if widest == WIDTH else widest, WIDTH // columns.coarsest)


def _pointwise(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    """A place depends on the same place of every input; a single column stands for all."""
    first, *others = every = [tracer.known[id(tensor)][1] for tensor in inputs]
    if not others:
        return first
    return _Columns(
        np.minimum.reduce(np.broadcast_arrays(*(columns.first_N for columns in every))),
        np.maximum.reduce(np.broadcast_arrays(*(columns.last_N for columns in every))),
        min(columns.coarsest for columns in every),
        all(columns.pooled for columns in every),
    )


def _convolution(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    source, weight, _bias, stride, padding, dilation, transposed, *_ = args
    if id(source) not in tracer.known:
        return _pointwise(tracer, inputs, output, args)
    columns = tracer.columns(source).measured(output)
    at_N1, tap_T = np.arange(output.shape[3])[:, None], np.arange(weight.shape[3]) * dilation[-1]
    if transposed:
        scaled_NT = at_N1 + padding[-1] - tap_T
        index_NT, fits_NT = scaled_NT // stride[-1], scaled_NT % stride[-1] == 0
    else:
        index_NT = at_N1 * stride[-1] - padding[-1] + tap_T
        fits_NT = np.ones_like(index_NT, dtype=bool)
    return columns.taken(index_NT, fits_NT & (index_NT >= 0) & (index_NT < source.shape[3]))


def _pooling(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    source, kernel, *more = args
    stride = (more[0] if more and more[0] else kernel)[-1]
    padding = more[1][-1] if len(more) > 1 else 0
    index_NT = np.arange(output.shape[3])[:, None] * stride - padding + np.arange(kernel[-1])
    columns = tracer.columns(source).measured(output)
    return columns.taken(index_NT, (index_NT >= 0) & (index_NT < source.shape[3]))


def _adaptive(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    width, count = args[0].shape[3], output.shape[3]
    begin_N, end_N = np.arange(count) * width // count, -(-(np.arange(count) + 1) * width // count)
    index_NT = np.broadcast_to(np.arange(width), (count, width))
    inside_NT = (index_NT >= begin_N[:, None]) & (index_NT < end_N[:, None])
    return tracer.columns(args[0]).taken(index_NT, inside_NT)._replace(pooled=True)


def _reduction(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    source = args[0]
    over = {dim % source.ndim for dim in (args[1] or range(source.ndim))} if len(args) > 1 else set(range(source.ndim))
    columns = tracer.known[id(source)][1]
    # A map over its columns, or tokens B x N x C over theirs; over channels or rows nothing changes.
    spatial = source.ndim - 1 if source.ndim == 4 else 1
    return columns.everywhere(1, pooled=True) if spatial in over else columns


def _nearest(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    """Nearest upsampling; max unpooling too, which puts a value somewhere into the square that it came from."""
    width, count = args[0].shape[3], output.shape[3]
    index_N1 = (np.arange(count) * width // count)[:, None]
    return tracer.columns(args[0]).taken(index_N1, np.ones_like(index_N1, dtype=bool))


def _linear(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    width, count, at_N = args[0].shape[3], output.shape[3], np.arange(output.shape[3])
    align_corners = args[2]
    place_N = at_N * (width - 1) / max(1, count - 1) if align_corners else (at_N + 0.5) * width / count - 0.5
    place_N = place_N.clip(0, width - 1)
    left_N = np.floor(place_N).astype(int)
    index_NT = np.stack([left_N, left_N + 1], 1)
    return tracer.columns(args[0]).taken(index_NT, np.stack([place_N >= 0, place_N > left_N], 1))


def _padding(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    source, amounts = args[0], args[1]
    if source.ndim != 4:
        return _pointwise(tracer, inputs, output, args)
    index_N1 = (np.arange(output.shape[3]) - amounts[0])[:, None]
    return tracer.columns(source).taken(index_N1, (index_N1 >= 0) & (index_N1 < source.shape[3]))


def _edge_padding(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    index_N1 = (np.arange(output.shape[3]) - args[1][0])[:, None]
    return tracer.columns(args[0]).taken(index_N1, np.ones_like(index_N1, dtype=bool))


def _concatenation(
    tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]
) -> _Columns:
    if output.ndim != 4 or (args[1] if len(args) > 1 else 0) % 4 != 3:
        return _pointwise(tracer, inputs, output, args)
    parts = [tracer.columns(tensor) for tensor in args[0]]
    first_N, last_N = (np.concatenate(side) for side in zip(*(part[:2] for part in parts), strict=True))
    return parts[0]._replace(first_N=first_N, last_N=last_N, coarsest=min(part.coarsest for part in parts))


def _slice(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    source: torch.Tensor = args[0]
    defaults: tuple[Any, ...] = (0, None, None, 1)
    dim, start, _end, step = (*args[1:], *defaults[len(args) - 1 :])
    if source.ndim != 4 or dim % 4 != 3:
        return _pointwise(tracer, inputs, output, args)
    start = 0 if start is None else start + source.shape[3] * (start < 0)
    index_N1 = (np.arange(output.shape[3]) * step + start)[:, None]
    return tracer.columns(source).taken(index_N1, np.ones_like(index_N1, dtype=bool))


def _reshape(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    """Maps to tokens and back keep their columns; a map made one long row of features loses them."""
    columns = tracer.known[id(args[0])][1]
    if args[0].ndim == 4 and output.ndim == 2:
        return columns.everywhere(1, pooled=columns.pooled)
    return columns


def _unshuffle(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    index_NT = np.arange(output.shape[3])[:, None] * args[1] + np.arange(args[1])
    return tracer.columns(args[0]).taken(index_NT, np.ones_like(index_NT, dtype=bool))


def _attention(tracer: _Tracer, inputs: list[torch.Tensor], output: torch.Tensor, args: tuple[Any, ...]) -> _Columns:
    """A product of two maps: every place of the first may take something from every place of the second."""
    if len(inputs) == 1:
        return _pointwise(tracer, inputs, output, args)
    query, *others = (tracer.known[id(tensor)][1] for tensor in inputs)
    seen = query._replace(
        first_N=np.concatenate([one.first_N for one in others]),
        last_N=np.concatenate([one.last_N for one in others]),
        coarsest=min(query.coarsest, *(one.coarsest for one in others)),
    )
    return seen.everywhere(len(query.first_N), pooled=query.pooled)


def _tensors(values: Iterable[Any]) -> Iterable[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling,
    "avg_pool2d": _pooling,
    "_adaptive_avg_pool2d": _adaptive,
    "mean": _reduction,
    "amax": _reduction,
    "upsample_nearest2d": _nearest,
    "pixel_shuffle": _nearest,
    "max_unpool2d": _nearest,
    "upsample_bilinear2d": _linear,
    "constant_pad_nd": _padding,
    "replication_pad2d": _edge_padding,
    "cat": _concatenation,
    "slice": _slice,
    "view": _reshape,
    "_unsafe_view": _reshape,
    "pixel_unshuffle": _unshuffle,
    "bmm": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
}
"""What an operation takes; all others are pointwise."""
