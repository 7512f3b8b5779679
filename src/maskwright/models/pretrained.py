"""Weights to start training from: those of an earlier run, of torchvision, timm, the Hugging Face Hub, or Keras.

Each network and encoder knows the names that other programs give its tensors (`convert`); what is common to all is
here. Loading is strict, as in `models/weights.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

import torch
from torch import nn

from maskwright import runs
from maskwright.models.encoders import Encoder
from maskwright.models.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD
from maskwright.models.loading import HUB_SCHEME, KERAS_SUFFIXES, is_run, load_state, of_network, read_weights
from maskwright.models.transfer import move_classes, without_prefixes

Kind = Literal["torchvision", "timm", "tensorflow", "keras", "hugging face", "maskwright"]
TORCHVISION_SCORES = ("classifier.4", "aux_classifier.4")
"""The layers that score classes in torchvision's segmentation networks, and in ours that have their names."""

RESNET_LICENCE = "torchvision: BSD-3-Clause; timm: Apache-2.0 for most, see the file's page"
LITE_LICENCE = "Apache-2.0"
SEGFORMER_LICENCE = "NVIDIA Source Code License: research and evaluation only"
LICENCES = {
    "alexnet": "torchvision: BSD-3-Clause",
    "vgg16": "torchvision and timm: BSD-3-Clause",
    "dilated8": "torchvision (vgg16): BSD-3-Clause",
    "segnet": "torchvision (vgg16_bn): BSD-3-Clause",
    "resnet18": RESNET_LICENCE,
    "resnet34": RESNET_LICENCE,
    "resnet50": RESNET_LICENCE,
    "resnet101": RESNET_LICENCE,
    "lite0": LITE_LICENCE,
    "lite1": LITE_LICENCE,
    "lite2": LITE_LICENCE,
    "segformer-b0": SEGFORMER_LICENCE,
    "segformer-b1": SEGFORMER_LICENCE,
    "segformer-b2": SEGFORMER_LICENCE,
}
"""Licences of published weights, by encoder or network. Data sets that weights were trained on have terms of their own:
ImageNet's are for research."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where weights came from, and the normalisation that they were trained with."""

    kind: Kind
    mean: tuple[float, ...] | None
    """Per input channel of the network; None if the file does not tell."""
    std: tuple[float, ...] | None
    native: bool
    """Whether `mean` and `std` are native pixel values; else they are fractions of the images' type's range, 0 to 1."""
    description: str
    """One sentence without its full stop, for the plan."""
    sha256: str = ""
    """Of the file, in hexadecimal; empty where it was not checked."""
    licence: str = ""
    """Empty where it is not known for this very file."""

    def statistics(self, top: float) -> tuple[list[float], list[float]]:
        """Mean and std in native values, for images whose type's largest value is `top`; `mean` is not None."""
        assert self.mean is not None
        assert self.std is not None
        unit = 1.0 if self.native else top
        return [unit * value for value in self.mean], [unit * value for value in self.std]


UNKNOWN = Origin(
    kind="maskwright",
    mean=None,
    std=None,
    native=True,
    description="weights of this network, without the statistics of the images that they were trained on",
)


