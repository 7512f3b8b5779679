"""A pixel classifier on disk: a folder that `predict`, `evaluate` and labelling scripts take as they take a run.

MODEL/run.json            kind "pixels": classes, what the images were like, features, scores, the hash of all of it
MODEL/model.safetensors   the small network, and the trained network that features come from
MODEL/forest.onnx         instead of the small network, a random forest
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright import runs
from maskwright.config import Settings
from maskwright.errors import ModelError, RunError
from maskwright.models.installed import INSTALLED
from maskwright.models.loading import load_state, read_weights
from maskwright.models.segmenter import make_segmenter
from maskwright.models.weights import refuse_not_finite, write_tensors
from maskwright.pixels.mlp import PixelMlp
from maskwright.pixels.model import Head, PixelModel
from maskwright.pixels.sources import ENCODER, Frozen, Network, Range, make_source

KIND = "pixels"
VERSION = 1
"""Of the features and the head; another version's numbers would mean something else."""
FOREST = "forest.onnx"
HEAD, NETWORK = "head.", "network."
"""Before the names of tensors."""


def save(
    folder: Path, model: PixelModel, *, values: Range, classes: Mapping[str, Any], images: Sequence[np.ndarray],
    facts: Mapping[str, Any], network: Network | None = None,
) -> str:  # fmt: skip
    """Write a model, and return its hash.

    Parameters
    ----------
    folder
        New, or a saved pixel classifier, which is replaced.
    model
        What was learnt.
    values
        By which its features are scaled.
    classes
        `ClassTable.to_dict()`.
    images
        Some of those it was trained on, `H x W x C`: prediction warns of images that are unlike.
    facts
        What else to keep, as JSON can hold it: scores, seed, data.
    network
        Where its features are those of one.
    """
    from maskwright.pixels.forest import Forest

    state: dict[str, torch.Tensor] = {}
    forest: bytes | None = None
    if isinstance(model.head, PixelMlp):
        state |= {HEAD + name: tensor.contiguous() for name, tensor in model.head.tensors.items()}
    elif isinstance(model.head, Forest):
        forest = model.head.onnx
    if network is not None:
        state |= {NETWORK + name: tensor.contiguous() for name, tensor in network.segmenter.state_dict().items()}
    names = [source.name for source in model.sources]
    described = {
        "version": VERSION,
        "features": names,
        "values": asdict(values),
        "temperature": model.head.temperature if isinstance(model.head, PixelMlp) else 1.0,
        "encoder": INSTALLED[ENCODER].sha256 if Frozen.name in names else None,
        "network": None if network is None else dict(network.description),
    }
    mark = _hash(described, state, forest)
    if folder.exists() and any(folder.iterdir()):
        require_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    refuse_not_finite(state, folder / runs.WEIGHTS)
    write_tensors(folder / runs.WEIGHTS, state)
    if forest is not None:
        runs.write_bytes(folder / FOREST, forest)
    else:
        (folder / FOREST).unlink(missing_ok=True)
    content = {
        "schema": runs.SCHEMA,
        "kind": KIND,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "classes": dict(classes),
        "network": {"name": f"pixel classifier: {' and '.join(names)}, {'network' if forest is None else 'forest'}"},
        "preparation": Settings().to_dict()["preparation"],
        "tta": {"horizontal": False, "vertical": False},
        "input": _expected(images),
        "software": runs.software(),
        "pixels": described,
        "hash": mark,
        **facts,
    }
    runs.write_json(folder / runs.RUN, content)
    return mark


def require_own(folder: Path) -> None:
    """Raise RunError if a folder that is not empty holds something else than a pixel classifier."""
    if not (folder / runs.RUN).is_file() or runs.read_run(folder).get("kind") != KIND:
        raise RunError(
            f"{folder} exists, and is no pixel classifier.",
            expected="Expected a new folder, or a pixel classifier to replace.",
            remedy="Choose another one with --out.",
            file=folder,
        )


def load(folder: Path, run: Mapping[str, Any]) -> PixelModel:
    """Read a model whose `run.json` was read.

    Raises
    ------
    RunError
        It was made by a newer Maskwright, or a file is missing.
    ModelError
        Its content is not what its hash says, or the encoder's weights are others.
    """
    described = run["pixels"]
    if described["version"] != VERSION:
        raise RunError(
            f"{folder} holds a pixel classifier of version {described['version']}, this Maskwright reads {VERSION}.",
            remedy="Train it again: maskwright scribbles train.",
            file=folder,
        )
    state = read_weights(folder / runs.WEIGHTS)
    forest = (folder / FOREST).read_bytes() if (folder / FOREST).is_file() else None
    if _hash(described, state, forest) != run["hash"]:
        raise ModelError(
            f"{folder} is not as it was written: its content does not fit the hash in {runs.RUN}.",
            expected="Expected files of one training.",
            remedy="Copy the whole folder again, or train again: maskwright scribbles train.",
            file=folder,
        )
    if described["encoder"] not in (None, INSTALLED[ENCODER].sha256):
        raise ModelError(
            f"{folder} was trained on features of another encoder.",
            expected=f"Expected {ENCODER} with SHA-256 {described['encoder'][:16]}.",
            remedy="Train it again: maskwright scribbles train.",
            file=folder,
        )
    network = None
    if described["network"] is not None:
        network = Network(segmenter=make_segmenter(described["network"]), description=described["network"])
        load_state(network.segmenter, _without(NETWORK, state), folder / runs.WEIGHTS)
    numbers = described["values"]
    values = Range(middle=tuple(numbers["middle"]), spread=tuple(numbers["spread"]), top=numbers["top"])
    head: Head
    if forest is not None:
        from maskwright.pixels.forest import Forest

        head = Forest(forest)
    else:
        head = PixelMlp(_without(HEAD, state), described["temperature"])
    sources = [make_source(name, values, network) for name in described["features"]]
    return PixelModel(sources, head, len(run["classes"]["class"]))


def load_network(folder: Path) -> Network:
    """The network of a trained run, for the features "network".

    Raises RunError if it is no run with one network that sees images as they are.
    """
    from maskwright.models.loading import load_weights

    run = runs.read_run(folder)
    if run.get("kind") != "run" or run["preparation"] != Settings().to_dict()["preparation"]:
        raise RunError(
            f"Features cannot be taken from {folder}.",
            expected="Expected a run with one network, without --folds, and without preparation of images.",
            remedy="Train one: maskwright train DATA --out RUN",
            file=folder,
        )
    segmenter = make_segmenter(run["network"])
    load_weights(segmenter, folder / runs.WEIGHTS)
    return Network(segmenter=segmenter, description=run["network"])


def _without(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _hash(described: Mapping[str, Any], state: Mapping[str, torch.Tensor], forest: bytes | None) -> str:
    """SHA-256 of everything that decides what a model predicts."""
    found = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(state):
        found.update(f"{name} {tuple(state[name].shape)} {state[name].dtype}".encode())
        found.update(state[name].contiguous().numpy().tobytes())
    found.update(forest or b"")
    return found.hexdigest()


def _expected(images: Sequence[np.ndarray]) -> dict[str, Any]:
    """What prediction compares an image with."""
    seen = [one[:: max(1, one.shape[0] // 256), :: max(1, one.shape[1] // 256)].astype(np.float64) for one in images]
    return {
        "channels": images[0].shape[2],
        "dtype": str(images[0].dtype),
        "low": float(min(np.nanmin(one) for one in seen)),
        "middle": float(np.median([np.nanmedian(one) for one in seen])),
        "high": float(max(np.nanmax(one) for one in seen)),
    }
