"""Dense conditional random field: sharpens probabilities along the edges of the image, after the network.

Krähenbühl, Koltun 2011, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials" (arXiv:1210.5644).
Every pixel is linked with every other one. Two pixels that get different classes cost (equation 3, Potts model)

    k(i, j) = w1 exp(-|p_i - p_j|² / 2 θα² - |I_i - I_j|² / 2 θβ²) + w2 exp(-|p_i - p_j|² / 2 θγ²)

with positions p and colours I: near pixels of one colour belong together (appearance), and small islands do not
(smoothness). Mean field (algorithm 1) looks for marginals that agree with this and with the network.

As in the authors' code, and not in the paper, each kernel is normalised symmetrically by the roots of both pixels'
sums over all pixels, so that weights do not depend on the image's size or contrast. The first kernel is filtered on the
permutohedral lattice (`lattice.py`), the second exactly, as it is separable.

Defaults are DeepLab's for VOC (Chen et al. 2015, arXiv:1412.7062, section 4: w2 = 3 and θγ = 3; the others, which they
searched for, as in their released configurations: w1 = 4, θα = 67, θβ = 3).

Shapes: H, W height and width, N = H W pixels, C channels, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import cv2
import numpy as np

from maskwright.errors import SettingError
from maskwright.predict.lattice import Lattice
from maskwright.predict.tiles import Tile, blend

COLORS = 3
"""Colour dimensions at most: more channels are reduced to as many principal components."""
CERTAIN = 1e-6
"""The smallest probability that a class is given: none is impossible."""
TILE = 768
"""Edge of a tile in pixels: larger images are refined in tiles, to keep memory at about a gigabyte."""
OVERLAP = 192
"""Pixels that neighbouring tiles share, about three times the default reach of appearance."""
BAND = 32
"""Classes that OpenCV filters at a time."""


@dataclass(frozen=True, kw_only=True)
class CRFSettings:
    """Weights and reaches of the two kernels. Raises SettingError for a number that is not above 0."""

    appearance_weight: float = 4.0
    """w1: logits that all alike pixels together can add."""
    appearance_pixels: float = 67.0
    """θα: reach in pixels."""
    appearance_color: float = 3.0
    """θβ: difference that counts as one colour, of 255, for each of three channels."""
    smoothness_weight: float = 3.0
    """w2: logits that all near pixels together can add."""
    smoothness_pixels: float = 3.0
    """θγ: reach in pixels."""
    iterations: int = 10
    """Rounds of mean field."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise SettingError(f"crf {field.name} = {value!r}: expected a number above 0.")


DEFAULTS = CRFSettings()


def refine(
    probabilities_HWK: np.ndarray,
    image_HWC: np.ndarray,
    settings: CRFSettings = DEFAULTS,
    valid_HW: np.ndarray | None = None,
) -> np.ndarray:
    """Marginals of the dense CRF whose unary potentials are -log of the probabilities.

    Parameters
    ----------
    probabilities_HWK
        H x W x K, summing to 1 over K.
    image_HWC
        H x W x C in native values, any type and any C; see `colors`.
    settings
        Weights and reaches.
    valid_HW
        H x W bool, optional; pixels where it is False influence nobody.

    Returns
    -------
    np.ndarray
        H x W x K float32, summing to 1 over K. The inputs stay as they are.
    """
    colors_HWC = colors(image_HWC)
    valid_HW = np.ones(probabilities_HWK.shape[:2], bool) if valid_HW is None else valid_HW

    def refined(tile: Tile) -> np.ndarray:
        area = np.s_[tile.top : tile.bottom, tile.left : tile.right]
        return _mean_field(probabilities_HWK[area], colors_HWC[area], settings, valid_HW[area]).transpose(2, 0, 1)

    height, width, classes = probabilities_HWK.shape
    return np.ascontiguousarray(blend(refined, (height, width), classes, TILE, OVERLAP).transpose(1, 2, 0))