def load_pretrained(network: nn.Module, path: Path | str, classes: Sequence[str] = ()) -> Origin:
    """Read weights to start training from: those of the whole network, or of its encoder alone.

    `path` is a file, a run folder, or a name on the Hugging Face Hub: `hf://org/repo` or `hf://org/repo/file`. Known
    are weights of our own runs; Keras files of the classic U-Net; files whose names the network's own `convert` knows;
    and ImageNet checkpoints of torchvision and timm for the network's `encoder`, see `load_encoder`. A prefix before
    all names, or before all of the encoder's, is taken off. With the names of the network's `classes`, rows of a run's
    last layers go to the classes of the same name; others start anew. Returns what is known of their
    normalisation. Raises ModelError as `load_weights`, `load_encoder` and `hub.fetch` do.
    """
    path = _file(path)
    if path.suffix in KERAS_SUFFIXES:
        from maskwright.models.keras_weights import load_keras

        load_keras(network, path)
        scaling = "Keras weights of the classic U-Net, and its scaling of images to 0..1"
        return _origin("keras", ((0.0,), (1.0,)), network.state_dict(), scaling)
    whole = read_weights(path)
    encoder = getattr(network, "encoder", None)
    convert = getattr(network, "convert", None)
    for prefix, state in without_prefixes(whole):
        told = f"; every name without {prefix!r}" if prefix else ""
        if is_run(network, state):
            origin = _load_run(network, state, path, classes)
        elif convert is not None and (converted := convert(state)) is not None:
            kind: Kind = "torchvision" if "backbone.conv1.weight" in state else "hugging face"
            origin = _load_whole(network, converted, path, kind)
        elif state.keys() == network.state_dict().keys():
            load_state(network, state, path)
            origin = UNKNOWN
        elif isinstance(encoder, Encoder) and _suits(encoder, state):
            origin = _load_encoder(encoder, state, path)
        else:
            continue
        return replace(origin, description=origin.description + told)
    if isinstance(encoder, Encoder) and not any(name.startswith("encoder.") for name in whole):
        return _load_encoder(encoder, whole, path)
    load_state(network, whole, path)
    return UNKNOWN


def load_encoder(encoder: Encoder, path: Path | str) -> Origin:
    """Read an ImageNet checkpoint of torchvision or timm into one of our encoders.

    The classifier is left out, by its exact names. The first convolution, made for RGB, is fitted to the encoder's
    channels: one channel gets the sum over RGB, which is what the checkpoint computes of a grey image; C others get the
    RGB weights in turn times 3 / C, which keeps the size of the response. Everything else must match; only the batch
    norms' counters may be missing, because checkpoints from before 2018 have none. Returns the normalisation of the
    checkpoint, fitted to the channels in the same way: one channel gets the mean over RGB, others RGB's in turn.

    `path` as in `load_pretrained`; raises ModelError as `load_weights` and `hub.fetch` do.
    """
    path = _file(path)
    return _load_encoder(encoder, read_weights(path), path)


def _file(path: Path | str) -> Path:
    if str(path).startswith(HUB_SCHEME):
        from maskwright.models.hub import fetch

        return fetch(path)
    path = Path(path)
    return path / runs.WEIGHTS if path.is_dir() else path


