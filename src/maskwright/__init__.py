"""Maskwright: semantic segmentation, from a folder of images to a model you can trust.

The public names are imported when they are first used, so that `maskwright --help` needs neither torch nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskwright.datasets.classes import ClassTable
    from maskwright.datasets.formats import open_dataset
    from maskwright.errors import MaskwrightError as MaskwrightError
    from maskwright.predict.predictor import Prediction as Prediction
    from maskwright.predict.predictor import Predictor as Predictor

__version__ = "0.1.0"

_HOME = {
    "ClassTable": "maskwright.datasets.classes",
    "MaskwrightError": "maskwright.errors",
    "Prediction": "maskwright.predict.predictor",
    "Predictor": "maskwright.predict.predictor",
    "open_dataset": "maskwright.datasets.formats",
}
__all__ = ["ClassTable", "MaskwrightError", "Prediction", "Predictor", "__version__", "open_dataset"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'maskwright' has no attribute {name!r}; it has {', '.join(__all__)}")
