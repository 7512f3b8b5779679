"""Regions that follow the image: what a click means by colour, and superpixels to paint with."""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.imaging.decoders import Window
from maskwright.imaging.images import display
from maskwright.label.superpixels import superpixels

EDGE = 1024
"""Pixels along a window that superpixels are made in: each is divided by itself, when it is first looked at."""
MOST = 32_000_000
"""Pixels that one click may fill: a larger image is filled within a window around the click."""


def alike(pixels_HWC: np.ndarray, row: int, column: int, tolerance: float, *, connected: bool) -> np.ndarray:
    """Where an image looks as it does in one pixel (bool, H x W).

    Parameters
    ----------
    pixels_HWC
        The image, native values.
    row
        The pixel's place, from the top.
    column
        The pixel's place, from the left.
    tolerance
        How far each channel may differ, as a fraction (0 to 1) of its range of values (0 to 255 of 8 bits; else the
        0.5 to 99.5 percentiles).
    connected
        Whether only what touches the pixel counts, by edges.
    """
    shown = display(pixels_HWC) if pixels_HWC.dtype != np.uint8 else pixels_HWC
    height, width, channels = shown.shape
    most = round(tolerance * 255)
    near = np.ones((height, width), bool)
    for channel in range(channels):
        values = shown[..., channel].astype(np.int16)
        centre = int(values[row, column])
        near &= (values >= centre - most) & (values <= centre + most)
    if not connected:
        return near
    region = near.astype(np.uint8)
    around = np.zeros((height + 2, width + 2), np.uint8)
    cv2.floodFill(region, around, (column, row), 2, 0, 0, 4)
    return np.asarray(region == 2)


def window_around(shape: tuple[int, int], row: int, column: int) -> Window:
    """The whole image, or where that is too large the window of `MOST` pixels around a pixel."""
    if shape[0] * shape[1] <= MOST:
        return Window(0, 0, *shape)
    edge = int(MOST**0.5)
    height, width = min(edge, shape[0]), min(edge, shape[1])
    top = min(max(0, row - height // 2), shape[0] - height)
    left = min(max(0, column - width // 2), shape[1] - width)
    return Window(top, left, height, width)


def divided(pixels_HWC: np.ndarray, area: int) -> np.ndarray:
    """Superpixels of a window (uint16, H x W), numbered from 0; they differ from pixel to pixel of `area` or less."""
    rgb = display(pixels_HWC)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return superpixels(lab, area).astype(np.uint16)
