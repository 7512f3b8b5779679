"""A saved pixel classifier as a predictor: `predict`, `evaluate` and scripts use it as they use a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright.config import Preparation
from maskwright.datasets.classes import ClassTable
from maskwright.pixels.saved import load
from maskwright.predict.predictor import Predictor


class PixelPredictor(Predictor):
    """The model of a folder that `maskwright scribbles train` wrote; it works on the processor."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        self.run, self.source = run, str(folder)
        self.classes = ClassTable.from_dict(run["classes"], self.source)
        self.preparation = Preparation()
        self.flips = (False, False)
        self.device = torch.device("cpu")
        self._process = os.getpid()
        self.crf = None
        self.model = load(folder, run)

    def _probabilities(self, prepared: np.ndarray) -> np.ndarray:
        """K x H x W float32 of an image."""
        return self.model.probabilities(prepared)
