"""Weights on disk: ours in safetensors, other people's in safetensors or in `.pth` files; nothing is unpickled.

Loading is strict and all or nothing: names and shapes must match, or a ModelError lists what does not, and the module
stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.runs import replacing

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt")
LISTED = 5


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and persistent buffers as safetensors, atomically."""
    # Clones, because safetensors refuses tensors that share memory, and takes no other layout than contiguous.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    with replacing(Path(path)) as temporary:
        safetensors.torch.save_file(state, temporary)


def load_weights(module: nn.Module, path: Path) -> None:
    """Read a file that `save_weights` or `torch.save(module.state_dict())` wrote into a module of the same make.

    Raises ModelError if the file cannot be read, or lists the names that are missing, unexpected or of another shape.
    """
    _load(module, _of_network(module, read_weights(Path(path))), Path(path))


def load_pretrained(network: nn.Module, path: Path) -> None:
    """Read weights to start training from: those of the whole network, or of its encoder alone.

    A file that has none of the network's other names, such as a torchvision ResNet checkpoint, is read into
    `network.encoder`. Raises ModelError as `load_weights` and `load_encoder` do.
    """
    state = _of_network(network, read_weights(Path(path)))
    encoder = getattr(network, "encoder", None)
    if isinstance(encoder, nn.Module) and not any(name.startswith("encoder.") for name in state):
        _load_encoder(encoder, state, Path(path))
    else:
        _load(network, state, Path(path))


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Read a torchvision ResNet checkpoint into one of our encoders.

    Its classifier (`fc.*`) is left out. Its first convolution, made for RGB, is fitted to the encoder's channels: one
    channel gets the sum over RGB, which is what the checkpoint computes of a grey image; C others get the RGB weights
    in turn times 3 / C, which keeps the size of the response. Everything else must match; only the batch norms'
    counters may be missing, because checkpoints from before 2018 have none.

    Raises ModelError as `load_weights` does.
    """
    _load_encoder(encoder, read_weights(Path(path)), Path(path))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a `.safetensors` file or a torch checkpoint, on the CPU.

    A torch checkpoint may hold the state dictionary itself, or hold it as `state_dict` or `model`. It is read with
    `weights_only=True`, which runs no code from the file. Raises ModelError if there is no such content.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist. Expected a file of weights (.safetensors or .pth).")
    if path.suffix not in (".safetensors", *TORCH_SUFFIXES):
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
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ModelError(
            f"{path} holds {type(loaded).__name__}, not tensors by name. "
            "Expected a state_dict; save one with torch.save(model.state_dict(), path)."
        )
    return dict(loaded)


def _load_encoder(encoder: nn.Module, loaded: dict[str, torch.Tensor], path: Path) -> None:
    state = {name: tensor for name, tensor in loaded.items() if not name.startswith("fc.")}
    expected = encoder.state_dict()
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, tensor)
    first = state.get("conv1.weight")
    if first is not None and first.ndim == 4 and first.shape[1] == 3:
        state["conv1.weight"] = _fit_channels(first, expected["conv1.weight"].shape[1])
    _load(encoder, state, path)


def _of_network(module: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's part of a state that `save_weights` wrote of a Segmenter, if the module is a bare network.

    The mean and deviation that go with it belong to the images it was trained on.
    """
    prefix = "network."
    if not any(name.startswith(prefix) for name in state) or any(
        name.startswith(prefix) for name in module.state_dict()
    ):
        return state
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name not in ("mean", "std")}


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
