"""The network that a plan asks for, as `run.json` describes it, and the normalisation that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from maskwright.errors import SettingError
from maskwright.models.segmenter import Segmenter
from maskwright.planning.decisions import ResolvedTraining
from maskwright.planning.fingerprint import Fingerprint

if TYPE_CHECKING:
    from maskwright.models.pretrained import Origin

Moments = tuple[list[float], list[float]]
"""Mean and standard deviation of each channel, in native values."""


def describe(
    training: ResolvedTraining, fingerprint: Fingerprint, classes: int, moments: Moments | None = None
) -> dict[str, Any]:
    """The `network` of `run.json`; see `make_segmenter`. `moments` are those that pretrained weights were made with.

    Raises SettingError for a normalisation by the range of a type that has none.
    """
    mean, std = list(fingerprint.mean), list(fingerprint.std)
    top = _top(fingerprint)
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


def around(network: nn.Module, description: dict[str, Any]) -> Segmenter:
    """A segmenter around a network that is there already, with the description's normalisation and scale."""
    return Segmenter(network, **{name: description[name] for name in ("mean", "std", "per_image", "scale")})


def statistics(origin: Origin, fingerprint: Fingerprint) -> Moments | None:
    """Mean and standard deviation that weights were made with, in native values of these images; None where not known.

    Published weights give them as fractions of a type's range, which floating point images do not have.
    """
    top = _top(fingerprint)
    if origin.mean is None or (top is None and not origin.native):
        return None
    return origin.statistics(top or 1.0)


def _top(fingerprint: Fingerprint) -> float | None:
    """The largest value of the images' type; None for floats, which have no range."""
    return {"uint8": 255.0, "uint16": 65535.0}.get(fingerprint.dtype)
