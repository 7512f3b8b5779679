"""Superpixels: small connected regions of nearly one colour, which follow the edges of an image.

SLIC (Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", IEEE TPAMI 34) as
scikit-image has it.
"""

from __future__ import annotations

import numpy as np
from skimage.segmentation import slic

_COMPACTNESS = 0.1
"""Of an image between 0 and 1, to which scikit-image brings it: the paper's 10 of lightness between 0 and 100."""
_ROUNDS = 5


def superpixels(lab_HW3: np.ndarray, area: int) -> np.ndarray:
    """Divide an image into regions of about `area` pixels.

    Parameters
    ----------
    lab_HW3
        CIE Lab, lightness 0 to 100.
    area
        Pixels in a region; 1 or less makes each pixel a region of its own.

    Returns
    -------
    np.ndarray
        int32 `H x W`, 0 to the number of regions - 1. The same image always gives the same regions.
    """
    height, width = lab_HW3.shape[:2]
    if area <= 1:
        return np.arange(height * width, dtype=np.int32).reshape(height, width)
    count = max(1, round(height * width / area))
    # A few very bright or dark pixels must not flatten all others when the image is brought to 0 to 1.
    low, high = np.percentile(lab_HW3[..., 0], (0.5, 99.5))
    lightness = np.clip(lab_HW3[..., :1], low, high) - low
    found = slic(
        np.concatenate([lightness, lab_HW3[..., 1:]], 2).astype(np.float32),
        n_segments=count,
        compactness=_COMPACTNESS,
        max_num_iter=_ROUNDS,
        convert2lab=False,
        min_size_factor=0.1,  # what is smaller is joined to a neighbour, across edges
        start_label=0,
        channel_axis=-1,
    )
    return np.asarray(np.unique(found, return_inverse=True)[1].reshape(height, width), np.int32)
