"""Pictures of single images for the report: the image, its truth, the prediction, and where these differ.

Legend: H, W height and width of the original; h, w those of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.imaging.images import display
from maskwright.imaging.painting import RGB, encoded, reduced, stripes

__all__ = ["FALSE_ALARM", "LONGEST", "MISSED", "WRONG", "errors_picture", "render"]

LONGEST = 512
"""Longest side of a picture in pixels: twice a quarter of a wide page, for sharp screens."""

WRONG = (255, 59, 82)
"""Errors among three or more classes."""
MISSED = (58, 160, 255)
"""Of two classes: the rarer one, not found. These two colours stay apart for colour-blind eyes."""
FALSE_ALARM = (255, 152, 31)
"""Of two classes: the rarer one, where it is not."""

Mask = NDArray[np.uint8]

_DIM, _LIFT = 0.42, 24.0


def render(
    pixels: NDArray[np.generic], truth_HW: Mask, prediction_HW: Mask, classes: ClassTable, rarer: int | None
) -> dict[str, bytes]:
    """Encode the four pictures of one image: `image` and `errors` as JPEG, `truth` and `prediction` as PNG.

    `pixels` is H x W x C in native values; `rarer` is as for `errors_picture`. Pictures larger than `LONGEST` are
    reduced.
    """
    photo = reduced(display(pixels), LONGEST)
    return {
        "image": encoded(photo, "JPEG"),
        "truth": _mask_png(truth_HW, classes),
        "prediction": _mask_png(prediction_HW, classes),
        "errors": encoded(errors_picture(photo, truth_HW, prediction_HW, rarer), "JPEG"),
    }


def errors_picture(photo_hw3: RGB, truth_HW: Mask, prediction_HW: Mask, rarer: int | None) -> RGB:
    """Wrong pixels in a signal colour on the dimmed grey image; pixels that do not count are hatched.

    Of two classes, `rarer` is the one looked for: `MISSED` where it was not found, `FALSE_ALARM` where it is not. With
    more classes it is None, and every error is `WRONG`.
    """
    grey = cv2.cvtColor(photo_hw3, cv2.COLOR_RGB2GRAY).astype(np.float32) * _DIM + _LIFT
    shown = np.repeat(grey[:, :, None], 3, axis=2)
    counted_HW = (truth_HW != UNLABELLED) & (prediction_HW != UNLABELLED)
    wrong_HW = counted_HW & (truth_HW != prediction_HW)
    if rarer is not None:
        layers = [(wrong_HW & (truth_HW == rarer), MISSED), (wrong_HW & (prediction_HW == rarer), FALSE_ALARM)]
    else:
        layers = [(wrong_HW, WRONG)]
    height, width = photo_hw3.shape[:2]
    for where_HW, color in layers:
        fraction = cv2.resize(where_HW.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        # The square root keeps errors one pixel wide visible in a reduced picture.
        weight = np.sqrt(fraction)[:, :, None]
        shown = shown * (1 - weight) + np.array(color, np.float32) * weight
    size = (width, height)
    ignored = cv2.resize((~counted_HW).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    shown[ignored] = np.where(stripes(ignored.shape), 150, 96)[ignored][:, None]
    picture: RGB = np.clip(shown + 0.5, 0, 255).astype(np.uint8)
    return picture


def _mask_png(mask_HW: Mask, classes: ClassTable) -> bytes:
    """A mask in its class colours: with a palette if it fits, else smoothly reduced."""
    if max(mask_HW.shape) <= LONGEST:
        picture = Pillow.fromarray(mask_HW)
        picture.putpalette(classes.palette())
    else:
        picture = Pillow.fromarray(reduced(classes.rgb(mask_HW), LONGEST))
    return encoded(picture, "PNG")
