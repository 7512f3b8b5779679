"""The segmenter: a network together with everything between native pixel values and logits at the image's own size.

Everybody else (training, prediction, export, the server) sees a Segmenter and never a bare network, so nobody can
normalise wrongly or twice (docs/architecture.md, Network and segmenter).

Shapes: B batch, C input channels, K classes, H height, W width, h and w those of the network's working size, in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import MaskwrightError, ModelError
from maskwright.models import build

Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean and variance of each channel of each image, float32, B x C x 1 x 1."""


def moments_of(x_BCHW: torch.Tensor) -> Moments:
    """Mean and variance by which `per_image` normalises."""
    var_BC11, mean_BC11 = torch.var_mean(x_BCHW.to(torch.float32), (2, 3), correction=0, keepdim=True)
    return mean_BC11, var_BC11


class Segmenter(nn.Module):
    """Normalises, brings to the working scale, pads, runs the network, and undoes the last two.

    `mean` and `std` are per channel, in native values; they become float32 buffers of shape C x 1 x 1 and travel in the
    state dictionary. With `per_image`, each channel of each image is normalised by its own mean and std over the
    pixels that are given, or by `moments` (a tile by its image's); a constant channel becomes 0, and `mean` and `std`
    only say how many channels there are. `scale` magnifies what the network sees; shrinking averages (antialiased),
    and the logits are resized back.

    Raises ModelError for statistics or a scale that cannot be meant.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        per_image: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not len(mean) == len(std) >= 1:
            raise ModelError(
                f"mean has {len(mean)} and std {len(std)} numbers.",
                expected="Expected one of each for every input channel.",
            )
        if not all(map(math.isfinite, mean)) or not all(0 < s < math.inf for s in std):
            raise ModelError(
                f"mean = {list(mean)}, std = {list(std)}: expected finite numbers, deviations above 0.",
                remedy="Use 1 for the deviation of a channel that never changes.",
            )
        if not 0 < scale < math.inf:
            raise ModelError(f"scale = {scale!r}: expected a magnification above 0; 1 leaves the image as it is.")
        stride = network.stride
        assert isinstance(stride, int), "a network says which multiple its input's height and width must be"
        self.network = network
        self.stride = stride
        self.per_image = per_image
        self.scale = float(scale)
        self._ratio = Fraction(scale).limit_denominator(1000)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    @property
    def auxiliary(self) -> tuple[float, ...]:
        """The loss weight of each auxiliary output that the network gives in training mode; mostly none."""
        return tuple(getattr(self.network, "auxiliary", ()))

    @property
    def grid(self) -> int:
        """Pixels of the image between places at which the network, scaled and strided, begins alike.

        A tile that begins on a multiple of it is seen as its part of the whole image is.
        """
        step = self.stride * self._ratio.denominator
        return step // math.gcd(step, self._ratio.numerator)

    def forward(self, x_BCHW: torch.Tensor, moments: Moments | None = None) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Native values of any real dtype, B x C x H x W, H and W from 1 -> float32 logits B x K x H x W.

        In training mode, a network with auxiliary outputs gives a tuple: the logits, then one more for each weight of
        `auxiliary`. With `per_image`, `moments` are the mean and variance of the image that x is a part of; those of x
        by default. Raises ModelError for the wrong number of dimensions or channels, or for an image without pixels.
        """
        self._check(x_BCHW)
        height, width = x_BCHW.shape[2:]
        x_BChw = self.normalized(x_BCHW, moments)
        if self.scale != 1:
            x_BChw = _resized(x_BChw, self._scaled(height), self._scaled(width), shrinks=self.scale < 1)
        h, w = x_BChw.shape[2:]
        if self.stride > 1:
            # Replicated edges, because reflection needs more pixels than it adds, and a 1x1 image has none to spare.
            # At the right and the bottom only, so that the network's grid starts at the image's first pixel.
            more = -w % self.stride
            if self.training and max(h, w) <= self.stride:
                more += self.stride  # batch norm learns from two values at least, of the deepest map too
            x_BChw = F.pad(x_BChw, (0, more, 0, -h % self.stride), mode="replicate")

        def restored(logits_BKhw: torch.Tensor) -> torch.Tensor:
            logits_BKhw = logits_BKhw[..., :h, :w].float()
            if self.scale != 1:
                logits_BKhw = _resized(logits_BKhw, height, width, shrinks=self.scale > 1)
            return logits_BKhw

        outputs = self.network(x_BChw)
        return tuple(map(restored, outputs)) if isinstance(outputs, tuple) else restored(outputs)

    def normalized(self, x_BCHW: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """Native values -> float32 values of about zero mean and unit standard deviation, at the same size."""
        x_BCHW = x_BCHW.to(torch.float32)
        if not self.per_image:
            return (x_BCHW - self.mean).div_(self.std)
        mean_BC11, var_BC11 = moments_of(x_BCHW) if moments is None else moments
        # A constant channel has no deviation, and rounding in a nearly constant one must not be blown up to a pattern.
        floor_BC11 = mean_BC11.abs() * 1e-6 + 1e-12
        return (x_BCHW - mean_BC11).div_(torch.maximum(var_BC11.sqrt(), floor_BC11))

    def at_working_scale(self) -> Segmenter:
        """The same network, for images that are reduced to the working scale already: itself, if that is 1 or more."""
        if self.scale >= 1:
            return self
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        return Segmenter(self.network, mean=mean, std=std, per_image=self.per_image).to(self.mean.device)

    def extra_repr(self) -> str:
        """What print shows besides the network."""
        return f"channels={len(self.mean)}, per_image={self.per_image}, scale={self.scale:g}"

    def _scaled(self, side: int) -> int:
        """A side at the working scale, rounded half up, at least 1.

        Whole numbers and no `if`, so that sizes stay symbolic under torch.export (with multiples of the stride).
        """
        up, down = self._ratio.numerator, self._ratio.denominator
        scaled: int = torch.sym_max(1, (2 * side * up + down) // (2 * down))  # type: ignore[no-untyped-call]
        return scaled

    def _check(self, x_BCHW: torch.Tensor) -> None:
        channels = len(self.mean)
        if x_BCHW.ndim != 4:
            raise ModelError(
                f"The segmenter got a tensor of shape {tuple(x_BCHW.shape)}.",
                expected=f"Expected four dimensions: batch, {channels} channels, height, width.",
            )
        if x_BCHW.shape[1] != channels:
            raise ModelError(
                f"The network was made for {_count(channels)}, got {x_BCHW.shape[1]}.",
                remedy=(
                    "Give images with the channels of the training images, or train a network on images like these."
                ),
            )
        if x_BCHW.shape[2] < 1 or x_BCHW.shape[3] < 1:
            raise ModelError(f"The image has no pixels: its size is {x_BCHW.shape[2]}x{x_BCHW.shape[3]}.")


def make_segmenter(description: Mapping[str, Any]) -> Segmenter:
    """Build a segmenter from the `network` of a `run.json`; its weights are still random.

    `description` has name, options, channels, classes, mean, std, per_image and scale. Raises ModelError if something
    is wrong with it.
    """
    try:
        network = build(description["name"], description["channels"], description["classes"], description["options"])
        return Segmenter(network, **{name: description[name] for name in ("mean", "std", "per_image", "scale")})
    except MaskwrightError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ModelError(
            f"The network {str(dict(description))[:200]} cannot be built: {type(error).__name__}: {str(error)[:200]}.",
            expected="Expected the description that training wrote.",
            remedy="Restore run.json from a copy, or train again.",
        ) from error


def best_device() -> torch.device:
    """CUDA if there is one, else Apple's GPU, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _resized(x_BCHW: torch.Tensor, height: int, width: int, *, shrinks: bool) -> torch.Tensor:
    """Bilinear resampling that keeps the image's outline in place, not its outer pixel centres."""
    return F.interpolate(x_BCHW, (height, width), mode="bilinear", align_corners=False, antialias=shrinks)


def _count(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"
