"""Networks by name: the table, and building one; `models/summary.py` says what each costs.

A network takes normalised float32 B x C x H x W, H and W multiples of its `stride`, and returns logits B x K x H x W,
K >= 2. `segmenter.Segmenter` wraps it for native values of any size. Each network is one file; `paper` says where it
comes from.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from maskwright.errors import ModelError
from maskwright.models.compact import Compact
from maskwright.models.fcn import FCN, FlatFCN
from maskwright.models.segmenter import Segmenter
from maskwright.models.unet import UNet
from maskwright.models.weights import load_encoder, load_weights, save_weights

__all__ = [
    "MODELS",
    "Segmenter",
    "build",
    "load_encoder",
    "load_weights",
    "model_options",
    "save_weights",
    "unet",
]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "compact-1": partial(Compact, fold=1),
    "compact-2": partial(Compact, fold=2),
    "compact-4": partial(Compact, fold=4),
    "fcn-flat": FlatFCN,
    "fcn32s": partial(FCN, skips=()),
    "fcn32s-resnet34": partial(FCN, skips=(), encoder="resnet34"),
    "fcn32s-resnet50": partial(FCN, skips=(), encoder="resnet50"),
    "fcn16s": partial(FCN, skips=(16,)),
    "fcn16s-resnet34": partial(FCN, skips=(16,), encoder="resnet34"),
    "fcn16s-resnet50": partial(FCN, skips=(16,), encoder="resnet50"),
    "fcn8s": partial(FCN, skips=(16, 8)),
    "fcn8s-resnet34": partial(FCN, skips=(16, 8), encoder="resnet34"),
    "fcn8s-resnet50": partial(FCN, skips=(16, 8), encoder="resnet50"),
    "unet": UNet,
}
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def build(name: str, in_channels: int, classes: int, options: Mapping[str, Any] = NO_OPTIONS) -> nn.Module:
    """Build a network of the table with random weights, drawn from torch's global generator.

    `options` are the network's own arguments (`model_options` lists them); lists stand for tuples, as in TOML.
    Raises ModelError for an unknown name or option, a value of the wrong type, or numbers that make no network.
    """
    allowed = model_options(name)
    if in_channels < 1:
        raise ModelError(f"in_channels = {in_channels}: expected at least 1 input channel.")
    if not 2 <= classes <= 255:
        raise ModelError(f"classes = {classes}: expected 2 to 255; background is a class like any other.")
    for option, value in options.items():
        if option not in allowed:
            known = ", ".join(f"{key} (default {_shown(default)})" for key, default in allowed.items()) or "none"
            raise ModelError(
                f"The network {name!r} has no option {option!r}{_near(option, allowed)}. Options: {known}."
            )
        if not _fits(value, allowed[option]):
            raise ModelError(
                f"{option} = {value!r} does not suit the network {name!r}. "
                f"Expected {_expected(allowed[option])}, for example {_shown(allowed[option])}."
            )
    return MODELS[name](in_channels, classes, **options)


def model_options(name: str) -> dict[str, Any]:
    """Options of a network with their defaults, without those that its name fixes.

    Raises ModelError for an unknown name.
    """
    if name not in MODELS:
        raise ModelError(f"There is no network {name!r}{_near(name, MODELS)}. Networks: {', '.join(MODELS)}.")
    make = MODELS[name]
    fixed = {"in_channels", "classes"} | (set(make.keywords) if isinstance(make, partial) else set())
    return {key: parameter.default for key, parameter in inspect.signature(make).parameters.items() if key not in fixed}


def unet(pretrained_weights: Path | str | None = None, input_size: Sequence[int] = (256, 256, 1)) -> UNet:
    """The classic U-Net for two classes, called as in the well-known Keras listing.

    `input_size` is height, width, channels. Only the channels shape the network: it takes every height and width that
    16 divides, and `Segmenter` any at all. `pretrained_weights` is a .safetensors or .pth file of this network.

    The network takes B x C x H x W (channels first, unlike Keras) and returns logits B x 2 x H x W, which are [0, z];
    the listing's output is their sigmoid: `model(x)[:, 1:].sigmoid()`, the probability of class 1.

    Raises ModelError for an input size that 16 does not divide, or weights that do not fit.
    """
    if len(input_size) != 3 or min(input_size) < 1 or any(side % 16 for side in input_size[:2]):
        raise ModelError(
            f"input_size = {tuple(input_size)}: expected height, width, channels, with a height and a width that 16 "
            "divides (four poolings). For other sizes wrap the network in maskwright.models.Segmenter."
        )
    network = UNet(input_size[2], 2)
    if pretrained_weights is not None:
        load_weights(network, Path(pretrained_weights))
    return network


def _near(name: str, known: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, known, n=2)
    return f" (did you mean {' or '.join(map(repr, found))}?)" if found else ""


def _fits(value: Any, default: Any) -> bool:
    """Whether a value may stand where this default stands: the same kind, and counts of at least 1."""
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and len(value) > 0 and all(_fits(item, default[0]) for item in value)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default) and not (type(value) is int and value < 1)


def _expected(default: Any) -> str:
    if isinstance(default, tuple):
        return "a list of whole numbers from 1"
    names = {bool: "true or false", int: "a whole number from 1", float: "a number", str: "a name"}
    return names[type(default)]


def _shown(default: Any) -> str:
    return str(list(default)) if isinstance(default, tuple) else str(default)
