"""Local filters at many scales, tile by tile: what a pixel and its surroundings look like.

The families are those of ilastik (Berg et al. 2019, "ilastik: interactive machine learning for (bio)image analysis"):
Gaussian, Laplacian, gradient magnitude, difference of Gaussians, eigenvalues of the structure tensor and the Hessian.
A coarse scale is computed where the image is averaged to a half, a quarter or an eighth, so that it costs no more than
a fine one, and is kept there: what reads the features brings them to full resolution (`maps.py`).

Channels come first, since each filter reads and writes one of them. The image goes on beyond its border by mirroring,
and a tile reads as far beyond its own edge as its filters reach: tiles agree with the whole image.

Shapes: C channels, D features, H, W height and width in pixels, h, w those of a level.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from maskwright.imaging.filters import gaussian, gradient, hessian_eigenvalues, magnitude, radius, structure_eigenvalues
from maskwright.pixels.maps import MARGIN

FAMILIES = (
    "Gaussian", "difference of Gaussians", "Laplacian", "larger curvature", "smaller curvature", "gradient magnitude",
    "larger structure", "smaller structure",
)  # fmt: skip
"""Features of each scale, in order."""


class Level(NamedTuple):
    """Scales that are computed at one resolution."""

    stride: int
    """Pixels along a place."""
    sigmas: tuple[float, ...]
    """In pixels of the image."""

    @property
    def places(self) -> tuple[float, ...]:
        """The scales in places, less what averaging to this resolution has smoothed already."""
        averaged = (self.stride**2 - 1) / 12
        return tuple(math.sqrt(sigma**2 - averaged) / self.stride for sigma in self.sigmas)

    @property
    def halo(self) -> int:
        """Places around a tile that its filters read: smoothing, a derivative, and averaging of the tensor."""
        return 2 * radius(self.places[-1]) + 1


LEVELS = (Level(1, (0.7, 1.0, 1.6)), Level(2, (2.5, 4.0)), Level(4, (6.5, 10.0)), Level(8, (16.0,)))
COARSEST = LEVELS[-1].stride
REACH = -(-max((level.halo + MARGIN) * level.stride for level in LEVELS) // COARSEST) * COARSEST
"""Pixels around a tile that its features depend on."""


def features_per_level(channels: int) -> list[int]:
    """D of each level: all families at all its scales, and at full resolution the values themselves."""
    return [channels * (len(FAMILIES) * len(level.sigmas) + (level.stride == 1)) for level in LEVELS]


def local_features(
    image: np.ndarray, top: int, left: int, side: int, offset_C: np.ndarray, scale_C: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """The features of a tile, a map for each level.

    Parameters
    ----------
    image
        `H x W x C` in native values; what is no number becomes 0, as in prediction.
    top, left
        The tile's first pixel, multiples of the coarsest stride.
    side
        Its pixels along an edge, such a multiple too; it may reach beyond the image.
    offset_C, scale_C
        Bring values to about unit range: (value - offset) * scale.

    Returns
    -------
    list[tuple[int, numpy.ndarray]]
        The stride and float32 `D x h x w` for each level, h = w = side / stride, and a margin as in `maps.py`.
    """
    maps = []
    native = _window(image, top - REACH, left - REACH, side + 2 * REACH)
    averaged = [(one - offset) * scale for one, offset, scale in zip(native, offset_C, scale_C, strict=True)]
    stride = 1
    for level in LEVELS:
        while stride < level.stride:
            half = averaged[0].shape[0] // 2
            averaged = [cv2.resize(channel, (half, half), interpolation=cv2.INTER_AREA) for channel in averaged]
            stride *= 2
        own = MARGIN if stride > 1 else 0
        skipped = REACH // stride - own - level.halo
        seen = slice(skipped, len(averaged[0]) - skipped)
        maps.append((stride, _filtered([np.ascontiguousarray(channel[seen, seen]) for channel in averaged], level)))
    return maps


def _filtered(channels: list[np.ndarray], level: Level) -> np.ndarray:
    """All features of a level, without the halo that they needed."""
    side = len(channels[0]) - 2 * level.halo
    kept = (slice(level.halo, level.halo + side),) * 2
    found = np.empty((features_per_level(len(channels))[LEVELS.index(level)], side, side), np.float32)
    free = iter(found)
    for channel in channels:
        if level.stride == 1:
            next(free)[:] = channel[kept]
        finer = channel
        for sigma in level.places:
            smooth = gaussian(channel, sigma)
            across, down = gradient(smooth)
            large, small = hessian_eigenvalues(smooth)
            edges = (magnitude(across, down), *structure_eigenvalues(across, down, sigma))
            for one in (smooth, finer - smooth, large + small, large, small, *edges):
                next(free)[:] = one[kept]
            finer = smooth
    return found


def _window(image: np.ndarray, top: int, left: int, side: int) -> list[np.ndarray]:
    """A square of the image, mirrored beyond its border (the last pixel is repeated), channel by channel."""
    rows, columns = (
        _mirrored(np.arange(first, first + side), length)
        for first, length in zip((top, left), image.shape[:2], strict=True)
    )
    inside = top >= 0 and left >= 0 and top + side <= image.shape[0] and left + side <= image.shape[1]
    window = image[top : top + side, left : left + side] if inside else image[rows[:, None], columns]
    channels = [np.ascontiguousarray(window[..., channel], np.float32) for channel in range(image.shape[2])]
    return (
        [np.nan_to_num(one, nan=0.0, posinf=0.0, neginf=0.0) for one in channels]
        if image.dtype.kind == "f"
        else channels
    )


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    places = places % (2 * length)
    return np.where(places < length, places, 2 * length - 1 - places)
