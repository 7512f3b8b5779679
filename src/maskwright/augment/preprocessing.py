"""Prepare whole images before the network sees them, in the same way for training and prediction.

Pure functions. H height, W width, C channels; native types in, the same types out.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from maskwright.config import Preparation
from maskwright.errors import SettingError

_TILES = 8
"""CLAHE equalises this many tiles along each axis."""

_FINE_SIGMA = 8.0
"""A wider blur is computed on a smaller image, where its sigma is at least this: a blur that wide has no detail."""


def prepare(pixels: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Prepare an image: choose bands, flatten illumination, clip, equalise, resize, in this order.

    Parameters
    ----------
    pixels
        H x W x C, uint8, uint16 or float32, any C.
    preparation
        What to do; a setting that is None is left out.

    Returns
    -------
    np.ndarray
        H' x W' x C', contiguous, of the same type. Integers are rounded.

    Raises
    ------
    SettingError
        For a band that the image does not have, or `flatten` for values below 0.
    """
    if preparation.bands is not None:
        pixels = _bands(pixels, preparation.bands)
    if preparation.flatten is not None:
        pixels = _flatten(pixels, preparation.flatten)
    if preparation.clip is not None:
        pixels = _clip(pixels, preparation.clip)
    if preparation.clahe is not None:
        pixels = _equalise(pixels, preparation.clahe)
    if preparation.resize is not None:
        pixels = _resize(pixels, preparation.resize)
    return np.ascontiguousarray(pixels)


def prepare_mask(mask: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Resize a mask (`H x W`, any type) as `prepare` resizes its image: each pixel takes the value at its centre.

    A pixel's centre lies at its coordinate plus one half, so no value is invented and nothing shifts.
    """
    if preparation.resize is None:
        return mask
    rows, columns = (
        ((np.arange(wanted) + 0.5) * had / wanted).astype(np.int64)
        for wanted, had in zip(preparation.resize, mask.shape, strict=True)
    )
    return np.ascontiguousarray(mask[rows[:, None], columns])


def _bands(pixels: np.ndarray, bands: tuple[int, ...]) -> np.ndarray:
    channels = pixels.shape[2]
    missing = sorted({band for band in bands if band >= channels})
    if missing:
        raise SettingError(
            f"bands = {', '.join(map(str, bands))}: the image has {channels} channel{'s' if channels > 1 else ''}, "
            f"so there is no band {', '.join(map(str, missing))}.",
            expected=f"Expected numbers from 0 to {channels - 1}.",
            remedy="Give others with --bands, or leave it out.",
        )
    return pixels[..., list(bands)]


def _flatten(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Divide each channel by its own blur and multiply by the blur's mean, so that the level stays."""
    if pixels.dtype.kind == "f" and pixels.min() < 0:
        raise SettingError(
            f"flatten = {sigma:g}: the image has values below 0 (down to {pixels.min():g}).",
            expected="Illumination is a factor, so flattening expects values from 0.",
            remedy="Leave flatten out, or store the image with an offset.",
        )

    def flat(channel: np.ndarray) -> np.ndarray:
        channel = channel.astype(np.float32)
        background = _blur(channel, sigma)
        level = background.mean(dtype=np.float64)
        # Where the surroundings are black there is nothing to divide by; the image is 0 there too.
        least = np.float32(max(level, 1e-20) * 1e-3)
        result: np.ndarray = channel * np.float32(level) / np.maximum(background, least)
        return result

    return _like(pixels, _each_channel(pixels, flat))


def _blur(channel: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a float32 `H x W` image, mirrored at its edges."""
    height, width = channel.shape
    factor = max(1, int(sigma / _FINE_SIGMA))
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    if factor > 1:
        channel = cv2.resize(channel, small, interpolation=cv2.INTER_AREA)
    blurred: np.ndarray = cv2.GaussianBlur(
        channel,
        (0, 0),
        sigmaX=sigma * small[0] / width,
        sigmaY=sigma * small[1] / height,
        borderType=cv2.BORDER_REFLECT,
    )
    return blurred if factor == 1 else cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)


def _clip(pixels: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Bring values outside each channel's percentiles to the percentile; nothing is stretched."""
    low, high = np.percentile(pixels, percentiles, axis=(0, 1))
    clipped: np.ndarray = pixels.clip(_like(pixels, low), _like(pixels, high))
    return clipped


def _equalise(pixels: np.ndarray, limit: float) -> np.ndarray:
    """CLAHE (Zuiderveld, Graphics Gems IV, 1994) of each channel; of three channels, taken as RGB, of CIE lightness."""
    if pixels.shape[2] != 3:
        return _like(pixels, _each_channel(pixels, lambda channel: _clahe(channel, limit)))
    if pixels.dtype == np.uint8:
        lab = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2LAB)
        lab[..., 0] = _clahe(lab[..., 0], limit)
        return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    low, high = _range(pixels)
    lab = cv2.cvtColor((pixels.astype(np.float32) - low) / (high - low), cv2.COLOR_RGB2LAB)
    lab[..., 0] = _clahe(lab[..., 0], limit)
    return _like(pixels, cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).clip(0, 1) * (high - low) + low)


def _clahe(channel: np.ndarray, limit: float) -> np.ndarray:
    """Equalise `H x W`; floats in 65536 steps of their range."""
    height, width = channel.shape
    # Tiles of two pixels at least: OpenCV mirrors the image to fill the last ones, and cannot mirror one pixel.
    clahe = cv2.createCLAHE(clipLimit=limit, tileGridSize=(_tiles(width), _tiles(height)))
    if channel.dtype in (np.uint8, np.uint16):
        return clahe.apply(np.ascontiguousarray(channel))
    low, high = _range(channel)
    steps = np.rint((channel - low) / (high - low) * np.float32(65535)).astype(np.uint16)
    fractions: np.ndarray = clahe.apply(steps).astype(np.float32) / np.float32(65535)
    return fractions * (high - low) + low


def _tiles(size: int) -> int:
    return max(1, min(_TILES, size // 2))


def _range(pixels: np.ndarray) -> tuple[np.float32, np.float32]:
    """Full range of an integer type; least and largest value of floats."""
    if pixels.dtype.kind == "u":
        return np.float32(0), np.float32(np.iinfo(pixels.dtype).max)
    low, high = np.float32(pixels.min()), np.float32(pixels.max())
    return low, high if high > low else low + np.float32(1)


def _resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink by area and enlarge linearly, each axis as it needs."""
    height, width = pixels.shape[:2]
    small = (min(size[0], height), min(size[1], width))
    for (rows, columns), interpolation in ((small, cv2.INTER_AREA), (size, cv2.INTER_LINEAR)):
        if pixels.shape[:2] == (rows, columns):
            continue
        # OpenCV resizes up to four channels at once.
        parts = [
            cv2.resize(np.ascontiguousarray(pixels[..., c : c + 4]), (columns, rows), interpolation=interpolation)
            for c in range(0, pixels.shape[2], 4)
        ]
        pixels = np.concatenate([part.reshape(rows, columns, -1) for part in parts], axis=-1)
    return pixels


def _each_channel(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([change(np.ascontiguousarray(pixels[..., c])) for c in range(pixels.shape[2])], axis=-1)


def _like(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values in the type of `pixels`: rounded and kept in range for integers."""
    if pixels.dtype.kind == "u":
        values = np.rint(values).clip(0, np.iinfo(pixels.dtype).max)
    return values.astype(pixels.dtype)
