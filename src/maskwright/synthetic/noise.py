"""Noise, blur and sensor effects that the generated scenes share.

Arrays: `noise_HW` float32 of zero mean and about unit standard deviation; sizes are (height, width) in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["fractal", "labels_at_half_size", "vignette", "white"]


def white(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Independent normal noise, float32 HxW."""
    return rng.standard_normal(size, dtype=np.float32)


def fractal(
    rng: np.random.Generator, size: tuple[int, int], cell: float, octaves: int = 4, persistence: float = 0.5
) -> np.ndarray:
    """Value noise summed over octaves: the coarsest has features of `cell` pixels, each further one half of that.

    `persistence` is the amplitude of an octave relative to the coarser one before. Returns float32 HxW, zero mean,
    about unit standard deviation.
    """
    height, width = size
    total = np.zeros(size, np.float32)
    amplitude, power = 1.0, 0.0
    for _ in range(octaves):
        rows, columns = int(height / cell) + 3, int(width / cell) + 3
        grid = white(rng, (rows, columns))
        # The map, unlike a plain resize, leaves features of the same size along both axes and a random phase.
        phase_y, phase_x = rng.random(2)
        to_grid = np.array([[1 / cell, 0, phase_x + 0.5], [0, 1 / cell, phase_y + 0.5]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        octave = cv2.warpAffine(grid, to_grid, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        total += amplitude * octave
        power += amplitude**2 * (4 / 9)  # bilinear interpolation keeps (2/3)^2 of the variance
        amplitude *= persistence
        cell /= 2
        if cell < 1:
            break
    return total / np.float32(np.sqrt(power))


def vignette(size: tuple[int, int], strength: float) -> np.ndarray:
    """Brightness of a lens towards the corners: 1 in the centre, 1 - strength in the corners. float32 HxW."""
    y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None, :]
    return 1 - np.float32(strength / 2) * (x * x + y * y)


def labels_at_half_size(mask: np.ndarray) -> np.ndarray:
    """Shrink a uint8 HxW class mask by two: the commonest class of each 2x2 block, the lowest of those that tie."""
    height, width = mask.shape
    blocks = mask.reshape(height // 2, 2, width // 2, 2)
    a, b, c, d = blocks[:, 0, :, 0], blocks[:, 0, :, 1], blocks[:, 1, :, 0], blocks[:, 1, :, 1]
    low_ab, high_ab, low_cd, high_cd = np.minimum(a, b), np.maximum(a, b), np.minimum(c, d), np.maximum(c, d)
    first, last = np.minimum(low_ab, low_cd), np.maximum(high_ab, high_cd)
    inner_1, inner_2 = np.maximum(low_ab, low_cd), np.minimum(high_ab, high_cd)
    second, third = np.minimum(inner_1, inner_2), np.maximum(inner_1, inner_2)
    upper_pair_alone = (third == last) & (first != second)
    result: np.ndarray = np.where(second == third, second, np.where(upper_pair_alone, last, first)).astype(np.uint8)
    return result
