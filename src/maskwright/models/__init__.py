"""Networks by name: their table, and building one; `models/summary.py` says what each costs.

A network takes normalised float32 B x C x H x W, H and W multiples of its `stride`, and returns logits B x K x H x W,
K >= 2. `segmenter.Segmenter` wraps it for native values of any size. Each network is one file, imported when the
network is built; its `paper` says where it comes from.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import nn

from maskwright.errors import ModelError

if TYPE_CHECKING:
    from maskwright.models.classic_unet import unet as unet
    from maskwright.models.loading import load_weights as load_weights
    from maskwright.models.pretrained import load_encoder as load_encoder
    from maskwright.models.pretrained import load_pretrained as load_pretrained
    from maskwright.models.segmenter import Segmenter as Segmenter
    from maskwright.models.weights import save_weights as save_weights

__all__ = [
    "MODELS",
    "Row",
    "Segmenter",
    "build",
    "load_encoder",
    "load_pretrained",
    "load_weights",
    "model_options",
    "save_weights",
    "unet",
]

PUBLISHED_WIDTH = 64
"""First channels of an encoder with the widths that it was published with."""
TIMM_PREFIX = "timm:"
"""Before the name of a backbone of timm, which is built without a row in a table."""


@dataclass(frozen=True, init=False)
class Row:
    """What builds one network or encoder. Its file is imported when it is built, not when the table is read."""

    file: str
    """Below `maskwright.models`, without its suffix; a dot stands for a folder."""
    make: str
    """A class or function of that file."""
    sees: tuple[int | None, int] | None
    """Of a network: its receptive field in pixels per side, None for the whole image, and the stride of its coarsest
    map, image and pyramid pooling left out. Options other than widths change them."""
    numbers: Mapping[str, Any]
    """Arguments that the row fixes; they are no options of the network."""

    def __init__(self, file: str, make: str, *, sees: tuple[int | None, int] | None = None, **numbers: Any) -> None:
        for name, value in (("file", file), ("make", make), ("sees", sees), ("numbers", numbers)):
            object.__setattr__(self, name, value)

    @property
    def maker(self) -> Callable[..., Any]:
        """What the row names, with its numbers filled in."""
        return partial(getattr(import_module(f"maskwright.models.{self.file}"), self.make), **self.numbers)


MODELS: dict[str, Row] = {
    "compact-1": Row(file="compact", make="Compact", sees=(206, 16), fold=1),
    "compact-2": Row(file="compact", make="Compact", sees=(412, 32), fold=2),
    "compact-4": Row(file="compact", make="Compact", sees=(824, 64), fold=4),
    "lite0-2": Row(file="light_decoder", make="LightDecoder", sees=(979, 32), encoder="lite0", fold=2),
    "lite0-4": Row(file="light_decoder", make="LightDecoder", sees=(979, 32), encoder="lite0", fold=4),
    "fcn-flat": Row(file="fcn", make="FlatFCN", sees=(17, 1)),
    "fcn-encoder-decoder": Row(file="fcn", make="EncoderDecoderFCN", sees=(499, 32)),
    "fcn32s": Row(file="fcn", make="FCN", sees=(467, 32), skips=()),
    "fcn32s-alexnet": Row(file="fcn", make="FCN", sees=(387, 32), skips=(), encoder="alexnet"),
    "fcn32s-vgg16": Row(file="fcn", make="FCN", sees=(436, 32), skips=(), encoder="vgg16"),
    "fcn32s-resnet34": Row(file="fcn", make="FCN", sees=(931, 32), skips=(), encoder="resnet34"),
    "fcn32s-resnet50": Row(file="fcn", make="FCN", sees=(459, 32), skips=(), encoder="resnet50"),
    "fcn32s-resnet101": Row(file="fcn", make="FCN", sees=(1003, 32), skips=(), encoder="resnet101"),
    "fcn16s": Row(file="fcn", make="FCN", sees=(499, 32), skips=(16,)),
    "fcn16s-alexnet": Row(file="fcn", make="FCN", sees=(419, 32), skips=(16,), encoder="alexnet"),
    "fcn16s-vgg16": Row(file="fcn", make="FCN", sees=(468, 32), skips=(16,), encoder="vgg16"),
    "fcn16s-resnet34": Row(file="fcn", make="FCN", sees=(963, 32), skips=(16,), encoder="resnet34"),
    "fcn16s-resnet50": Row(file="fcn", make="FCN", sees=(491, 32), skips=(16,), encoder="resnet50"),
    "fcn16s-resnet101": Row(file="fcn", make="FCN", sees=(1035, 32), skips=(16,), encoder="resnet101"),
    "fcn8s": Row(file="fcn", make="FCN", sees=(499, 32), skips=(8, 16)),
    "fcn8s-alexnet": Row(file="fcn", make="FCN", sees=(419, 32), skips=(8, 16), encoder="alexnet"),
    "fcn8s-vgg16": Row(file="fcn", make="FCN", sees=(468, 32), skips=(8, 16), encoder="vgg16"),
    "fcn8s-resnet34": Row(file="fcn", make="FCN", sees=(963, 32), skips=(8, 16), encoder="resnet34"),
    "fcn8s-resnet50": Row(file="fcn", make="FCN", sees=(491, 32), skips=(8, 16), encoder="resnet50"),
    "fcn8s-resnet101": Row(file="fcn", make="FCN", sees=(1035, 32), skips=(8, 16), encoder="resnet101"),
    "unet": Row(file="classic_unet", make="UNet", sees=(220, 16)),
    "unet-original": Row(file="classic_unet", make="UNetOriginal", sees=(204, 16)),
    "unet-alexnet": Row(file="encoder_unet", make="EncoderUNet", sees=(323, 32), encoder="alexnet"),
    "unet-vgg16": Row(file="encoder_unet", make="EncoderUNet", sees=(340, 32), encoder="vgg16"),
    "unet-resnet18": Row(file="encoder_unet", make="EncoderUNet", sees=(563, 32), encoder="resnet18"),
    "unet-resnet34": Row(file="encoder_unet", make="EncoderUNet", sees=(1027, 32), encoder="resnet34"),
    "unet-resnet50": Row(file="encoder_unet", make="EncoderUNet", sees=(555, 32), encoder="resnet50"),
    "unet-resnet101": Row(file="encoder_unet", make="EncoderUNet", sees=(1099, 32), encoder="resnet101"),
    "unet-lite0": Row(file="encoder_unet", make="EncoderUNet", sees=(979, 32), encoder="lite0"),
    "unet-fc": Row(file="unet_fc", make="UNetFC", sees=(None, 16)),
    "unet++": Row(file="unet_plus_plus", make="UNetPlusPlus", sees=(204, 16)),
    "resunet": Row(file="resunet", make="ResUNet", sees=(79, 8)),
    "attention-unet": Row(file="attention_unet", make="AttentionUNet", sees=(236, 16)),
    "segnet": Row(file="segnet", make="SegNet", sees=(404, 32)),
    "tiramisu56": Row(file="tiramisu", make="FCDenseNet", sees=(826, 32), depths=(4, 4, 4, 4, 4, 4), growth=12),
    "tiramisu67": Row(file="tiramisu", make="FCDenseNet", sees=(1016, 32), depths=(5, 5, 5, 5, 5, 5), growth=16),
    "tiramisu103": Row(file="tiramisu", make="FCDenseNet", sees=(2294, 32), depths=(4, 5, 7, 10, 12, 15), growth=16),
    "deeplabv1": Row(file="deeplab", make="DeepLab", sees=(420, 8), rates=(12,)),
    "deeplabv2": Row(file="deeplab", make="DeepLab", sees=(612, 8), rates=(6, 12, 18, 24)),
    "deeplabv2-resnet101": Row(
        file="deeplab", make="DeepLab", sees=(1363, 8), rates=(6, 12, 18, 24), encoder="resnet101"
    ),
    "deeplabv3": Row(file="deeplabv3", make="DeepLabV3", sees=(None, 8)),
    "deeplabv3-resnet101": Row(file="deeplabv3", make="DeepLabV3", sees=(None, 8), encoder="resnet101"),
    "deeplabv3+": Row(file="deeplabv3", make="DeepLabV3Plus", sees=(None, 16)),
    "deeplabv3+-resnet101": Row(file="deeplabv3", make="DeepLabV3Plus", sees=(None, 16), encoder="resnet101"),
    "dilated8": Row(file="dilated", make="Dilated8", sees=(916, 8)),
    "fcn-dilated": Row(file="dilated", make="DilatedFCN", sees=(451, 8)),
    "fcn-dilated-resnet101": Row(file="dilated", make="DilatedFCN", sees=(995, 8), encoder="resnet101"),
    "pspnet": Row(file="pspnet", make="PSPNet", sees=(None, 8)),
    "pspnet-resnet101": Row(file="pspnet", make="PSPNet", sees=(None, 8), encoder="resnet101"),
    "refinenet": Row(file="refinenet", make="RefineNet", sees=(2379, 32)),
    "refinenet-resnet101": Row(file="refinenet", make="RefineNet", sees=(2923, 32), encoder="resnet101"),
    "gcn": Row(file="gcn", make="GCN", sees=(1195, 32)),
    "enet": Row(file="enet", make="ENet", sees=(1249, 8)),
    "bisenetv2": Row(file="bisenetv2", make="BiSeNetV2", sees=(None, 32)),
    "segformer-b0": Row(file="segformer", make="segformer_b0", sees=(None, 32)),
    "segformer-b1": Row(file="segformer", make="segformer_b1", sees=(None, 32)),
    "segformer-b2": Row(file="segformer", make="segformer_b2", sees=(None, 32)),
}
TIMM_UNET = f"unet-{TIMM_PREFIX}"
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
                f"{option} = {value!r} does not suit the network {name!r}.",
                expected=f"Expected {_expected(allowed[option])}, for example {_shown(allowed[option])}.",
            )
    network: nn.Module = row_of(name).maker(in_channels, classes, **options)
    return network


def model_options(name: str) -> dict[str, Any]:
    """Options of a network with their defaults, without those that its name fixes.

    Raises ModelError for an unknown name.
    """
    row = row_of(name)
    fixed = {"in_channels", "classes", *row.numbers}
    parameters = inspect.signature(row.maker).parameters
    return {key: parameter.default for key, parameter in parameters.items() if key not in fixed}


def row_of(name: str) -> Row:
    """The row of the table, or that of the U-Net around a backbone of timm that the name asks for (`unet-timm:NAME`).

    Raises ModelError for an unknown name.
    """
    if name.startswith(TIMM_UNET):
        return Row(file="encoder_unet", make="EncoderUNet", encoder=name.removeprefix("unet-"), width=PUBLISHED_WIDTH)
    if name not in MODELS:
        raise ModelError(
            f"There is no network {name!r}{_near(name, MODELS)}. Networks: {', '.join(MODELS)}, {TIMM_UNET}NAME."
        )
    return MODELS[name]


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


_HOME = {
    "Segmenter": "segmenter",
    "load_encoder": "pretrained",
    "load_pretrained": "pretrained",
    "load_weights": "loading",
    "save_weights": "weights",
    "unet": "classic_unet",
}
"""Public names of the room's other files, each imported when it is first asked for."""


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"maskwright.models.{_HOME[name]}"), name)
    raise AttributeError(f"module 'maskwright.models' has no attribute {name!r}; it has {', '.join(__all__)}")
