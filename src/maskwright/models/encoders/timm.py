"""Any backbone of timm as an encoder (extra `timm`): `timm:convnext_tiny`.

Wightman, "PyTorch Image Models" (github.com/huggingface/pytorch-image-models), with its `features_only` interface.
timm imports torchvision, which does not import beside the CPU build of torch; so it is imported here, when asked for.

Shapes: B batch, C channels, H height, W width, all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from maskwright.errors import ModelError
from maskwright.models import TIMM_PREFIX
from maskwright.models.encoders.encoder import Encoder


class TimmEncoder(Encoder):
    """The backbone `name` of timm, with random weights; maps as its `feature_info` says, none above `output_stride`.

    Raises ModelError if timm is not installed, or has no such backbone, or one whose maps are not of growing strides,
    or that takes images of one size only.
    """

    publisher = "timm"

    def __init__(self, name: str, in_channels: int = 3, output_stride: int = 32) -> None:
        super().__init__()
        self.name = name
        # Backbones that know one output stride only do not take the argument.
        strided = {} if output_stride == 32 else {"output_stride": output_stride}
        self.model = _create(name, features_only=True, in_chans=in_channels, **strided)
        self.strides = tuple(self.model.feature_info.reduction())
        self.channels = tuple(self.model.feature_info.channels())
        if list(self.strides) != sorted(self.strides) or len(set(self.strides)) < 2:
            raise ModelError(
                f"The maps of timm's backbone {name!r} have the strides {list(self.strides)}.",
                expected=(
                    "Expected strides that grow, as those of a convolutional or hierarchical backbone "
                    "do: timm:convnext_tiny, for example."
                ),
            )
        self.stride = self.strides[-1]
        self._try(in_channels)
        settings = self.model.pretrained_cfg
        self.mean, self.std = tuple(settings["mean"]), tuple(settings["std"])

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors of timm's classification model `name` that its backbone has, under the backbone's names.

        Left out is what the whole model has and the backbone has not: the classifier and what leads to it. timm's
        backbone flattens module names (`stages.0` becomes `stages_0`) and changes nothing else.
        """
        with torch.device("meta"):
            whole = _create(self.name).state_dict()
        flat = {name.replace(".", "_"): name for name in self.state_dict()}
        names = {name: flat.get("model_" + name.replace(".", "_")) for name in whole}
        return {names.get(name) or name: tensor for name, tensor in state.items() if names.get(name, name)}

    def _try(self, in_channels: int) -> None:
        try:
            with torch.no_grad():
                self.model.eval()(torch.zeros(1, in_channels, 2 * self.stride, 3 * self.stride))
        except (AssertionError, RuntimeError) as error:
            raise ModelError(
                f"timm's backbone {self.name!r} does not take images of every size that {self.stride} "
                f"divides ({error}).",
                expected=("Expected one that does, as convolutional backbones do: timm:convnext_tiny, for example."),
            ) from None
        self.model.train()

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """B x C x H x W, H and W multiples of `stride` -> maps of `channels`, finest first."""
        maps: list[torch.Tensor] = self.model(x_BCHW)
        return maps


def _create(name: str, **options: Any) -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # torchvision beside another build of torch raises RuntimeError
        raise ModelError(
            f"The encoder {TIMM_PREFIX + name!r} needs timm, which cannot be imported ({error}).",
            remedy=(
                "Install it with `pip install 'maskwright[timm]'`, beside a torchvision that was "
                "built for the torch you have."
            ),
        ) from None
    try:
        return timm.create_model(name, pretrained=False, **options)
    except RuntimeError as error:
        raise ModelError(f"timm makes no encoder {name!r} ({error}). `timm.list_models()` lists its names.") from None
