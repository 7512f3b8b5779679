"""Weights from disk into a module: our own, or a state that torch saved; nothing is unpickled.

Loading is all or nothing: names and shapes must match, or a ModelError lists what does not, and the module stays as it
was. `models/pretrained.py` reads the weights of other programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models.weights import refuse_not_finite

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")

KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")

HUB_SCHEME = "hf:/"
"""Before a name on the Hugging Face Hub. One slash: a name that has been a Path has lost the other."""

KEYS = ("state_dict", "model", "model_state_dict", "model_state", "network", "net", "params")
"""Where training programs put the tensors in what they save."""

LISTED = 5

NETWORK = "network."
"""What a Segmenter's state has before the names of its network's tensors."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Read a file that `save_weights` or `torch.save(module.state_dict())` wrote into a module of the same make.

    Raises ModelError if the file cannot be read, or lists the names that are missing, unexpected or of another shape.
    """
    state = read_weights(Path(path))
    load_state(module, of_network(state) if is_run(module, state) else state, Path(path))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a `.safetensors` file or a torch checkpoint, on the CPU.

    A torch checkpoint may hold the state dictionary itself, or hold it under one of `KEYS`. It is read with
    `weights_only=True`, which runs no code from the file. Raises ModelError if there is no such content.
    """
    if not path.is_file():
        raise ModelError(
            f"{path} does not exist.", expected="Expected a file of weights (.safetensors or .pth).", file=path
        )
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
            f"{path} cannot be read as weights ({type(error).__name__}: {reason}).",
            expected=(
                "Expected plain tensors by name; a checkpoint with other objects in it must be saved "
                "anew as a state_dict."
            ),
            file=path,
        ) from None
    for key in KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ModelError(
            f"{path} holds {type(loaded).__name__}, not tensors by name.",
            expected="Expected a state_dict; save one with torch.save(model.state_dict(), path).",
            file=path,
        )
    return dict(loaded)


def is_run(module: nn.Module, state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state is that of a Segmenter, as in a run folder, and the module is a bare network."""
    return any(name.startswith(NETWORK) for name in state) and not any(
        name.startswith(NETWORK) for name in module.state_dict()
    )


def of_network(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's part of a Segmenter's state; mean and standard deviation belong to the images it was trained on."""
    return {name.removeprefix(NETWORK): tensor for name, tensor in state.items() if name not in ("mean", "std")}


def load_state(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state all or nothing; raises ModelError with the names that are missing, unexpected or misshapen."""
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
            f"{'; '.join(filter(None, problems))}.",
            expected="Expected weights of the same network with the same channels, classes and options.",
            file=path,
        )
    module.load_state_dict(state)


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what}: {', '.join(names[:LISTED])}{more}"


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
