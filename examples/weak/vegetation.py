"""Plants on soil, seen from above in a colour photograph or with a near infrared band.

maskwright weak vegetation.py FOLDER
"""

import numpy as np
from skimage import filters

from maskwright.label.voters import votes

CLASSES = ["soil", "plant"]
SUPERPIXEL = 25
green = 0.08
"""Excess green from which a pixel is certainly not soil."""


@votes("plant", otherwise="soil")
def excess_green(image):
    """More green than red and blue, by Otsu's threshold; an image without plants has no two groups to part."""
    index = image.exg
    threshold = filters.threshold_otsu(index)
    return index > max(threshold, green / 2) if index.std() > 0.02 else None


@votes("plant", otherwise="soil")
def green_in_lab(image):
    """Green in Lab, where light and shade make no difference; what is nearly grey is left to others."""
    a = image.lab[..., 1]
    return np.where(np.abs(a + 4) < 1.5, np.nan, a < -4)


@votes("plant")
def green_hue(image):
    """A hue between yellow and cyan, and not pale."""
    hue, saturation, value = np.moveaxis(image.hsv, 2, 0)
    return (hue > 0.17) & (hue < 0.45) & (saturation > 0.2) & (value > 0.08)


@votes("soil")
def brown(image):
    """A hue about orange, or nearly grey."""
    hue, saturation, _ = np.moveaxis(image.hsv, 2, 0)
    return ((hue < 0.12) | (hue > 0.9) | (saturation < 0.08)) & (image.exg < green)


@votes("plant", otherwise="soil")
def infrared(image):
    """NDVI, where there is a fourth band; abstains elsewhere."""
    if image.shape[2] < 4:
        return None
    return np.where(np.abs(image.ndvi - 0.3) < 0.05, np.nan, image.ndvi > 0.3)
