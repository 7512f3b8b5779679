"""Keras files of the classic U-Net, as weights of ours (extra `keras`, which is h5py; Keras itself is not needed).

Read are `.h5` and `.hdf5` of Keras 1 and 2, whole models or weights alone, `.weights.h5` of Keras 3, and the `.keras`
archive that holds one. A Keras kernel is H x W x I x O and torch's O x I x H x W. Layers are matched by their order,
which in the listing (github.com/zhixuhao/unet, `model.py`) is a chain: Keras numbers names through a session, so the
same network has others each time.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models.classic_unet import UNet
from maskwright.models.loading import KERAS_SUFFIXES

ARCHIVED = "model.weights.h5"
LISTED = 5

Layers = dict[str, list[np.ndarray]]


def load_keras(network: nn.Module, path: Path) -> None:
    """Read a Keras file of the classic U-Net into a network of the same widths, channels and classes.

    The listing's images are divided by 255: give the network values from 0 to 1. Raises ModelError if the network is no
    `unet`, h5py is not installed, the file cannot be read, or its layers are not the network's, which then stays as it
    was.
    """
    if type(network) is not UNet:
        raise ModelError(
            f"{path} is a Keras file, and the network is {type(network).__name__}. Keras weights "
            "are read into the classic U-Net, `unet`, and into no other.",
            file=path,
        )
    layers = read_layers(path)
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    expected = [[_keras_shape(conv), (conv.out_channels,)] for conv in convs]
    problems = [
        f"{name} has {_shown(found)}, expected {_shown(wanted)}"
        for (name, arrays), wanted in zip(layers.items(), expected, strict=False)
        if (found := [array.shape for array in arrays]) != wanted
    ]
    if len(layers) != len(convs) or problems:
        more = f" and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ModelError(
            f"{path} has {len(layers)} layers with weights, and this U-Net has {len(convs)} convolutions"
            + (f". In their order: {'; '.join(problems[:LISTED])}{more}" if problems else "")
            + ". Expected the layers of the Keras listing, with the same widths, channels and classes."
        )
    with torch.no_grad():
        for conv, (kernel_HWIO, bias_O) in zip(convs, layers.values(), strict=True):
            assert conv.bias is not None
            conv.weight.copy_(torch.from_numpy(kernel_HWIO.transpose(3, 2, 0, 1).copy()))
            conv.bias.copy_(torch.from_numpy(bias_O))


def read_layers(path: Path) -> Layers:
    """Layers with weights of a Keras file, in the model's order: for each, kernel and bias as float32 arrays.

    Raises ModelError if h5py is not installed, or the file holds no Keras weights.
    """
    try:
        import h5py
    except ImportError:
        raise ModelError(
            f"{path} needs h5py.", remedy="Install it with `pip install 'maskwright[keras]'`.", file=path
        ) from None
    if not path.is_file():
        raise ModelError(
            f"{path} does not exist.",
            expected=f"Expected a file of Keras weights ({', '.join(KERAS_SUFFIXES)}).",
            file=path,
        )
    try:
        content = io.BytesIO(zipfile.ZipFile(path).read(ARCHIVED)) if path.suffix == ".keras" else path
        with h5py.File(content, "r") as file:
            layers = _keras_3(file) or _keras_2(file.get("model_weights", file))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} cannot be read as Keras weights ({type(error).__name__}: {error}).",
            expected="Expected a file that `model.save` or `model.save_weights` of Keras wrote.",
            file=path,
        ) from None
    if not layers:
        raise ModelError(
            f"{path} holds no layers with weights.",
            expected="Expected what `model.save_weights` of Keras writes.",
            file=path,
        )
    return layers


def _keras_2(group: Any) -> Layers:
    """A group per layer, their order and that of each one's weights in attributes."""
    layers: Layers = {}
    for name in map(_text, group.attrs.get("layer_names", ())):
        arrays = [_array(group[name][_text(weight)]) for weight in group[name].attrs["weight_names"]]
        if arrays:
            layers[name] = arrays
    return layers


def _keras_3(file: Any) -> Layers:
    """A group per layer with its weights as `vars/0`, `vars/1`; HDF5 sorts the groups, so their numbers tell the order.

    Keras 2.13 to 2.15 keep the layers under another name.
    """
    group = file.get("layers", file.get("_layer_checkpoint_dependencies", {}))
    names = [name for name in group if "vars" in group[name] and len(group[name]["vars"])]
    names.sort(key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
    return {
        name: [_array(group[name]["vars"][str(place)]) for place in range(len(group[name]["vars"]))] for name in names
    }


def _array(dataset: Any) -> np.ndarray:
    array: np.ndarray = np.asarray(dataset, np.float32)
    return array


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _keras_shape(conv: nn.Conv2d) -> tuple[int, ...]:
    return (*conv.kernel_size, conv.in_channels, conv.out_channels)


def _shown(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "a number" for shape in shapes)
