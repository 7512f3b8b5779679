"""Masks painted over images: overlays, outlines, stripes where nothing is labelled; and pictures as files for a page.

Colours come in, class tables do not: whoever paints looks the colours up.

Legend: H, W height and width; h, w those of a reduced picture. Pictures are uint8 RGB, `H x W x 3`.
"""

from __future__ import annotations

import base64
import io
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

__all__ = ["RGB", "data_address", "encoded", "outline", "overlay", "reduced", "stripes"]

RGB = NDArray[np.uint8]


def overlay(
    photo_HW3: RGB,
    colors_HW3: RGB,
    *,
    opacity: float = 0.5,
    hidden_HW: NDArray[np.bool_] | None = None,
    outline_HW: NDArray[np.bool_] | None = None,
) -> RGB:
    """Lay a mask's colours over its image.

    Parameters
    ----------
    photo_HW3
        The image.
    colors_HW3
        Each pixel in the colour of its class.
    opacity
        Weight of the colours, 0 to 1.
    hidden_HW
        Where the image is left as it is.
    outline_HW
        Where the colour is at full strength.
    """
    shown = np.asarray(cv2.addWeighted(photo_HW3, 1 - opacity, colors_HW3, opacity, 0), np.uint8)
    if outline_HW is not None:
        shown[outline_HW] = colors_HW3[outline_HW]
    if hidden_HW is not None:
        shown[hidden_HW] = photo_HW3[hidden_HW]
    return shown


def outline(labels_HW: np.ndarray, *, thick: bool = False) -> NDArray[np.bool_]:
    """Where a label differs from the pixel above or to the left; if `thick`, the pixels on both sides of the change."""
    edge = np.zeros(labels_HW.shape, bool)
    for here, before in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        change = labels_HW[here] != labels_HW[before]
        edge[here] |= change
        if thick:
            edge[before] |= change
    return edge


def stripes(shape: tuple[int, ...], *, period: int = 10, width: int = 3) -> NDArray[np.bool_]:
    """Diagonal stripes, `width` of every `period` pixels along a row: the pattern of what is not labelled."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((x + y) % period < width)


def reduced(picture_HW3: RGB, longest: int, *, nearest: bool = False) -> RGB:
    """A picture of at most `longest` pixels on its longer side; smaller ones are returned as they are."""
    factor = longest / max(picture_HW3.shape[:2])
    if factor >= 1:
        return picture_HW3
    size = (max(1, round(picture_HW3.shape[1] * factor)), max(1, round(picture_HW3.shape[0] * factor)))
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture_HW3, size, interpolation=how), np.uint8)


def encoded(picture: RGB | Pillow.Image, kind: Literal["JPEG", "PNG"], *, quality: int = 88) -> bytes:
    """A picture as the content of a file; `quality` is that of JPEG."""
    image = picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    if kind == "JPEG":
        # Not optimised: Pillow then needs a buffer for the whole file, guesses its size, and fails on noisy images.
        image.save(buffer, "JPEG", quality=quality, subsampling=0)
    else:
        image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_address(content: bytes) -> str:
    """A PNG or JPEG file's content as a `data:` address, which a page can show without loading anything."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
