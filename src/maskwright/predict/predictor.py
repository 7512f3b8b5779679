"""A trained model, ready for images: load a run, call it with an array, get masks, probabilities and uncertainty.

Shapes: H, W height and width of the image as given; C channels; K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from maskwright import runs
from maskwright.augment.preprocessing import prepare
from maskwright.config import Preparation, Settings
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.errors import DataError, InputWarning, RunError
from maskwright.imaging.images import display
from maskwright.imaging.painting import outline, overlay
from maskwright.models import build
from maskwright.models.ensemble import Ensemble
from maskwright.models.segmenter import Segmenter
from maskwright.models.weights import load_weights
from maskwright.predict.crf import CRFSettings, refine
from maskwright.predict.tiles import Tile, blend

WHOLE = 4_000_000
"""Images of up to this many pixels go through the network in one piece; larger ones in tiles."""
TILE = 1536
"""Edge of a tile in pixels."""
OVERLAP = 256
"""Pixels that neighbouring tiles share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a model says of one image."""

    image: np.ndarray
    """The image as given, H x W x C."""
    mask: np.ndarray
    """H x W uint8 class indices; 255 where the image is not valid."""
    probabilities: np.ndarray
    """H x W x K float32, summing to 1 over K."""
    classes: ClassTable

    @property
    def uncertainty(self) -> np.ndarray:
        """H x W float32: entropy of the probabilities over log K; 0 is certain, 1 is a guess among all classes."""
        p_HWK = self.probabilities
        entropy_HW = -(p_HWK * np.log(np.maximum(p_HWK, 1e-12))).sum(2)
        scaled: np.ndarray = np.clip(entropy_HW / np.log(p_HWK.shape[2]), 0, 1).astype(np.float32)
        return scaled

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """The image with class colours over it and outlines between classes, H x W x 3 uint8."""
        return overlay(
            display(self.image),
            self.classes.rgb(self.mask),
            opacity=alpha,
            hidden_HW=self.mask == UNLABELLED,
            outline_HW=outline(self.mask, thick=True),
        )


def best_device() -> torch.device:
    """CUDA if there is one, else Apple's GPU, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def make_segmenter(description: Mapping[str, Any]) -> Segmenter:
    """Build a segmenter from the `network` of a `run.json`; its weights are still random.

    `description` has name, options, channels, classes, mean, std, per_image and scale.
    """
    network = build(description["name"], description["channels"], description["classes"], description["options"])
    return Segmenter(
        network,
        mean=description["mean"],
        std=description["std"],
        per_image=description["per_image"],
        scale=description["scale"],
    )


def _trained(folder: Path, description: Mapping[str, Any]) -> Segmenter:
    """A segmenter with the best weights of a run folder."""
    if not (folder / runs.WEIGHTS).is_file():
        raise RunError(
            f"{folder} has no {runs.WEIGHTS}. Expected the weights that training writes at its first validation or "
            "within a minute. Continue it with `maskwright train --resume`, or copy the file too."
        )
    segmenter = make_segmenter(description)
    load_weights(segmenter, folder / runs.WEIGHTS)
    return segmenter


