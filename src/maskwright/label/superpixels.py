"""Superpixels: small connected regions of nearly one colour, which follow the edges of an image.

SLIC (Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", IEEE TPAMI 34) as
scikit-image has it.
"""

from __future__ import annotations

import numpy as np
from skimage.segmentation import slic

_COMPACTNESS = 10.0
"""Of Lab values, 0 to 100: the paper's own."""
_ROUNDS = 5


def superpixels(lab_HW3: np.ndarray, area: int) -> np.ndarray:
    """Divide an image into regions of about `area` pixels.

    Parameters
    ----------
    lab_HW3 : CIE Lab, lightness 0 to 100.
    area : pixels in a region; 1 or less makes each pixel a region of its own.

    Returns
    -------
    int32 `H x W`, 0 to the number of regions - 1. The same image always gives the same regions.
    """
    height, width = lab_HW3.shape[:2]
    if area <= 1:
        return np.arange(height * width, dtype=np.int32).reshape(height, width)
    count = max(1, round(height * width / area))
    found = slic(
        lab_HW3.astype(np.float32),
        n_segments=count,
        compactness=_COMPACTNESS,
        max_num_iter=_ROUNDS,
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    return np.asarray(np.unique(found, return_inverse=True)[1].reshape(height, width), np.int32)
