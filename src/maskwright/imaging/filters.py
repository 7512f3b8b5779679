"""Local filters of one channel: edges, curvature, texture. Labelling scripts and pixel classifiers share them.

All take and give float32 `H x W`; derivatives are per pixel. What lies beyond the border is mirrored.
"""

from __future__ import annotations

import cv2
import numpy as np

TRUNCATE = 3.5
"""Standard deviations at which a Gaussian ends."""


def radius(sigma: float) -> int:
    """How far a Gaussian of `sigma` pixels reaches."""
    return int(np.ceil(TRUNCATE * sigma))


def gaussian(channel: np.ndarray, sigma: float) -> np.ndarray:
    """A channel under a Gaussian of `sigma` pixels that ends at `radius(sigma)`."""
    side = 2 * radius(sigma) + 1
    return cv2.GaussianBlur(channel, (side, side), sigma)


def gradient(smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives along a row and down a column."""
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x, ksize=3, scale=0.125) for x in (1, 0))
    return across, down


def magnitude(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The length of (x, y) at each pixel.

    By NumPy: the last bits of OpenCV's `magnitude` depend on where in memory the arrays lie, so that a run differed
    from the one before.
    """
    length: np.ndarray = np.sqrt(x * x + y * y)
    return length


def hessian_eigenvalues(smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The larger and the smaller curvature: a dark line has a large one across it."""
    xx, yy, xy = (cv2.Sobel(smooth, cv2.CV_32F, x, y, ksize=3, scale=0.25) for x, y in ((2, 0), (0, 2), (1, 1)))
    return _eigenvalues(xx, yy, xy)


def structure_eigenvalues(across: np.ndarray, down: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Square roots of the structure tensor's eigenvalues, its entries averaged by a Gaussian of `sigma` pixels.

    The larger is the strength of edges around, in units of the gradient; the smaller is as large where edges run in all
    directions, and 0 where in one (Förstner, Gülch 1987).
    """
    xx, yy, xy = (gaussian(product, sigma) for product in (across * across, down * down, across * down))
    large, small = _eigenvalues(xx, yy, xy)
    return cv2.sqrt(np.maximum(large, 0)), cv2.sqrt(np.maximum(small, 0))


def _eigenvalues(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the symmetric matrices [[xx, xy], [xy, yy]]."""
    middle, apart = (xx + yy) / 2, magnitude((xx - yy) / 2, xy)
    return middle + apart, middle - apart
