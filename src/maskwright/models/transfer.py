"""From one set of names to another: prefixes that other tools put before tensors' names, and classes that move.

Shapes: K classes of the network, K' of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from maskwright.models import build

State = Mapping[str, torch.Tensor]


def without_prefixes(state: State) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """A state as it is, without the prefixes that all names share, and the parts that a prefix tells apart.

    Yields each with the prefix that was taken off: "module." of DataParallel, "model." of Lightning, "_orig_mod." of
    torch.compile; "backbone." or "encoder." of an encoder beside a decoder.
    """
    yield "", dict(state)
    taken, rest = "", dict(state)
    while len(firsts := {name.partition(".")[0] for name in rest}) == 1 and all("." in name for name in rest):
        first = f"{firsts.pop()}."
        taken, rest = taken + first, {name.removeprefix(first): tensor for name, tensor in rest.items()}
        yield taken, rest
    for first in dict.fromkeys(name.partition(".")[0] for name in rest if "." in name):
        part = {name.removeprefix(f"{first}."): tensor for name, tensor in rest.items() if name.startswith(f"{first}.")}
        yield f"{taken}{first}.", part


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A state whose rows of classes are those of other classes."""

    state: dict[str, torch.Tensor]
    kept: tuple[str, ...]
    """Names of the classes that both have."""
    anew: tuple[str, ...]
    """Names of those that start anew."""
    layers: tuple[str, ...]
    """What scores the classes."""


def move_classes(
    state: State, own: State, description: Mapping[str, Any], before: Sequence[str], now: Sequence[str]
) -> Moved:
    """The tensors of an earlier run with the rows of classes where a network with the classes `now` has them.

    Parameters
    ----------
    state, own
        The run's tensors, and the network's own, which classes that are new to it keep.
    description
        The run's `network`, of `run.json`.
    before, now
        Names of the classes, K' and K.
    """
    places = class_axes(description)
    pairs = [(before.index(name), place) for place, name in enumerate(now) if name in before]
    moved = dict(state)
    for name, axes in places.items():
        if name not in own or name not in state or own[name].ndim != state[name].ndim:
            continue
        result = own[name].clone()
        to, source = [torch.arange(length) for length in result.shape], state[name]
        for axis, block in axes.items():
            came, goes = (
                torch.tensor([pair[side] * block + row for pair in pairs for row in range(block)], dtype=torch.int64)
                for side in (0, 1)
            )
            source, to[axis] = source.index_select(axis, came), goes
        if source.numel() and source.shape == tuple(map(len, to)):
            result[torch.meshgrid(*to, indexing="ij")] = source
        moved[name] = result
    layers = tuple(dict.fromkeys(name.rpartition(".")[0] for name in places))
    return Moved(
        state=moved,
        kept=tuple(name for name in now if name in before),
        anew=tuple(name for name in now if name not in before),
        layers=layers,
    )


def class_axes(description: Mapping[str, Any]) -> dict[str, dict[int, int]]:
    """For each tensor of a network that has rows for classes: its axes of classes, with the rows of one class.

    Found by building the network, without memory, for another number of classes too. 0 rows stand for an axis that
    holds other things as well: then nobody knows which rows are whose.
    """
    name, channels, classes = description["name"], description["channels"], description["classes"]
    other = classes + 1 if classes < 255 else classes - 1
    with torch.device("meta"):
        one, two = (build(name, channels, count, description["options"]).state_dict() for count in (classes, other))
    found: dict[str, dict[int, int]] = {}
    for key, tensor in one.items():
        for axis, (length, changed) in enumerate(zip(tensor.shape, two[key].shape, strict=True)):
            if length != changed:
                rows = length // classes
                found.setdefault(key, {})[axis] = rows if rows * classes == length and rows * other == changed else 0
    return found
