"""Weights on disk: ours in safetensors, other people's in safetensors, `.pth` or Keras files; nothing is unpickled.

Loading is strict and all or nothing: names and shapes must match, or a ModelError lists what does not, and the module
stays as it was. Each network and encoder knows the names that other programs give its tensors (`convert`); what is
common to all is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import safetensors.torch
import torch
from torch import nn

from maskwright import runs
from maskwright.errors import ModelError
from maskwright.models import hub, keras_weights
from maskwright.models.encoders import Encoder
from maskwright.models.encoders.efficientnet_lite import EfficientNetLite
from maskwright.models.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD
from maskwright.models.encoders.timm import TimmEncoder
from maskwright.models.tensor_files import refuse_not_finite, write_tensors
from maskwright.models.transfer import move_classes, without_prefixes

Kind = Literal["torchvision", "timm", "tensorflow", "keras", "hugging face", "maskwright"]
TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")
KEYS = ("state_dict", "model", "model_state_dict", "model_state", "network", "net", "params")
"""Where training programs put the tensors in what they save."""
LISTED = 5
NETWORK = "network."
"""What a Segmenter's state has before the names of its network's tensors."""
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
    """Whether `mean` and `std` are native pixel values; else they are shares of the images' type's range, 0 to 1."""
    description: str
    """One sentence without its full stop, for the plan."""
    sha256: str = ""
    """Of the file, in hexadecimal; empty where it was not checked."""
    licence: str = ""
    """Empty where it is not known for this very file."""

    def statistics(self, top: float) -> tuple[list[float], list[float]]:
        """Mean and deviation in native values, for images whose type's largest value is `top`; `mean` is not None."""
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


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and persistent buffers as safetensors, atomically.

    Raises ModelError if some are not finite, OSError if they cannot be written.
    """
    # Clones, because safetensors refuses tensors that share memory, and takes no other layout than contiguous.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    refuse_not_finite(state, Path(path))
    write_tensors(Path(path), state)


def load_weights(module: nn.Module, path: Path) -> None:
    """Read a file that `save_weights` or `torch.save(module.state_dict())` wrote into a module of the same make.

    Raises ModelError if the file cannot be read, or lists the names that are missing, unexpected or of another shape.
    """
    state = read_weights(Path(path))
    _load(module, _of_network(state) if _is_run(module, state) else state, Path(path))


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
    if path.suffix in keras_weights.SUFFIXES:
        keras_weights.load_keras(network, path)
        scaling = "Keras weights of the classic U-Net, and its scaling of images to 0..1"
        return _origin("keras", ((0.0,), (1.0,)), network.state_dict(), scaling)
    whole = read_weights(path)
    encoder = getattr(network, "encoder", None)
    convert = getattr(network, "convert", None)
    for prefix, state in without_prefixes(whole):
        told = f"; every name without {prefix!r}" if prefix else ""
        if _is_run(network, state):
            origin = _load_run(network, state, path, classes)
        elif convert is not None and (converted := convert(state)) is not None:
            kind: Kind = "torchvision" if "backbone.conv1.weight" in state else "hugging face"
            origin = _load_whole(network, converted, path, kind)
        elif state.keys() == network.state_dict().keys():
            _load(network, state, path)
            origin = UNKNOWN
        elif isinstance(encoder, Encoder) and _suits(encoder, state):
            origin = _load_encoder(encoder, state, path)
        else:
            continue
        return replace(origin, description=origin.description + told)
    if isinstance(encoder, Encoder) and not any(name.startswith("encoder.") for name in whole):
        return _load_encoder(encoder, whole, path)
    _load(network, whole, path)
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


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a `.safetensors` file or a torch checkpoint, on the CPU.

    A torch checkpoint may hold the state dictionary itself, or hold it under one of `KEYS`. It is read with
    `weights_only=True`, which runs no code from the file. Raises ModelError if there is no such content.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist. Expected a file of weights (.safetensors or .pth).")
    if path.suffix not in (".safetensors", *TORCH_SUFFIXES) and not path.name.endswith(".pth.tar"):
        raise ModelError(
            f"{path} has the suffix {path.suffix!r}. Expected .safetensors, or {', '.join(TORCH_SUFFIXES)} for a "
            "torch checkpoint. Weights of other programs must be converted first."
        )
    loaded: Any
    try:
        if path.suffix == ".safetensors":
            loaded = safetensors.torch.load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's restricted unpickler fails on a damaged file with whatever it stumbles over
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(
            f"{path} cannot be read as weights ({type(error).__name__}: {reason}). "
            "Expected plain tensors by name; a checkpoint with other objects in it must be saved anew as a state_dict."
        ) from None
    for key in KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ModelError(
            f"{path} holds {type(loaded).__name__}, not tensors by name. "
            "Expected a state_dict; save one with torch.save(model.state_dict(), path)."
        )
    return dict(loaded)


def _file(path: Path | str) -> Path:
    if hub.is_hub_name(path):
        return hub.fetch(path)
    path = Path(path)
    return path / runs.WEIGHTS if path.is_dir() else path


def _suits(encoder: Encoder, state: dict[str, torch.Tensor]) -> bool:
    own = encoder.state_dict()
    return _fitted(encoder.convert(state), own).keys() == own.keys()


def _load_run(network: nn.Module, state: dict[str, torch.Tensor], path: Path, classes: Sequence[str]) -> Origin:
    """Load what a run wrote; its statistics are of use unless each image was normalised by its own."""
    beside = path.with_name(runs.RUN)
    run = runs.read_json(beside) if beside.is_file() else {}
    tensors, told = _of_network(state), ""
    before = [one.get("name") for one in run.get("classes", {}).get("class", ())]
    if classes and before and before != list(classes):
        moved = move_classes(tensors, network.state_dict(), run["network"], before, classes)
        tensors = moved.state
        told = f"; rows of the last layer ({', '.join(moved.layers)}) by the classes' names: " + "; ".join(
            f"{what} {', '.join(names)}"
            for what, names in (("kept", moved.kept), ("starting anew", moved.anew))
            if names
        )
    _load(network, tensors, path)
    per_image = run.get("network", {}).get("per_image", False)
    known = "mean" in state and not per_image
    mean, std = (tuple(state[name].flatten().tolist()) if known else None for name in ("mean", "std"))
    return Origin(
        kind="maskwright",
        mean=mean,
        std=std,
        native=True,
        description="weights of an earlier run"
        + (", and the mean and deviation of its images" if known else "")
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
    _load(network, _fitted(converted, own), path)
    source = "torchvision" if kind == "torchvision" else "the Hugging Face Hub"
    anew = f"; starting anew: {', '.join(_modules(kept, own))}" if kept else ""
    return _origin(
        kind,
        hub.image_statistics(path) or (IMAGENET_MEAN, IMAGENET_STD),
        own,
        f"weights of {source} for this network, and their normalisation{anew}",
    )


def _load_encoder(encoder: Encoder, loaded: dict[str, torch.Tensor], path: Path) -> Origin:
    own = encoder.state_dict()
    _load(encoder, _fitted(encoder.convert(loaded), own), path)
    timm_s = isinstance(encoder, TimmEncoder) or path.suffix == ".safetensors" or "head.fc.weight" in loaded
    kind: Kind = "tensorflow" if isinstance(encoder, EfficientNetLite) else "timm" if timm_s else "torchvision"
    return _origin(
        kind,
        hub.image_statistics(path) or (encoder.mean, encoder.std),
        own,
        f"ImageNet weights of {kind} for the encoder, and their normalisation",
    )


def _origin(
    kind: Kind, statistics: tuple[Sequence[float], Sequence[float]], own: Mapping[str, torch.Tensor], description: str
) -> Origin:
    """The origin of weights made for RGB or grey, whose statistics are shares of the range."""
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


def _is_run(module: nn.Module, state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state is that of a Segmenter, as in a run folder, and the module is a bare network."""
    return any(name.startswith(NETWORK) for name in state) and not any(
        name.startswith(NETWORK) for name in module.state_dict()
    )


def _of_network(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's part of a Segmenter's state; mean and deviation belong to the images it was trained on."""
    return {name.removeprefix(NETWORK): tensor for name, tensor in state.items() if name not in ("mean", "std")}


def _load(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    expected = module.state_dict()
    problems = [
        _listed("missing", [name for name in expected if name not in state]),
        _listed("unexpected", [name for name in state if name not in expected]),
        _listed(
            "of another shape",
            [
                f"{name} (file {_shape(state[name])}, network {_shape(tensor)})"
                for name, tensor in expected.items()
                if name in state and state[name].shape != tensor.shape
            ],
        ),
    ]
    refuse_not_finite(state, path)
    if any(problems):
        raise ModelError(
            f"{path} does not fit this {type(module).__name__} of {len(expected)} tensors: "
            f"{'; '.join(filter(None, problems))}. Expected weights of the same network with the same channels, "
            "classes and options."
        )
    module.load_state_dict(state)


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what}: {', '.join(names[:LISTED])}{more}"


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


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
