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
from maskwright.models.attention_unet import AttentionUNet
from maskwright.models.bisenetv2 import BiSeNetV2
from maskwright.models.compact import Compact
from maskwright.models.deeplab import DeepLab
from maskwright.models.deeplabv3 import DeepLabV3, DeepLabV3Plus
from maskwright.models.dilated import Dilated8, DilatedFCN
from maskwright.models.encoder_unet import EncoderUNet
from maskwright.models.encoders import PUBLISHED_WIDTH, TIMM_PREFIX
from maskwright.models.enet import ENet
from maskwright.models.fcn import FCN, EncoderDecoderFCN, FlatFCN
from maskwright.models.gcn import GCN
from maskwright.models.light_decoder import LightDecoder
from maskwright.models.pspnet import PSPNet
from maskwright.models.refinenet import RefineNet
from maskwright.models.resunet import ResUNet
from maskwright.models.segformer import segformer_b0, segformer_b1, segformer_b2
from maskwright.models.segmenter import Segmenter
from maskwright.models.segnet import SegNet
from maskwright.models.tiramisu import FCDenseNet
from maskwright.models.unet import UNet, UNetOriginal
from maskwright.models.unet_fc import UNetFC
from maskwright.models.unet_plus_plus import UNetPlusPlus
from maskwright.models.weights import load_encoder, load_pretrained, load_weights, save_weights

__all__ = [
    "MODELS",
    "Segmenter",
    "build",
    "load_encoder",
    "load_pretrained",
    "load_weights",
    "model_options",
    "save_weights",
    "unet",
]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "compact-1": partial(Compact, fold=1),
    "compact-2": partial(Compact, fold=2),
    "compact-4": partial(Compact, fold=4),
    "lite0-2": partial(LightDecoder, encoder="lite0", fold=2),
    "lite0-4": partial(LightDecoder, encoder="lite0", fold=4),
    "fcn-flat": FlatFCN,
    "fcn-encoder-decoder": EncoderDecoderFCN,
    "fcn32s": partial(FCN, skips=()),
    "fcn32s-alexnet": partial(FCN, skips=(), encoder="alexnet"),
    "fcn32s-vgg16": partial(FCN, skips=(), encoder="vgg16"),
    "fcn32s-resnet34": partial(FCN, skips=(), encoder="resnet34"),
    "fcn32s-resnet50": partial(FCN, skips=(), encoder="resnet50"),
    "fcn32s-resnet101": partial(FCN, skips=(), encoder="resnet101"),
    "fcn16s": partial(FCN, skips=(16,)),
    "fcn16s-alexnet": partial(FCN, skips=(16,), encoder="alexnet"),
    "fcn16s-vgg16": partial(FCN, skips=(16,), encoder="vgg16"),
    "fcn16s-resnet34": partial(FCN, skips=(16,), encoder="resnet34"),
    "fcn16s-resnet50": partial(FCN, skips=(16,), encoder="resnet50"),
    "fcn16s-resnet101": partial(FCN, skips=(16,), encoder="resnet101"),
    "fcn8s": partial(FCN, skips=(16, 8)),
    "fcn8s-alexnet": partial(FCN, skips=(16, 8), encoder="alexnet"),
    "fcn8s-vgg16": partial(FCN, skips=(16, 8), encoder="vgg16"),
    "fcn8s-resnet34": partial(FCN, skips=(16, 8), encoder="resnet34"),
    "fcn8s-resnet50": partial(FCN, skips=(16, 8), encoder="resnet50"),
    "fcn8s-resnet101": partial(FCN, skips=(16, 8), encoder="resnet101"),
    "unet": UNet,
    "unet-original": UNetOriginal,
    "unet-alexnet": partial(EncoderUNet, encoder="alexnet"),
    "unet-vgg16": partial(EncoderUNet, encoder="vgg16"),
    "unet-resnet18": partial(EncoderUNet, encoder="resnet18"),
    "unet-resnet34": partial(EncoderUNet, encoder="resnet34"),
    "unet-resnet50": partial(EncoderUNet, encoder="resnet50"),
    "unet-resnet101": partial(EncoderUNet, encoder="resnet101"),
    "unet-lite0": partial(EncoderUNet, encoder="lite0"),
    "unet-fc": UNetFC,
    "unet++": UNetPlusPlus,
    "resunet": ResUNet,
    "attention-unet": AttentionUNet,
    "segnet": SegNet,
    "tiramisu56": partial(FCDenseNet, depths=(4, 4, 4, 4, 4, 4), growth=12),
    "tiramisu67": partial(FCDenseNet, depths=(5, 5, 5, 5, 5, 5), growth=16),
    "tiramisu103": partial(FCDenseNet, depths=(4, 5, 7, 10, 12, 15), growth=16),
    "deeplabv1": partial(DeepLab, rates=(12,)),
    "deeplabv2": partial(DeepLab, rates=(6, 12, 18, 24)),
    "deeplabv2-resnet101": partial(DeepLab, rates=(6, 12, 18, 24), encoder="resnet101"),
    "deeplabv3": DeepLabV3,
    "deeplabv3-resnet101": partial(DeepLabV3, encoder="resnet101"),
    "deeplabv3+": DeepLabV3Plus,
    "deeplabv3+-resnet101": partial(DeepLabV3Plus, encoder="resnet101"),
    "dilated8": Dilated8,
    "fcn-dilated": DilatedFCN,
    "fcn-dilated-resnet101": partial(DilatedFCN, encoder="resnet101"),
    "pspnet": PSPNet,
    "pspnet-resnet101": partial(PSPNet, encoder="resnet101"),
    "refinenet": RefineNet,
    "refinenet-resnet101": partial(RefineNet, encoder="resnet101"),
    "gcn": GCN,
    "enet": ENet,
    "bisenetv2": BiSeNetV2,
    "segformer-b0": segformer_b0,
    "segformer-b1": segformer_b1,
    "segformer-b2": segformer_b2,
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
                f"{option} = {value!r} does not suit the network {name!r}. "
                f"Expected {_expected(allowed[option])}, for example {_shown(allowed[option])}."
            )
    return _maker(name)(in_channels, classes, **options)


def model_options(name: str) -> dict[str, Any]:
    """Options of a network with their defaults, without those that its name fixes.

    Raises ModelError for an unknown name.
    """
    make = _maker(name)
    fixed = {"in_channels", "classes"} | (set(make.keywords) if isinstance(make, partial) else set())
    return {key: parameter.default for key, parameter in inspect.signature(make).parameters.items() if key not in fixed}


def unet(pretrained_weights: Path | str | None = None, input_size: Sequence[int] = (256, 256, 1)) -> UNet:
    """The classic U-Net for two classes, called as in the well-known Keras listing.

    `input_size` is height, width, channels. Only the channels shape the network: it takes every height and width that
    16 divides, and `Segmenter` any at all. `pretrained_weights` is a file of this network, or one that Keras wrote for
    the listing (.h5, .hdf5, .keras); images for the latter are divided by 255, as there.

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
        load_pretrained(network, pretrained_weights)
    return network


def _maker(name: str) -> Callable[..., nn.Module]:
    """The row of the table, or the U-Net around a backbone of timm that the name asks for (`unet-timm:NAME`)."""
    if name.startswith(TIMM_UNET):
        return partial(EncoderUNet, encoder=name.removeprefix("unet-"), width=PUBLISHED_WIDTH)
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
