"""Encoders by name: the contracting paths of networks, made so that published classification weights fit by name.

Each turns normalised float32 B x C x H x W into one map per stride, finest first; `encoder.Encoder` says how.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from maskwright.errors import ModelError
from maskwright.models import PUBLISHED_WIDTH, TIMM_PREFIX, Row
from maskwright.models.encoders.encoder import Encoder

__all__ = ["ENCODERS", "FULLY_CONNECTED", "PUBLISHED_WIDTH", "TIMM_PREFIX", "Encoder", "build_encoder"]

ENCODERS = {
    "alexnet": Row(file="encoders.alexnet", make="AlexNet"),
    "vgg16": Row(file="encoders.vgg", make="VGG"),
    "resnet18": Row(file="encoders.resnet", make="ResNet", depths=(2, 2, 2, 2), bottleneck=False),
    "resnet34": Row(file="encoders.resnet", make="ResNet", depths=(3, 4, 6, 3), bottleneck=False),
    "resnet50": Row(file="encoders.resnet", make="ResNet", depths=(3, 4, 6, 3), bottleneck=True),
    "resnet101": Row(file="encoders.resnet", make="ResNet", depths=(3, 4, 23, 3), bottleneck=True),
    "lite0": Row(file="encoders.efficientnet_lite", make="EfficientNetLite"),
    "lite1": Row(file="encoders.efficientnet_lite", make="EfficientNetLite", deeper=1.1),
    "lite2": Row(file="encoders.efficientnet_lite", make="EfficientNetLite", wider=1.1, deeper=1.2),
}
FULLY_CONNECTED = ("alexnet", "vgg16")
STRIDED = ("alexnet", "lite0", "lite1", "lite2")
"""Encoders whose coarsest map is always at 1/32: those that cannot dilate instead of striding."""


def build_encoder(
    name: str,
    in_channels: int,
    width: int = PUBLISHED_WIDTH,
    output_stride: int = 32,
    *,
    fully_connected: bool = False,
    needs: Collection[int] = (),
) -> Encoder:
    """Build an encoder of ENCODERS, or a backbone of timm (`timm:NAME`), with random weights.

    `width` is the first layer's channels. `output_stride`, 8, 16 or 32, is the coarsest map's: below 32 the last stages
    are dilated instead of strided. `fully_connected` keeps the classification network's fully connected layers, as
    convolutions, for those that have them (FULLY_CONNECTED). `needs` are strides of maps that a network goes by.

    Raises ModelError for an unknown name, an option that the encoder does not have, or a map that is needed and that it
    does not give.
    """
    if name not in ENCODERS and not name.startswith(TIMM_PREFIX):
        raise ModelError(
            f"There is no encoder {name!r}.", expected=f"Expected one of: {', '.join(ENCODERS)}, {TIMM_PREFIX}NAME."
        )
    if output_stride not in (8, 16, 32) or (name in STRIDED and output_stride != 32):
        raise ModelError(
            f"output_stride = {output_stride}: the encoder {name!r} has {'32' if name in STRIDED else '8, 16 or 32'}."
        )
    if fully_connected and name not in FULLY_CONNECTED:
        raise ModelError(
            f"The encoder {name!r} has no fully connected layers to keep. Those that have them: "
            f"{', '.join(FULLY_CONNECTED)}."
        )
    if name.startswith(TIMM_PREFIX):
        if width != PUBLISHED_WIDTH:
            raise ModelError(
                f"width = {width} has no effect on {name!r}: a backbone of timm has the width of its name."
            )
        timm = Row(file="encoders.timm", make="TimmEncoder", name=name.removeprefix(TIMM_PREFIX))
        backbone: Encoder = timm.maker(in_channels=in_channels, output_stride=output_stride)
        return _with_maps(backbone, name, needs)
    options: dict[str, Any] = {"width": width}
    if output_stride != 32:
        options["output_stride"] = output_stride
    if fully_connected:
        options["fully_connected"] = True
    encoder: Encoder = ENCODERS[name].maker(in_channels=in_channels, **options)
    return _with_maps(encoder, name, needs)


def _with_maps(encoder: Encoder, name: str, needs: Collection[int]) -> Encoder:
    if missing := set(needs) - set(encoder.strides):
        have, want = (", ".join(f"1/{stride}" for stride in sorted(strides)) for strides in (encoder.strides, missing))
        raise ModelError(
            f"The encoder {name!r} gives maps at {have} of the image's size, and this network needs one at {want}.",
            remedy="Choose another encoder.",
        )
    return encoder
