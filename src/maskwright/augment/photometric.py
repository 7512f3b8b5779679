"""Changing colours and quality of a view, in native values: drawing the change apart from applying it.

Order: what optics and resolution lose (blur, low resolution), then light and colour (gamma; brightness, contrast,
saturation, hue and channel shifts as one linear map), then the sensor and the file (noise, JPEG), then the hidden
square. Integer types keep to their range; floats have none. The arithmetic is float32 or a table, never float64.

Cut-out is that of DeVries and Taylor 2017 (arXiv 1708.04552): a square around a point drawn evenly over the view, so
that it may lie partly outside, filled with the data's mean; labels stay, and the network has to tell from the
surroundings. Different here: its side is drawn, and it acts on a fraction of the views.
Gamma acts between a view's own lowest and highest value, as in nnU-Net. Hue and saturation are linear in RGB and keep
the lightness Y' of ITU-R BT.601: a turn and a stretch of the chroma plane, as in SVG's feColorMatrix.

Shapes: h, w of the view, C channels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np

from maskwright.augment.antialias import MOST_CHANNELS, any_channels, few_channels
from maskwright.config import Augmentation
from maskwright.errors import SettingError

DEGRADED = 0.25
"""Fraction of views on which each of noise, blur, low resolution, JPEG and cut-out acts."""

BEST_JPEG = 95
"""Highest quality drawn."""

_COLORS = ("saturation", "hue", "channel_noise")
_DEGRADATIONS = ("noise", "blur", "low_resolution", "jpeg", "cut_out")
_LUMA = np.array([0.299, 0.587, 0.114])


class PhotometricChange(NamedTuple):
    """What is done to the colours and quality of one view; the defaults do nothing."""

    gain: float = 1.0
    offset: float | np.ndarray = 0.0
    """A linear change of intensity: value * gain + offset, in native values; of all channels, or of each."""
    saturation: float = 1.0
    """Factor of the distance from grey."""
    hue: float = 0.0
    """Turn in radians."""
    gamma: float = 1.0
    shift: np.ndarray | None = None
    """Added to each channel, native values."""
    noise: float | np.ndarray = 0.0
    """Standard deviation in native values, of all channels or of each."""
    blur: float = 0.0
    """Sigma in pixels."""
    resolution: float = 1.0
    jpeg: int = 0
    """Quality; 0 is off."""
    hole: tuple[slice, slice] | None = None
    """Rows and columns that are hidden."""
    seed: tuple[int, ...] = ()
    """Of the noise."""


def draw_brightness_contrast(
    rng: np.random.Generator, brightness: float, contrast: float, mean: float | np.ndarray, std: float | np.ndarray
) -> PhotometricChange:
    """Draw a change of brightness and contrast around `mean`; `std` is the unit of `brightness`."""
    gain = 1 + contrast * rng.uniform(-1, 1)
    shift = brightness * std * rng.uniform(-1, 1)
    return PhotometricChange(gain, mean * (1 - gain) + shift)


def draw_photometric(
    rng: np.random.Generator,
    augmentation: Augmentation,
    size: tuple[int, int],
    channels: int,
    std: float | np.ndarray,
    change: PhotometricChange,
    seed: tuple[int, ...],
) -> PhotometricChange:
    """Draw what an augmentation asks for besides brightness and contrast, and add it to a change.

    Parameters
    ----------
    rng
        Source of the draws. Their number does not depend on what is on, so that switching one off leaves the others'
        draws as they were.
    augmentation
        What is asked for; None in it is off.
    size, channels
        Height and width of the view, and its channels.
    std
        The data's standard deviation in native values, of all channels or of each.
    change
        What was drawn before.
    seed
        Key of the noise, which is drawn when it is applied.
    """
    saturation, hue, gamma, *strengths = rng.random(8).tolist()
    acts = (rng.random(5) < (DEGRADED if augmentation.degraded is None else augmentation.degraded)).tolist()
    centre = rng.random(2)
    shift = rng.uniform(-1, 1, channels)
    noise, blur, resolution, jpeg, side = (
        strength if on else None for strength, on in zip(strengths, acts, strict=True)
    )
    low, high = _gammas(augmentation)
    hole = None
    if side is not None and augmentation.cut_out:
        hole = _square(centre, side * augmentation.cut_out * min(size), size)
    worst, worst_jpeg = augmentation.low_resolution or 1.0, augmentation.jpeg or 0
    return change._replace(
        saturation=1 + (2 * saturation - 1) * (augmentation.saturation or 0.0),
        hue=math.radians((2 * hue - 1) * (augmentation.hue or 0.0)),
        gamma=math.exp(math.log(low) + gamma * math.log(high / low)),
        shift=None if not augmentation.channel_noise else (shift * augmentation.channel_noise * std),
        noise=0.0 if noise is None else noise * (augmentation.noise or 0.0) * std,
        blur=0.0 if blur is None else blur * (augmentation.blur or 0.0),
        resolution=1.0 if resolution is None else worst + resolution * (1 - worst),
        jpeg=round(worst_jpeg + jpeg * (BEST_JPEG - worst_jpeg)) if jpeg is not None and worst_jpeg else 0,
        hole=hole,
        seed=seed,
    )


def asks_for_more(augmentation: Augmentation) -> bool:
    """Whether an augmentation asks for any of what `draw_photometric` draws."""
    return any(getattr(augmentation, name) for name in (*_COLORS, *_DEGRADATIONS)) or _gammas(augmentation) != (1, 1)


def refuse_without_effect(augmentation: Augmentation, channels: int, dtype: np.dtype[Any]) -> None:
    """Raise SettingError for settings that images of this kind cannot have, or that act on nothing."""
    images = f"the images have {channels} channel{'s' if channels > 1 else ''} of {dtype}"
    for name in ("saturation", "hue"):
        if getattr(augmentation, name) and channels != 3:
            raise SettingError(
                f"{name} = {getattr(augmentation, name):g} is for RGB, and {images}.",
                remedy=f"Leave {name} out (channel_noise changes channels against each other in any image), or choose "
                "three channels with --bands.",
            )
    if augmentation.jpeg and (dtype != np.uint8 or channels not in (1, 3)):
        raise SettingError(
            f"jpeg = {augmentation.jpeg} is for 1 or 3 channels of uint8, and {images}.",
            remedy="Leave jpeg out; noise and low_resolution act on any image.",
        )
    if augmentation.elastic_grid is not None and not augmentation.elastic:
        raise SettingError(
            f"elastic_grid = {augmentation.elastic_grid} has no effect without elastic.",
            remedy="Give --elastic too, for example 10, or leave both out.",
        )
    if augmentation.degraded is not None and not any(getattr(augmentation, name) for name in _DEGRADATIONS):
        raise SettingError(
            f"degraded = {augmentation.degraded:g} is the fraction of views that {', '.join(_DEGRADATIONS)} act on, "
            "and none of them is given.",
            remedy="Give at least one, or leave degraded out.",
        )


def apply_photometric(image: np.ndarray, change: PhotometricChange, mean: float | np.ndarray, out: np.ndarray) -> None:
    """Change a view as drawn, in the order that the head of this file gives.

    Parameters
    ----------
    image
        h x w x C, uint8, uint16 or float32; it is not changed.
    change
        What to do. JPEG needs uint8 of 1 or 3 channels; saturation and hue need 3 channels, taken as RGB.
    mean
        What a hidden square shows: native values, of all channels or of each.
    out
        h x w x C float32, contiguous; receives native values, within the type's range where it is an integer.
    """
    if change.blur > 0:
        image = _blurred(image, change.blur)
    if change.resolution < 1:
        image = _coarse(image, change.resolution)
    _colored(image, change, out)
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else None
    if np.any(change.noise):
        noise = _noise(out.shape, change.seed)
        noise *= np.asarray(change.noise, np.float32)
        out += noise
        if top is not None:
            np.clip(out, 0, top, out=out)
    if change.jpeg:
        out[:] = _compressed(np.rint(out).astype(np.uint8), change.jpeg)
    if change.hole is not None:
        out[change.hole] = mean


def color_matrix(saturation: float, hue: float) -> np.ndarray:
    """Give the 3 x 3 matrix that stretches and turns (radians) RGB colours about the grey axis at equal lightness."""
    # Rows of BT.601: lightness, and two axes of chroma that a turn leaves equally long.
    basis = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    cos, sin = saturation * math.cos(hue), saturation * math.sin(hue)
    return np.linalg.solve(basis, np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ basis)


def _gammas(augmentation: Augmentation) -> tuple[float, float]:
    return augmentation.gamma or (1.0, 1.0)


def _square(centre: np.ndarray, side: float, size: tuple[int, int]) -> tuple[slice, slice]:
    low = [round(at * length - side / 2) for at, length in zip(centre.tolist(), size, strict=True)]
    rows, columns = (
        slice(max(0, first), max(0, min(length, first + round(side)))) for first, length in zip(low, size, strict=True)
    )
    return rows, columns


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return any_channels(image, lambda part: cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def _coarse(image: np.ndarray, resolution: float) -> np.ndarray:
    """Reduce by area and enlarge linearly."""
    height, width, channels = image.shape
    small = (max(1, round(width * resolution)), max(1, round(height * resolution)))

    def reduced_and_enlarged(part: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
        reduced = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)

    return few_channels(image, np.zeros(channels), reduced_and_enlarged)


def _colored(image: np.ndarray, change: PhotometricChange, out: np.ndarray) -> None:
    """Gamma, then one linear map of the colours, into `out`."""
    channels = image.shape[2]
    offset = np.broadcast_to(np.asarray(change.offset, np.float32), channels)
    if change.shift is not None:
        offset = offset + change.shift.astype(np.float32)
    mixing = change.saturation != 1 or change.hue != 0
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else None
    span = _span(image) if change.gamma != 1 else (0.0, 0.0)
    if image.dtype == np.uint8:
        table = np.arange(256, dtype=np.float32)[:, None]
        _gamma(table, change.gamma, span)
        if not mixing:
            # A table for each channel is slower; most changes treat all channels alike.
            table = np.clip(table * np.float32(change.gain) + (offset if np.ptp(offset) else offset[:1]), 0, 255)
        if table.shape[1] == 1:
            rows = np.ascontiguousarray(image).reshape(len(image), -1)
            cv2.LUT(rows, table[None], dst=out.reshape(rows.shape))
        elif channels <= MOST_CHANNELS:
            cv2.LUT(np.ascontiguousarray(image), np.ascontiguousarray(table[None], np.float32), dst=out)
        else:
            np.copyto(out, table[image, np.arange(channels)])
        if not mixing:
            return
    else:
        np.copyto(out, image)
        _gamma(out, change.gamma, span)
    if mixing:
        matrix = np.column_stack([color_matrix(change.saturation, change.hue) * change.gain, offset])
        cv2.transform(out, matrix.astype(np.float32), dst=out)
    elif change.gain != 1 or offset.any():
        # Whole rows at a time: NumPy is slow along a short last axis.
        rows = out.reshape(len(out), -1)
        rows *= np.float32(change.gain)
        rows += np.tile(offset, image.shape[1]) if np.ptp(offset) else offset[0]
    if top is not None:
        np.clip(out, 0, top, out=out)


def _span(image: np.ndarray) -> tuple[float, float]:
    low, high, *_ = cv2.minMaxLoc(np.ascontiguousarray(image).reshape(len(image), -1))
    return low, high


def _gamma(values: np.ndarray, gamma: float, span: tuple[float, float]) -> None:
    """Raise values to a power, as fractions of their span, in place."""
    low, high = span
    if gamma == 1 or high <= low:
        return
    values -= np.float32(low)
    values *= np.float32(1 / (high - low))
    np.clip(values, 0, 1, out=values)
    np.power(values, np.float32(gamma), out=values)
    values *= np.float32(high - low)
    values += np.float32(low)


def _noise(shape: tuple[int, ...], seed: tuple[int, ...]) -> np.ndarray:
    """Standard normal float32, from 16 random bits each: a fifth of the time that exact draws take."""
    count = math.prod(shape)
    # Drawn 64 at a time, which is the generator's own width.
    words = np.random.default_rng(seed).integers(0, 2**64 - 1, -(-count // 4), np.uint64, endpoint=True)
    return np.take(_quantiles(), words.view(np.uint16)[:count]).reshape(shape)


@lru_cache(1)
def _quantiles() -> np.ndarray:
    """Give 65536 values, equally likely under the normal distribution, with standard deviation 1."""
    from scipy.special import ndtri

    values = ndtri((np.arange(65536) + 0.5) / 65536)
    return np.asarray(values / values.std(), np.float32)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    shape = image.shape
    content = imagecodecs.jpeg8_encode(image if shape[2] == 3 else image[:, :, 0], level=quality)
    return np.asarray(imagecodecs.jpeg8_decode(content)).reshape(shape)
