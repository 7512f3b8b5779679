"""What training starts from: random weights, those of a file, or those that came with an installed package.

What weights hold is known before the plan is made, so that it is made once: a file is read into the network that it is
for; installed weights are described in a table, and a linear layer tells whether they know the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from maskwright.augment.loader import Store
from maskwright.config import SEED, Settings
from maskwright.datasets.samples import Sample
from maskwright.errors import SettingError
from maskwright.models import build, row_of
from maskwright.models.segmenter import Segmenter
from maskwright.planning.decisions import HeadStart, ResolvedTraining, Weights
from maskwright.planning.fingerprint import Fingerprint
from maskwright.planning.plan import Plan
from maskwright.planning.rules import classes_are_thin, first_network, working_scale
from maskwright.training.machine import keep_freed_memory

if TYPE_CHECKING:
    from maskwright.models.pretrained import Origin
    from maskwright.planning.headstart import Pixels

Moments = tuple[list[float], list[float]]
"""Mean and standard deviation of each channel, in native values."""
ENCODER = "lite0"
"""The encoder whose weights come with Maskwright."""
CHANNELS = (1, 3, 4)
"""Grey, RGB, RGB and one more: what weights for photographs can be fitted to. Others are unlike bands."""
SMALLEST = 96
"""Pixels of an image's shorter side, as the network sees it, below which the encoder is not tried: its coarse
maps would have two or three places."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is there before the plan: none of it for random weights."""

    weights: Weights | None = None
    """Of a file, for the plan."""
    network: nn.Module | None = None
    """With the file's weights."""
    head_start: HeadStart | None = None
    """Of installed weights, for the plan; None where the network has no use for them, or the user wants none."""
    pixels: Pixels | None = None
    moments: Moments | None = None
    """What the weights were made with."""
    record: dict[str, Any] | None = None
    """For `run.json`."""

    def build(self, training: ResolvedTraining, channels: int, classes: int) -> nn.Module:
        """The planned network with the weights that it starts from."""
        if self.network is not None:
            return self.network
        torch.manual_seed(training.seed)
        network = build(training.model, channels, classes, training.model_options)
        if training.from_scratch:
            return network
        from maskwright.models.encoders import Encoder
        from maskwright.models.installed import load_installed

        assert isinstance(network.encoder, Encoder)
        load_installed(network.encoder, ENCODER)
        if self.pixels is not None:
            from maskwright.models.light_decoder import LightDecoder
            from maskwright.planning.headstart import linear_start

            if isinstance(network, LightDecoder):
                network.start_linear(linear_start(self.pixels, classes, training.seed))
        return network


def from_file(
    path: Path | str, settings: Settings, fingerprint: Fingerprint, names: Sequence[str], like: Plan | None
) -> Start:
    """Build the network that is asked for, and read a file's weights into it, or into its encoder.

    Raises what `load_pretrained` raises, and SettingError where random weights are asked for too.
    """
    from maskwright.models.pretrained import load_pretrained

    if settings.training.from_scratch:
        raise SettingError(f"--pretrained {path} and --from-scratch contradict each other. Give one of them.")
    known = settings.training if like is None else like.settings.training
    torch.manual_seed(SEED if settings.training.seed is None else settings.training.seed)
    model = settings.training.model or known.model or first_network(fingerprint)
    options = settings.training.model_options or known.model_options
    network = build(model, fingerprint.channels, len(names), options)
    origin = load_pretrained(network, path, names)
    moments = statistics(origin, fingerprint)
    weights = Weights(
        normalized=moments is not None, encoder=origin.kind != "maskwright" and hasattr(network, "encoder")
    )
    record = {"from": str(path), "what": origin.description, "sha256": origin.sha256, "licence": origin.licence}
    return Start(weights=weights, network=network, moments=moments, record=record)


