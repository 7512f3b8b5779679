"""Networks by name, and the segmenter around them; `models/table.py` has the table.

Importing this imports no network: a row's file is imported when it is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from maskwright.errors import ModelError
from maskwright.models.segmenter import Segmenter
from maskwright.models.table import MODELS, Row, build, model_options
from maskwright.models.weights import load_weights, save_weights

if TYPE_CHECKING:
    from maskwright.models.pretrained import load_encoder as load_encoder
    from maskwright.models.pretrained import load_pretrained as load_pretrained

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


def unet(pretrained_weights: Path | str | None = None, input_size: Sequence[int] = (256, 256, 1)) -> nn.Module:
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
    network = build("unet", input_size[2], 2)
    if pretrained_weights is not None:
        from maskwright.models.pretrained import load_pretrained

        load_pretrained(network, pretrained_weights)
    return network


def __getattr__(name: str) -> object:
    # What other programs' weights need is a third of this room, and most trainings start without them.
    if name in ("load_encoder", "load_pretrained"):
        return getattr(import_module("maskwright.models.pretrained"), name)
    raise AttributeError(f"module 'maskwright.models' has no attribute {name!r}; it has {', '.join(__all__)}")