def _statistics(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation that stand beside weights of the hub, for values from 0 to 1; None if none do."""
    from maskwright.models.hub import image_statistics

    return image_statistics(path)


def _suits(encoder: Encoder, state: dict[str, torch.Tensor]) -> bool:
    own = encoder.state_dict()
    return _fitted(encoder.convert(state), own).keys() == own.keys()


def _load_run(network: nn.Module, state: dict[str, torch.Tensor], path: Path, classes: Sequence[str]) -> Origin:
    """Load what a run wrote; its statistics are of use unless each image was normalised by its own."""
    beside = path.with_name(runs.RUN)
    run = runs.read_json(beside) if beside.is_file() else {}
    tensors, told = of_network(state), ""
    before = [one.get("name") for one in run.get("classes", {}).get("class", ())]
    if classes and before and before != list(classes):
        moved = move_classes(tensors, network.state_dict(), run["network"], before, classes)
        tensors = moved.state
        told = f"; rows of the last layer ({', '.join(moved.layers)}) by the classes' names: " + "; ".join(
            f"{what} {', '.join(names)}"
            for what, names in (("kept", moved.kept), ("starting anew", moved.anew))
            if names
        )
    load_state(network, tensors, path)
    per_image = run.get("network", {}).get("per_image", False)
    known = "mean" in state and not per_image
    mean, std = (tuple(state[name].flatten().tolist()) if known else None for name in ("mean", "std"))
    return Origin(
        kind="maskwright",
        mean=mean,
        std=std,
        native=True,
        description="weights of an earlier run"
        + (", and the mean and standard deviation of its images" if known else "")
        + told,
    )


def _load_whole(network: nn.Module, converted: dict[str, torch.Tensor], path: Path, kind: Kind) -> Origin:
    """Load a whole network of another program, whose names are ours by now.

    A layer that scores classes keeps its start in `network` where the file has other classes.
    """
    own = network.state_dict()
    for name in (f"{layer}.{part}" for layer in TORCHVISION_SCORES for part in ("weight", "bias")):
        if name in own and name in converted and len(own[name]) != len(converted[name]):
            converted[name] = own[name]
    kept = {name for name, tensor in converted.items() if name in own and tensor.data_ptr() == own[name].data_ptr()}
    load_state(network, _fitted(converted, own), path)
    source = "torchvision" if kind == "torchvision" else "the Hugging Face Hub"
    anew = f"; starting anew: {', '.join(_modules(kept, own))}" if kept else ""
    return _origin(
        kind,
        _statistics(path) or (IMAGENET_MEAN, IMAGENET_STD),
        own,
        f"weights of {source} for this network, and their normalisation{anew}",
    )


def _load_encoder(encoder: Encoder, loaded: dict[str, torch.Tensor], path: Path) -> Origin:
    own = encoder.state_dict()
    load_state(encoder, _fitted(encoder.convert(loaded), own), path)
    timm_s = path.suffix == ".safetensors" or "head.fc.weight" in loaded
    kind: Kind = encoder.publisher or ("timm" if timm_s else "torchvision")
    return _origin(
        kind,
        _statistics(path) or (encoder.mean, encoder.std),
        own,
        f"ImageNet weights of {kind} for the encoder, and their normalisation",
    )


def _origin(
    kind: Kind, statistics: tuple[Sequence[float], Sequence[float]], own: Mapping[str, torch.Tensor], description: str
) -> Origin:
    """The origin of weights made for RGB or grey, whose statistics are fractions of the range."""
    channels = own[_first_convolution(own)].shape[1]
    mean, std = (_per_channel(values, channels) for values in statistics)
    return Origin(kind=kind, mean=mean, std=std, native=False, description=description)


def _fitted(state: dict[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A foreign state with counters of batch norm where it has none, and its RGB weights fitted to other channels."""
    counters = {name: tensor for name, tensor in own.items() if name.endswith("num_batches_tracked")}
    fitted = counters | state
    first = _first_convolution(own)
    if first in fitted and fitted[first].ndim == 4 and fitted[first].shape[1] == 3:
        fitted[first] = _fit_channels(fitted[first], own[first].shape[1])
    return fitted


def _modules(names: Set[str], own: Mapping[str, torch.Tensor]) -> list[str]:
    """The largest modules all of whose tensors are among `names`, in the network's order."""
    found: dict[str, None] = {}
    for name in own:
        prefixes = [name[: place + 1] for place, letter in enumerate(name) if letter == "."]
        whole = (prefix for prefix in prefixes if all(other in names for other in own if other.startswith(prefix)))
        found[next(whole, "").removesuffix(".")] = None
    return [name for name in found if name]


def _first_convolution(own: Mapping[str, torch.Tensor]) -> str:
    """The weight that sees the image's channels, O x C x k x k: every network here begins with it."""
    return next(name for name, tensor in own.items() if tensor.ndim == 4)


def _fit_channels(weight_O3HW: torch.Tensor, channels: int) -> torch.Tensor:
    """RGB weights of a first convolution -> weights for another number of channels."""
    if channels == 3:
        return weight_O3HW
    if channels == 1:
        return weight_O3HW.sum(1, keepdim=True)
    return weight_O3HW[:, [channel % 3 for channel in range(channels)]] * (3 / channels)


def _per_channel(rgb: Sequence[float], channels: int) -> tuple[float, ...]:
    """A statistic of RGB, or one for all channels -> of other channels, as `_fit_channels` takes their weights."""
    return (fmean(rgb),) if channels == 1 else tuple(rgb[channel % len(rgb)] for channel in range(channels))
