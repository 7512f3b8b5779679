"""Blood vessels in a photograph of the retina: dark branching lines, best seen in green.

Written from three images. What lies outside the round field of view is left out.

    maskwright weak vessels.py FOLDER
"""

import cv2
import numpy as np
from scipy import ndimage
from skimage import filters, morphology

from maskwright.label.views import View
from maskwright.label.voters import votes

CLASSES = ["background", "vessel"]
SUPERPIXEL = 0
CONFIDENCE = 0.7
vessel = 0.12
"""Fraction of the field of view that is taken for vessels."""


def field(image: View) -> np.ndarray:
    """The field of view, without its rim."""

    def make() -> np.ndarray:
        lit = ndimage.binary_fill_holes(ndimage.gaussian_filter(image.rgb[..., 0], 2) > 0.15)
        return ndimage.binary_erosion(lit & image.valid, iterations=8)

    return image.once("field", make)


def even(image: View) -> np.ndarray:
    """Green, evenly lit; what lies outside the field is filled with the field's mean, so that its rim is no edge."""

    def make() -> np.ndarray:
        inside, green = field(image), image.rgb[..., 1]
        filled = np.where(inside, green, green[inside].mean() if inside.any() else 0).astype(np.float32)
        weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 12)
        mean = cv2.GaussianBlur(np.where(inside, green, 0).astype(np.float32), (0, 0), 12) / np.maximum(weight, 1e-3)
        flat = np.where(inside, filled - mean, 0)
        around = np.sqrt(cv2.GaussianBlur((flat**2).astype(np.float32), (0, 0), 25) / np.maximum(weight, 0.1))
        typical = float(np.median(around[inside])) if inside.any() else 1.0
        # The optic disk is bright: its parts must not make what lies between them look like vessels.
        return np.minimum(flat / np.maximum(around, max(typical, 1e-6)), 0.5).astype(np.float32)

    return image.once("even", make)


def ridge(image: View) -> np.ndarray:
    """How much a pixel lies on a dark line, of any width that vessels have."""
    return image.once("ridge", lambda: image.ridges(1.2, 1.8, 2.6, 3.6, of=even(image)))


def within(image: View, score: np.ndarray, fraction: float) -> np.ndarray:
    """The highest pixels of a score in the field, in pieces that are large enough; NaN outside the field."""
    inside = field(image)
    if not inside.any():
        return np.full(score.shape, np.nan)
    found = morphology.remove_small_objects((score > np.quantile(score[inside], 1 - fraction)) & inside, max_size=40)
    return np.where(inside, found, np.nan).astype(np.float32)


@votes("vessel", otherwise="background")
def lines(image):
    """Dark lines."""
    return within(image, ridge(image), vessel)


@votes("vessel", otherwise="background")
def bars(image):
    """Matched filters: dark bars of 15 pixels in 12 directions (Chaudhuri et al. 1989)."""
    side, plain = 15, even(image).astype(np.float32)
    y, x = np.mgrid[-side : side + 1, -side : side + 1].astype(np.float32)
    answers = []
    for angle in np.arange(12) * np.pi / 12:
        along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
        bar = np.where((np.abs(along) <= 7) & (np.abs(across) <= 6), -np.exp(-(across**2) / (2 * 1.8**2)), 0)
        used = bar != 0
        bar[used] -= bar[used].mean()
        answers.append(cv2.filter2D(plain, -1, (bar / np.abs(bar).sum()).astype(np.float32)))
    return within(image, np.max(answers, 0), vessel)


@votes("vessel", otherwise="background")
def closed(image):
    """Darker than what is left when all thin dark structure is closed (black top hat)."""
    plain = even(image).astype(np.float32)
    smooth = cv2.GaussianBlur(plain, (0, 0), 1.0)
    hat = cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13)))
    return within(image, hat, vessel)


@votes("vessel", otherwise="background")
def grown(image):
    """Strong lines, and weak ones that join them."""
    inside, found = field(image), ridge(image)
    if not inside.any():
        return None
    low, high = np.quantile(found[inside], (1 - 1.2 * vessel, 1 - 0.5 * vessel))
    return np.where(inside, filters.apply_hysteresis_threshold(np.where(inside, found, 0), low, high), np.nan)


@votes("background")
def rim(image):
    """Outside the field of view there is no vessel."""
    return ~field(image) & image.valid