def _mean_field(
    probabilities_HWK: np.ndarray, colors_HWC: np.ndarray, settings: CRFSettings, valid_HW: np.ndarray
) -> np.ndarray:
    """Algorithm 1; `colors_HWC` as `colors` gives them."""
    height, width, classes = probabilities_HWK.shape
    pixels = height * width
    seen_N1 = valid_HW.reshape(pixels, 1).astype(np.float32)
    log_NK = np.log(np.maximum(probabilities_HWK.reshape(pixels, classes).astype(np.float32), CERTAIN))

    rows_HW, columns_HW = np.mgrid[:height, :width].astype(np.float32) / settings.appearance_pixels
    features_HWD = np.dstack([columns_HW, rows_HW, colors_HWC / settings.appearance_color])
    appearance = Lattice(features_HWD.reshape(pixels, -1))
    smoothness = _Smoothness(height, width, settings.smoothness_pixels)
    kernels = []
    for weight, kernel in ((settings.appearance_weight, appearance), (settings.smoothness_weight, smoothness)):
        # A pixel's own exp(0) = 1 is part of its sum, and none of its message.
        root_N1 = np.sqrt(1 + np.maximum(kernel(seen_N1), 0))
        kernels.append((weight, kernel, seen_N1 / root_N1, 1 / root_N1))

    marginals_NK = _softmax(log_NK.copy())
    for _ in range(settings.iterations):
        logits_NK = log_NK.copy()
        for weight, kernel, before_N1, after_N1 in kernels:
            # Disagreeing costs the sum over other classes; agreeing gains the same up to a constant.
            logits_NK += weight * after_N1 * kernel(marginals_NK * before_N1)
        marginals_NK = _softmax(logits_NK)
    return marginals_NK.reshape(height, width, classes)


def colors(image_HWC: np.ndarray) -> np.ndarray:
    """Native values as up to three colour coordinates, H x W x 1..3 float32, for which θβ means what it does for RGB.

    uint8 is taken as it is. The range of other types says little about the image, so its 1st to 99th percentile, over
    all channels, become 0..255. Distances are scaled by the root of 3 / C, so that a grey image counts as the same grey
    in RGB. More than three channels are reduced to their first three principal components.
    """
    values_NC = image_HWC.reshape(-1, image_HWC.shape[2]).astype(np.float32)
    if image_HWC.dtype != np.uint8:
        low, high = np.percentile(values_NC, (1, 99))
        values_NC = (values_NC - low) * np.float32(255 / max(high - low, 1e-12))
    values_NC *= math.sqrt(3 / values_NC.shape[1])
    if values_NC.shape[1] > COLORS:
        values_NC -= values_NC.mean(0)
        _, axes_CC = np.linalg.eigh(values_NC.T @ values_NC)
        values_NC = values_NC @ axes_CC[:, -COLORS:]
    return values_NC.reshape(*image_HWC.shape[:2], -1)


class _Smoothness:
    """Sums over all other pixels, weighted by a Gaussian of their distance."""

    def __init__(self, height: int, width: int, reach: float) -> None:
        self.shape = (height, width)
        radius = math.ceil(5 * reach)
        self.kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * reach**2))

    def __call__(self, values_NK: np.ndarray) -> np.ndarray:
        values_HWK = values_NK.reshape(*self.shape, -1)
        bands = np.split(values_HWK, range(BAND, values_HWK.shape[2], BAND), 2)
        summed = [
            cv2.sepFilter2D(band, cv2.CV_32F, self.kernel, self.kernel, borderType=cv2.BORDER_CONSTANT)
            for band in map(np.ascontiguousarray, bands)
        ]
        sums_NK: np.ndarray = np.dstack(summed).reshape(values_NK.shape) - values_NK
        return sums_NK


def _softmax(logits_NK: np.ndarray) -> np.ndarray:
    """In place."""
    logits_NK -= logits_NK.max(1, keepdims=True)
    np.exp(logits_NK, out=logits_NK)
    logits_NK /= logits_NK.sum(1, keepdims=True)
    return logits_NK
