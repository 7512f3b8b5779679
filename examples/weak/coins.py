"""Coins on a dark, unevenly lit ground: scikit-image's own photograph `skimage.data.coins()`.

The simple form: one function, which says 255 where it does not know. What it is sure of, background and coins, floods
the strength of edges until both meet (watershed); a rim is left out where they do.

    maskwright weak coins.py FOLDER
"""

import numpy as np
from scipy import ndimage
from skimage import morphology, segmentation

CLASSES = ["background", "coin"]
dark = 0.12
bright = 0.6
"""Gray values, 0 to 1, that are background and coin for sure."""
rim = 1
"""Pixels on either side of an outline that are left out."""


def label(image):
    """Coins and background, 255 along the outlines."""
    gray = image.gray
    seeds = np.zeros(gray.shape, int)
    seeds[gray < dark] = 1
    seeds[gray > bright] = 2
    coins = ndimage.binary_fill_holes(segmentation.watershed(image.gradient, seeds) == 2)
    coins = morphology.remove_small_objects(coins, max_size=200)
    outline = ndimage.binary_dilation(coins, iterations=rim) & ~ndimage.binary_erosion(coins, iterations=rim)
    return np.where(outline, 255, coins)
