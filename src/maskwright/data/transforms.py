"""Views of an image and its mask: one affine map, one resampling; drawing the map apart from applying it.

Shapes: H, W height and width in pixels, C channels. Points are (x, y) with pixel centres at integers.
A map is a 2 x 3 float64 matrix that takes a pixel of the view to a point of the source image.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from maskwright.config import Augmentation, Border
from maskwright.data.classes import UNLABELLED

BORDERS: dict[Border, int] = {
    "reflect": cv2.BORDER_REFLECT_101,
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
}


class ViewRanges(NamedTuple):
    """What `draw_view` may draw: see `maskwright.config.Augmentation` for each field's unit."""

    zoom: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    quarter_turns: bool = False

    @classmethod
    def of(cls, augmentation: Augmentation) -> ViewRanges:
        """The geometric part of an augmentation; what it leaves open is off."""
        given = {name: getattr(augmentation, name) for name in cls._fields}
        return cls(**{name: value for name, value in given.items() if value is not None})


class Tone(NamedTuple):
    """A linear change of intensity: value * gain + offset, in native values."""

    gain: float
    offset: float


def draw_view(
    rng: np.random.Generator,
    shape: tuple[int, int],
    size: tuple[int, int],
    ranges: ViewRanges,
    centre: tuple[float, float] | None = None,
) -> np.ndarray:
    """One random view of an image: crop, zoom, turn, shear and flip composed into a single map for `warp`.

    `shape` is the source's (H, W), `size` the view's. The view lies within the image where it fits, and covers the
    image where it is larger. With `centre` (x, y) the view is placed around that point of the source, off by up to a
    quarter of its size, and moved back into the image where it would look beyond the edge.
    The number of draws does not depend on the ranges, so that switching one off leaves the others' draws as they were.
    """
    zoom_at, angle_at, shear_at, *chances = rng.random(6)
    turns = int(rng.integers(4)) if ranges.quarter_turns else 0
    place = rng.random(2)
    jitter = rng.uniform(-1, 1, 2)

    zoom = math.exp(math.log(ranges.zoom[0]) + zoom_at * math.log(ranges.zoom[1] / ranges.zoom[0]))
    angle = math.radians((2 * angle_at - 1) * ranges.rotation) + turns * math.pi / 2
    shear = math.tan(math.radians((2 * shear_at - 1) * ranges.shear))
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]]) / zoom
    linear[:, 0] *= -1 if ranges.flip_horizontal and chances[0] < 0.5 else 1
    linear[:, 1] *= -1 if ranges.flip_vertical and chances[1] < 0.5 else 1
    # Without zoom, turn and shear a view is a crop: it must show pixels as they are, not between two of them.
    aligned = bool(np.allclose(np.abs(linear).round(9) % 1, 0))
    linear = np.rint(linear) if aligned else linear

    view = np.array([size[1], size[0]], np.float64)
    image = np.array([shape[1], shape[0]], np.float64)
    reach = np.abs(linear) @ view / 2
    low, high = np.minimum(reach, image - reach), np.maximum(reach, image - reach)
    if centre is None:
        middle = low + place * (high - low)
    else:
        middle = np.clip(np.asarray(centre) + 0.5 + jitter * reach / 2, low, high)
    middle = middle - 0.5 + jitter * ranges.shift * 2 * reach
    origin = middle - linear @ ((view - 1) / 2)
    return np.column_stack([linear, np.floor(origin + 0.5) if aligned else origin])


def draw_tone(rng: np.random.Generator, brightness: float, contrast: float, mean: float, std: float) -> Tone:
    """One random change of brightness and contrast around `mean`; `std` is the unit of `brightness`."""
    gain = 1 + contrast * rng.uniform(-1, 1)
    shift = brightness * std * rng.uniform(-1, 1)
    return Tone(gain, mean * (1 - gain) + shift)


def whole(shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The map that shows a whole image of `shape` (H, W) at `size`, edge to edge."""
    scale = np.array([shape[1] / size[1], shape[0] / size[0]])
    return np.column_stack([np.diag(scale), (scale - 1) / 2])


def warp(
    image: np.ndarray,
    mask: np.ndarray,
    to_source: np.ndarray,
    size: tuple[int, int],
    border: Border,
    fill: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a pair through one affine map, the image bilinearly, the mask by nearest pixel centre.

    Parameters
    ----------
    image : H x W x C, uint8, uint16 or float32; `mask`: H x W uint8 class indices.
    to_source : 2 x 3 float64; takes a view pixel (x, y) to a source point, pixel centres at integers.
    size : height and width of the view.
    border : what the image shows outside the source: reflected, the nearest pixel, or `fill` in native values.

    Returns
    -------
    The view, with the image's dtype, and its mask, UNLABELLED wherever the source point lies outside the image.
    Where the view shrinks the image, the image is low-passed first so that it does not alias.
    """
    return warp_image(image, to_source, size, border, fill), warp_mask(mask, to_source, size)


def warp_image(
    image: np.ndarray, to_source: np.ndarray, size: tuple[int, int], border: Border, fill: float = 0.0
) -> np.ndarray:
    """The image's part of `warp`."""
    shrink = math.sqrt(abs(np.linalg.det(to_source[:, :2])))
    source, to_source = _region(image, to_source, size, margin=math.ceil(3 * shrink) + 2)
    if shrink > 1.1:
        # A pixel of the view covers `shrink` source pixels; this blur adds what the bilinear kernel lacks.
        source = cv2.GaussianBlur(source, (0, 0), 0.5 * math.sqrt(shrink**2 - 1), borderType=cv2.BORDER_REFLECT_101)
        source = source.reshape(*source.shape[:2], -1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    channels = source.shape[2]
    parts = [  # OpenCV warps at most four channels at a time
        cv2.warpAffine(
            np.ascontiguousarray(source[:, :, first : first + 4]),
            to_source,
            size[::-1],
            flags=flags,
            borderMode=BORDERS[border],
            borderValue=(fill,) * 4,
        ).reshape(*size, -1)
        for first in range(0, channels, 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)


def warp_mask(mask: np.ndarray, to_source: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask's part of `warp`: exact nearest pixel centres, which OpenCV's fixed-point warp does not promise."""
    height, width = mask.shape
    y, x = np.arange(size[0], dtype=np.float64)[:, None], np.arange(size[1], dtype=np.float64)[None]
    (a, b, c), (d, e, f) = to_source
    column = np.floor(a * x + (b * y + c) + 0.5).astype(np.int64)
    row = np.floor(d * x + (e * y + f) + 0.5).astype(np.int64)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = np.clip(row, 0, height - 1) * width + np.clip(column, 0, width - 1)
    found: np.ndarray = mask.ravel()[index]
    found[~inside] = UNLABELLED
    return found


def _region(
    image: np.ndarray, to_source: np.ndarray, size: tuple[int, int], margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a large image that a view needs, and the map into that part.

    Cut only on sides that the view stays `margin` away from, so that borders still act where the image really ends.
    """
    corners = np.array([[0, size[1] - 1, 0, size[1] - 1], [0, 0, size[0] - 1, size[0] - 1], [1, 1, 1, 1]])
    points = to_source @ corners
    low = np.floor(points.min(1)).astype(int) - margin
    high = np.ceil(points.max(1)).astype(int) + margin + 1
    limits = np.array([image.shape[1], image.shape[0]])
    if (low < 0).any() or (high > limits).any():
        # The view looks beyond the edge: reflection needs the whole image there.
        return image, to_source
    cut = to_source.copy()
    cut[:, 2] -= low
    return image[low[1] : high[1], low[0] : high[0]], cut
