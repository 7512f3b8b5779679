"""What a view that shrinks an image would alias, taken out of the image first.

A footprint is J J^T (2 x 2, x before y), J the Jacobian of a map from view pixels to source points: the ellipse of the
source that a pixel of the view stands for. Shapes: h, w of the view, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

_ALIASING = 1.1
"""Views that shrink the image by less than this are not blurred first."""

MOST_CHANNELS = 128
"""OpenCV 5 takes no more."""

_SLANTED = 0.05
"""Up to this fraction of its trace, a covariance's mixed term is taken for 0, and the blur for separable."""

_NEGLIGIBLE = 0.05
"""Or up to this many square pixels: the bilinear kernel itself has 1/6."""


def corners(size: tuple[int, int], reach: float = 0.0) -> np.ndarray:
    """Give the centres of a view's corner pixels, moved outwards by `reach`: 2 x 4."""
    right, bottom = size[1] - 1 + reach, size[0] - 1 + reach
    return np.array([[-reach, right, -reach, right], [-reach, -reach, bottom, bottom]])


def footprint(to_source: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Measure how much of the source a view pixel covers (2 x 2); with perspective the mean over corners and middle.

    An elastic deformation counts as none: it stretches as much as it squeezes.
    """
    if len(to_source) == 2:
        return np.asarray(to_source[:, :2] @ to_source[:, :2].T)
    points = np.column_stack([corners(size), [(size[1] - 1) / 2, (size[0] - 1) / 2]])
    x, y, divisor = to_source[:, :2] @ points + to_source[:, 2:]
    # Rows of the Jacobian at each point, 2 x N: how x and y of the source change along x and y of the view.
    across, down = (
        (row[:2, None] - to_source[2, :2, None] * (value / divisor)) / divisor
        for row, value in zip(to_source, (x, y), strict=False)
    )
    mixed = (across * down).sum(0).mean()
    return np.array([[(across**2).sum(0).mean(), mixed], [mixed, (down**2).sum(0).mean()]])


def antialiased(source: np.ndarray, to_source: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Take out of the source what a shrinking view would alias; say by how much it was reduced along x and y.

    A pixel of the view covers an ellipse of the source, and what the bilinear kernel lacks of it is added as a
    Gaussian: by whole pixels averaged first where that is much, the rest by a blur, in each direction what it needs.

    Parameters
    ----------
    source
        H x W x C, native type.
    to_source
        The view's map, 2 x 3 or 3 x 3.
    size
        The view's (h, w).

    Returns
    -------
    tuple[np.ndarray, tuple[int, int]]
        The source, of the same type, averaged over blocks of u x v pixels and blurred; and (u, v).
    """
    covered = footprint(to_source, size)
    least, most = np.linalg.eigvalsh(covered)
    if most < _ALIASING**2:
        return source, (1, 1)
    slanted = abs(covered[0, 1]) > _SLANTED * covered.trace()
    u, v = (max(1, int(math.sqrt(value) / 2)) for value in ([least] * 2 if slanted else covered.diagonal()))
    if max(u, v) > 1:
        source = _averaged(source, (u, v))
    # Variances add up. Wanted is a quarter of the footprint; bilinear sampling has that of a one-pixel footprint, and
    # averaging u pixels has brought (u^2 - 1) / 12. What is missing is then counted in averaged pixels.
    missing = 0.25 * (covered - np.eye(2)) - np.diag([(u * u - 1) / 12, (v * v - 1) / 12])
    return _blurred(source, missing / [[u * u, u * v], [u * v, v * v]]), (u, v)


def _averaged(source: np.ndarray, factor: tuple[int, int]) -> np.ndarray:
    """Means of `factor` (x, y) pixels; a last incomplete block is filled with the edge's pixels."""
    height, width, channels = source.shape
    rows, columns = -height % factor[1], -width % factor[0]
    if rows or columns:
        source = np.pad(source, ((0, rows), (0, columns), (0, 0)), mode="edge")
    small = (source.shape[1] // factor[0], source.shape[0] // factor[1])

    def reduced(part: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
        small_part: np.ndarray = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        return small_part

    return few_channels(source, np.zeros(channels), reduced)


def _blurred(source: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Convolve with a Gaussian of this covariance (2 x 2, in pixels); negative variances count as 0."""
    variances, axes = np.linalg.eigh(covariance)
    covariance = axes @ np.diag(np.maximum(variances, 0)) @ axes.T
    sigma_x, sigma_y = np.sqrt(covariance.diagonal())
    radius_x, radius_y = round(2.3 * sigma_x), round(2.3 * sigma_y)
    if abs(covariance[0, 1]) <= max(_SLANTED * covariance.trace(), _NEGLIGIBLE):
        return any_channels(source, lambda part: cv2.GaussianBlur(
            part, (2 * radius_x + 1, 2 * radius_y + 1),
            sigmaX=max(sigma_x, 1e-3), sigmaY=max(sigma_y, 1e-3), borderType=cv2.BORDER_REFLECT_101,
        ))  # fmt: skip
    # A very thin ellipse needs no division by zero: a hundredth of a pixel is a line.
    precision = np.linalg.inv(covariance + 1e-4 * np.eye(2))
    y, x = np.mgrid[-radius_y : radius_y + 1, -radius_x : radius_x + 1]
    kernel = np.exp(-0.5 * (precision[0, 0] * x * x + 2 * precision[0, 1] * x * y + precision[1, 1] * y * y))
    kernel /= kernel.sum()
    return any_channels(source, lambda part: cv2.filter2D(part, -1, kernel, borderType=cv2.BORDER_REFLECT_101))


def any_channels(source: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply an OpenCV function that treats channels alike to any number of them."""
    height, width, channels = source.shape
    firsts = range(0, channels, MOST_CHANNELS)
    parts = [source] if len(firsts) == 1 else [source[..., first : first + MOST_CHANNELS] for first in firsts]
    done = [change(np.ascontiguousarray(part)).reshape(height, width, -1) for part in parts]
    return done[0] if len(done) == 1 else np.concatenate(done, 2)


def few_channels(
    source: np.ndarray, values: np.ndarray, change: Callable[[np.ndarray, tuple[float, ...]], np.ndarray]
) -> np.ndarray:
    """Apply an OpenCV function that takes four channels at most, and is fast with one or four, to any number."""
    channels = source.shape[2]
    parts = []
    for first in range(0, channels, 4):
        part = source if channels <= 4 else np.ascontiguousarray(source[:, :, first : first + 4])
        count = part.shape[2]
        border = tuple(values[first : first + 4].tolist())
        if count == 3:
            done = cv2.cvtColor(change(cv2.cvtColor(part, cv2.COLOR_RGB2RGBA), (*border, 0.0)), cv2.COLOR_RGBA2RGB)
        elif count == 2:
            done = np.stack([change(np.ascontiguousarray(part[:, :, i]), (border[i],)) for i in range(2)], 2)
        else:
            done = change(part, border)
        parts.append(done.reshape(*done.shape[:2], count))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)
