"""Labels from a second channel: nuclei in a bright-field or phase image, marked by a stain (DAPI) of the same field.

The images to label are in FOLDER/images/, the stain in FOLDER/dapi/ under the same names. The network that is trained
on these labels needs the stain no more.

    maskwright weak companion.py FOLDER
"""

import numpy as np
from scipy import ndimage
from skimage import filters, morphology

CLASSES = ["background", "nucleus"]
unsure = 0.15
"""What lies this fraction of the contrast about the threshold is left out."""


def label(image):
    """Nuclei where the stain is bright, 255 where it is neither bright nor dark."""
    stain = ndimage.gaussian_filter(image.companion("dapi").astype(np.float32), 1.0)
    threshold = filters.threshold_otsu(stain)
    low, high = stain[stain <= threshold].mean(), stain[stain > threshold].mean()
    nuclei = morphology.remove_small_objects(stain > threshold, max_size=20)
    between = np.abs(stain - threshold) < unsure * (high - low)
    return np.where(between, 255, nuclei)