def from_installed(
    settings: Settings,
    fingerprint: Fingerprint,
    store: Store,
    samples: Sequence[Sample],
    say: Callable[[str], None],
) -> Start:
    """Find out whether installed weights know these classes, unless random weights or another network are asked for."""
    model = settings.training.model
    if settings.training.from_scratch or (model is not None and row_of(model).numbers.get("encoder") != ENCODER):
        return Start()
    if fingerprint.channels not in CHANNELS:
        return _unfit(f"they are for photographs, and images have {fingerprint.channels} channels")
    if model is None and classes_are_thin(fingerprint):
        return _unfit("thin classes need 1/2 of the resolution, where they were not tried")
    scale = settings.training.scale or working_scale(fingerprint)
    if min(fingerprint.height[1], fingerprint.width[1]) * scale < SMALLEST:
        size = f"{fingerprint.height[1]} x {fingerprint.width[1]}"
        return _unfit(f"images of {size} pixels show nothing in the encoder's coarse maps")
    from maskwright.models.installed import INSTALLED

    weights = INSTALLED[ENCODER]
    if weights.path is None:
        say(f"warning: {weights.missing}")
        return _unfit("they are not installed")
    from maskwright.planning import headstart

    keep_freed_memory()
    mean, std = headstart.statistics(weights, fingerprint)
    features = headstart.encoder_features(weights, mean, std)
    told = HeadStart(encoder=ENCODER, unfit="")
    if model is None:
        pixels = headstart.look(store, samples, fingerprint, features, scale)
        by_features, by_local_filters = headstart.compare(pixels, len(fingerprint.class_fraction))
        told = told._replace(features=round(by_features, 3), local=round(by_local_filters, 3))
    else:
        pixels = headstart.look(store, samples, fingerprint, features, scale, compared=0)
    record = {
        "from": f"{weights.package}: {weights.file}",
        "what": weights.source,
        "sha256": weights.sha256,
        "licence": weights.licence,
    }
    return Start(head_start=told, pixels=pixels, moments=(mean, std), record=record)


def _unfit(why: str) -> Start:
    return Start(head_start=HeadStart(encoder=ENCODER, unfit=why))


def around(network: nn.Module, description: dict[str, Any]) -> Segmenter:
    """A segmenter around a network that is there already, with the description's normalisation and scale."""
    return Segmenter(network, **{name: description[name] for name in ("mean", "std", "per_image", "scale")})


def statistics(origin: Origin, fingerprint: Fingerprint) -> Moments | None:
    """Mean and standard deviation that weights were made with, in native values of these images; None where not known.

    Published weights give them as fractions of a type's range, which floating point images do not have.
    """
    top = largest_value(fingerprint)
    if origin.mean is None or (top is None and not origin.native):
        return None
    return origin.statistics(top or 1.0)


def describe(
    training: ResolvedTraining, fingerprint: Fingerprint, classes: int, moments: Moments | None = None
) -> dict[str, Any]:
    """The `network` of `run.json`; see `make_segmenter`. `moments` are those that pretrained weights were made with.

    Raises SettingError for a normalisation by the range of a type that has none.
    """
    mean, std = list(fingerprint.mean), list(fingerprint.std)
    top = largest_value(fingerprint)
    if training.normalization in ("unit", "imagenet") and top is None:
        raise SettingError(
            f"normalization = {training.normalization!r} goes by the type's largest value, and "
            f"the images are {fingerprint.dtype}.",
            remedy="Use normalization = 'data'.",
        )
    if training.normalization == "unit":
        mean, std = [0.0] * fingerprint.channels, [top or 1.0] * fingerprint.channels
    if training.normalization == "imagenet":
        from maskwright.models.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD

        mean, std = ([(top or 1.0) * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
    if training.normalization == "weights" and moments is not None:
        mean, std = moments
    return {
        "name": training.model,
        "options": training.model_options,
        "channels": fingerprint.channels,
        "classes": classes,
        "mean": mean,
        "std": std,
        "per_image": training.normalization == "image",
        "scale": training.scale,
    }


def largest_value(fingerprint: Fingerprint) -> float | None:
    """The largest value of the images' type; None for floats, which have no range."""
    return {"uint8": 255.0, "uint16": 65535.0}.get(fingerprint.dtype)