class Predictor:
    """A model with everything that prediction needs: preparation, normalisation, classes.

    Set `crf` to refine probabilities with a dense CRF on the image, as `predict --crf` does; None leaves them.
    """

    def __init__(self, segmenter: Segmenter | Ensemble, run: dict[str, Any], source: str) -> None:
        self.run = run
        self.source = source
        self.classes = ClassTable.from_dict(run["classes"], source)
        self.preparation: Preparation = Settings.from_dict({"preparation": run["preparation"]}, source).preparation
        self.flips: tuple[bool, bool] = (run["tta"]["horizontal"], run["tta"]["vertical"])
        self.segmenter = segmenter.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = next(segmenter.parameters()).device
        self.crf: CRFSettings | None = None

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> Predictor:
        """Load the best weights of a run folder.

        A run with folds gives the mean of their probabilities. Raises RunError if the folder is no complete run,
        ModelError if the weights do not fit.
        """
        folder = Path(path)
        run = runs.read_run(folder)
        folds = [folder / runs.FOLDS / str(fold) for fold in range(run["folds"])] if run["kind"] == "folds" else []
        try:
            members = [_trained(one, runs.read_run(one)["network"]) for one in folds or [folder]]
            segmenter = Ensemble(members) if folds else members[0]
            return cls(segmenter.to(torch.device(device) if device else best_device()), run, str(folder))
        except KeyError as missing:
            raise RunError(
                f"{folder / runs.RUN} has no {missing}. Expected a file that Maskwright wrote; restore it from a copy."
            ) from None

    def __call__(self, image: np.ndarray, valid: np.ndarray | None = None, *, name: str = "The image") -> Prediction:
        """Segment one image.

        Parameters
        ----------
        image : H x W or H x W x C, the type and the native values of the training images.
        valid : H x W bool, optional; where False, the mask is 255.
        name : what errors and warnings call the image.

        Raises
        ------
        DataError if the channels or the type are not those of the training images. Warns with InputWarning if the
        values lie elsewhere.
        """
        pixels = np.asarray(image)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or not pixels.size:
            raise DataError(f"{name} has shape {np.shape(image)}. Expected H x W or H x W x C, with pixels in it.")
        self.check(pixels, name)
        if pixels.dtype == np.float32:
            pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
        prepared = prepare(pixels, self.preparation)
        probabilities_KHW = self._probabilities(prepared)
        height, width = pixels.shape[:2]
        if probabilities_KHW.shape[1:] != (height, width):
            probabilities_KHW = np.stack(
                [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in probabilities_KHW]
            )
        if valid is not None and valid.shape != (height, width):
            raise DataError(
                f"{name}: the valid mask has shape {valid.shape}. Expected that of the image, {(height, width)}."
            )
        probabilities_HWK = np.ascontiguousarray(probabilities_KHW.transpose(1, 2, 0))
        if self.crf is not None:
            probabilities_HWK = refine(probabilities_HWK, pixels, self.crf, valid)
        mask = probabilities_HWK.argmax(2).astype(np.uint8)
        if valid is not None:
            mask[~valid] = UNLABELLED
        return Prediction(image=pixels, mask=mask, probabilities=probabilities_HWK, classes=self.classes)

    @property
    def channels(self) -> int:
        """Channels of the training images."""
        channels: int = self.run["input"]["channels"]
        return channels

    def check(self, pixels: np.ndarray, name: str = "The image") -> None:
        """Compare an H x W x C image with the training data (docs/architecture.md, Errors); may raise and warn."""
        known = self.run["input"]
        if pixels.shape[2] != known["channels"]:
            raise DataError(
                f"{name} has {pixels.shape[2]} channel(s). Expected {known['channels']}, as in the training images "
                f"of {self.source}. Convert it, or train a model on such images."
            )
        if str(pixels.dtype) != known["dtype"]:
            raise DataError(
                f"{name} has values of {pixels.dtype}. Expected {known['dtype']}, the native type of the training "
                f"images of {self.source}, from {known['low']:g} to {known['high']:g}. Give the image as it was "
                "stored, without scaling it."
            )
        seen = pixels[:: max(1, pixels.shape[0] // 256), :: max(1, pixels.shape[1] // 256)]
        low, middle, high = np.nanpercentile(seen, (1, 50, 99))
        inside = float(np.mean((seen >= known["low"]) & (seen <= known["high"])))
        if inside < 0.5 or high < 0.1 * known["middle"]:
            warnings.warn(
                f"{name} is unlike the training data: its values run from {low:g} to {high:g} (1st to 99th "
                f"percentile, median {middle:g}), those of the training images from {known['low']:g} to "
                f"{known['high']:g} (median {known['middle']:g}). Its mask may be poor.",
                InputWarning,
                stacklevel=3,
            )

    def _probabilities(self, prepared: np.ndarray) -> np.ndarray:
        """K x H x W float32 of a prepared image, in one piece or in tiles."""
        if prepared.shape[0] * prepared.shape[1] <= WHOLE:
            return self._mirrored(prepared)

        def predict(tile: Tile) -> np.ndarray:
            return self._mirrored(prepared[tile.top : tile.bottom, tile.left : tile.right])

        return blend(predict, prepared.shape[:2], len(self.classes), TILE, OVERLAP)

    @torch.inference_mode()
    def _mirrored(self, pixels: np.ndarray) -> np.ndarray:
        """K x H x W probabilities, averaged over the mirror images that the plan found plausible."""
        native = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
        image_1CHW = torch.from_numpy(native)[None].to(self.device)
        views: list[list[int]] = [[]]
        for axis, flip in zip((3, 2), self.flips, strict=True):
            views += [[*view, axis] for view in views] if flip else []
        total_KHW: torch.Tensor | None = None
        for view in views:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                logits_1KHW = self.segmenter(image_1CHW.flip(view) if view else image_1CHW).float()
            p_KHW = (logits_1KHW.flip(view) if view else logits_1KHW).softmax(1)[0]
            total_KHW = p_KHW if total_KHW is None else total_KHW + p_KHW
        assert total_KHW is not None
        mean: np.ndarray = (total_KHW / len(views)).cpu().numpy()
        return mean
