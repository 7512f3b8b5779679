"""Cell membranes in an electron micrograph: thin dark lines about bright cells.

Written from three images. Dark are also the inner parts of cells (mitochondria), which have no long thin shape.

    maskwright weak membranes.py FOLDER
"""

import numpy as np
from scipy import ndimage
from skimage import filters, measure, morphology

from maskwright.label.views import View
from maskwright.label.voters import votes

CLASSES = ["membrane", "cell"]
SUPERPIXEL = 9
CONFIDENCE = 0.7
line = 2.5
"""Scale of a membrane in pixels: about its width / 2."""
dark = 0.25
"""Fraction of pixels that are taken for dark enough to be membrane."""


def smooth(image: View) -> np.ndarray:
    """The image without noise, and without slow changes of brightness."""

    def make() -> np.ndarray:
        gray = ndimage.gaussian_filter(image.gray, 1.5)
        return gray - ndimage.gaussian_filter(gray, 25)

    return image.once("smooth", make)


def ridge(image: View) -> np.ndarray:
    """How much a pixel lies on a dark line."""
    return image.once("ridge", lambda: image.ridges(line, 1.5 * line, of=smooth(image)))


def blots(image: View) -> np.ndarray:
    """Dark, large and compact, so that no membrane lies in it: where a disk fits in, after strong smoothing."""

    def make() -> np.ndarray:
        plain = ndimage.gaussian_filter(smooth(image), 3.5)
        found = morphology.opening(plain < np.quantile(plain, 0.25), morphology.disk(8))
        labels = measure.label(found)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        return ndimage.binary_erosion((areas > 300)[labels], iterations=2)

    return image.once("blots", make)


def long_lines(image: View, mask: np.ndarray) -> np.ndarray:
    """Without blots, and without pieces that are too small for a membrane."""
    return morphology.remove_small_objects(mask & ~blots(image), max_size=250)


@votes("membrane", otherwise="cell")
def lines(image):
    """Strong lines."""
    found = ridge(image)
    return long_lines(image, found > filters.threshold_otsu(found) * 0.8)


@votes("membrane", otherwise="cell")
def darkest(image):
    """The darkest pixels."""
    plain = smooth(image)
    return long_lines(image, plain < np.quantile(plain, dark))


@votes("membrane", otherwise="cell")
def joined(image):
    """Lines and darkness together, with weaker pieces that touch strong ones."""
    plain, found = smooth(image), ridge(image)
    score = found / found.std() - plain / plain.std()
    weak, strong = np.quantile(score, (0.7, 0.87))
    return long_lines(image, filters.apply_hysteresis_threshold(score, weak, strong))


@votes("cell")
def bright(image):
    """The bright half."""
    plain = smooth(image)
    return plain > np.quantile(plain, 0.5)


@votes("cell")
def dark_inside(image):
    """The dark blots are the inside of cells, too."""
    return blots(image)
