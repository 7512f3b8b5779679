"""Nuclei under a microscope: bright on dark (fluorescence), dark on bright, or stained purple.

Written from four images of nuclei. Whichever way the image is, nuclei are first made bright on dark (`signal`).

    maskwright weak nuclei.py FOLDER
"""

import numpy as np
from scipy import ndimage
from skimage import filters, morphology

from maskwright.label.views import View
from maskwright.label.voters import votes

CLASSES = ["background", "nucleus"]
SUPERPIXEL = 9
window = 0.4
"""Width of the neighbourhood of the local threshold, as a fraction of the image."""


def signal(image: View) -> np.ndarray:
    """Nuclei bright, 0 to 1, smoothed a little."""

    def make() -> np.ndarray:
        color = float(np.median(image.hsv[..., 1])) > 0.08 and float(np.median(image.gray)) > 0.2
        plain = 1 - image.rgb[..., 0] if color else image.gray  # haematoxylin takes red away
        if not color and np.median(plain) > plain.min() + 0.5 * (plain.max() - plain.min()):
            plain = 1 - plain
        plain = ndimage.gaussian_filter(plain, 1.0)
        low, high = np.percentile(plain, (1, 99.8))
        return np.clip((plain - low) / max(high - low, 1e-6), 0, 1)

    return image.once("signal", make)


def rooted(image: View) -> np.ndarray:
    """The signal with dim nuclei lifted: its square root."""
    return np.sqrt(signal(image))


def clean(mask: np.ndarray) -> np.ndarray:
    """Without specks, holes filled."""
    return ndimage.binary_fill_holes(morphology.remove_small_objects(mask, max_size=20))


@votes("nucleus", otherwise="background")
def otsu(image):
    """One threshold for the whole image, on the square root: dim nuclei count too."""
    bright = rooted(image)
    return clean(bright > filters.threshold_otsu(bright))


@votes("nucleus", otherwise="background")
def triangle(image):
    """The triangle method, which expects one large peak of background."""
    bright = signal(image)
    return clean(bright > filters.threshold_triangle(bright))


@votes("nucleus", otherwise="background")
def li(image):
    """Least cross-entropy."""
    bright = signal(image)
    return clean(bright > filters.threshold_li(bright))


@votes("nucleus", otherwise="background")
def around(image):
    """Brighter than the neighbourhood, and not just noise."""
    bright = rooted(image)
    mean = ndimage.uniform_filter(bright, max(15, int(window * min(bright.shape))))
    return clean(bright > mean + 0.25 * bright.std())


@votes("background")
def flat_and_dark(image):
    """The darker half, away from edges."""
    bright = signal(image)
    edge = ndimage.gaussian_gradient_magnitude(bright, 1.5)
    return (bright <= np.median(bright)) & (edge < np.percentile(edge, 60))
