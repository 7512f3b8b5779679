"""A trained model, ready for images: load a run, call it with an array, get masks, probabilities and uncertainty.

Shapes: H, W height and width of the image as given; C channels; K classes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import nn

from maskwright import runs
from maskwright.config import Preparation, Settings
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.errors import DataError, InputWarning, RunError, SettingError
from maskwright.imaging.images import display
from maskwright.imaging.painting import outline, overlay
from maskwright.models.loading import load_weights
from maskwright.models.segmenter import Moments, Segmenter, best_device, make_segmenter

if TYPE_CHECKING:
    from maskwright.models.ensemble import Ensemble
    from maskwright.predict.crf import CRFSettings
    from maskwright.predict.tiles import Tile

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


def chosen_device(device: str | torch.device | None) -> torch.device:
    """The device that is asked for, or the best one; raises SettingError, naming those there are, for another."""
    if device is None:
        return best_device()
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    name = "" if found is None else str(found)
    if found is None or not any(name in (one, one.partition(":")[0], f"{one}:0") for one in there):
        raise SettingError(
            f"device = {str(device)!r}: expected one of {', '.join(there)}, those that this machine has."
        )
    return found


def _trained(folder: Path, description: Mapping[str, Any]) -> Segmenter:
    """A segmenter with the best weights of a run folder."""
    if not (folder / runs.WEIGHTS).is_file():
        raise RunError(
            f"{folder} has no {runs.WEIGHTS}.",
            expected="Expected the weights that training writes at its first validation or within a minute.",
            remedy=f"Continue it: maskwright train --resume {folder}",
            file=folder / runs.WEIGHTS,
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
        self._process = os.getpid()
        self.crf: CRFSettings | None = None

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> Predictor:
        """Load the best weights of a run folder, or a saved pixel classifier.

        A run with folds gives the mean of their probabilities. Raises RunError if the folder is no complete run,
        ModelError if the weights do not fit, SettingError for a device that is not there.
        """
        chosen = chosen_device(device)
        folder = Path(path)
        run = runs.read_run(folder)
        names = ("channels", "dtype", "low", "middle", "high")
        runs.require(run, folder, "kind", "classes", "preparation", *(f"input.{name}" for name in names))
        runs.require(run, folder, "tta.horizontal", "tta.vertical")
        with runs.understood(folder / runs.RUN):
            if run["kind"] == "pixels":
                from maskwright.predict.pixels import PixelPredictor

                return PixelPredictor(folder, run)
            count = run["folds"] if run["kind"] == "folds" else 0
            folds = [folder / runs.FOLDS / str(fold) for fold in range(count)]
            members = [_trained(one, runs.read_run(one)["network"]) for one in folds or [folder]]
            segmenter = _together(members) if folds else members[0]
            return cls(segmenter.to(chosen), run, str(folder))

    @property
    def refinements(self) -> dict[str, Any]:
        """What is asked for besides the run's own way, and changes masks; empty by default."""
        tta = self.run["tta"]["horizontal"], self.run["tta"]["vertical"]
        asked: dict[str, Any] = {} if self.crf is None else {"crf": asdict(self.crf)}
        return asked if self.flips == tta else asked | {"flips": list(self.flips)}

    def __call__(self, image: np.ndarray, valid: np.ndarray | None = None, *, name: str = "The image") -> Prediction:
        """Segment one image.

        Parameters
        ----------
        image
            H x W or H x W x C, the type and the native values of the training images.
        valid
            H x W bool, optional, or integers of which 0 is False; where False, the mask is 255. What a NumPy masked
            array masks in any channel is not valid either.
        name
            What errors and warnings call the image.

        Raises
        ------
        DataError
            If the channels or the type are not those of the training images.
        RunError
            In a process that was forked after the model was loaded on a GPU.

        Warns
        -----
        InputWarning
            If the values lie elsewhere than those of the training images.
        """
        if self.device.type == "cuda" and os.getpid() != self._process:
            raise RunError(
                "This process was forked after the model was loaded, and a GPU cannot be used across a fork.",
                expected="Expected a predictor that was loaded in the process that uses it.",
                remedy='Load it there, or start processes with multiprocessing.get_context("spawn").',
            )
        valid = _valid(image, valid, name)
        pixels = np.asarray(image)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or not pixels.size:
            raise DataError(
                f"{name} has shape {np.shape(image)}.", expected="Expected H x W or H x W x C, with pixels in it."
            )
        if valid is not None and valid.shape != pixels.shape[:2]:
            raise DataError(
                f"{name}: the valid mask has shape {valid.shape}.",
                expected=f"Expected that of the image, {pixels.shape[:2]}.",
            )
        self.check(pixels, name)
        if pixels.dtype == np.float32:
            pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
        prepared = self._prepared(pixels)
        probabilities_KHW = self._probabilities(prepared)
        height, width = pixels.shape[:2]
        if probabilities_KHW.shape[1:] != (height, width):
            probabilities_KHW = np.stack(
                [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in probabilities_KHW]
            )
        probabilities_HWK = np.ascontiguousarray(probabilities_KHW.transpose(1, 2, 0))
        if self.crf is not None:
            from maskwright.predict.crf import refine

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
                f"{name} has {pixels.shape[2]} channel(s).",
                expected=f"Expected {known['channels']}, as in the training images of {self.source}.",
                remedy="Convert it, or train a model on such images.",
            )
        if str(pixels.dtype) != known["dtype"]:
            raise DataError(
                f"{name} has values of {pixels.dtype}.",
                expected=(
                    f"Expected {known['dtype']}, the native type of the training images of {self.source}, "
                    f"from {known['low']:g} to {known['high']:g}."
                ),
                remedy="Give the image as it was stored, without scaling it.",
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

    def _prepared(self, pixels: np.ndarray) -> np.ndarray:
        """H' x W' x C, contiguous, prepared as the training images were; most models prepare nothing."""
        if self.preparation == Preparation():
            return np.ascontiguousarray(pixels)
        from maskwright.augment.preprocessing import prepare

        return prepare(pixels, self.preparation)

    def _probabilities(self, prepared: np.ndarray) -> np.ndarray:
        """K x H x W float32 of a prepared image, in one piece or in tiles."""
        with _evaluating(self.segmenter):
            moments = _moments(prepared, self.device) if self.segmenter.per_image else None
            # A scale of no simple ratio repeats too seldom; there any place is as good as another.
            grid = self.segmenter.grid if self.segmenter.grid <= OVERLAP else 1
            if prepared.shape[0] * prepared.shape[1] <= WHOLE:
                return self._mirrored(prepared, grid, moments)

            from maskwright.predict.tiles import blend

            def predict(tile: Tile) -> np.ndarray:
                return self._mirrored(prepared[tile.top : tile.bottom, tile.left : tile.right], grid, moments)

            return blend(predict, prepared.shape[:2], len(self.classes), TILE, OVERLAP, grid)

    @torch.inference_mode()
    def _mirrored(self, pixels: np.ndarray, grid: int, moments: Moments | None) -> np.ndarray:
        """K x H x W probabilities, averaged over the mirror images that the plan found plausible."""
        height, width = pixels.shape[:2]
        if any(self.flips):
            # To whole steps of the grid, or else a mirrored tile lies on another grid than its part of the image does.
            pixels = np.pad(pixels, ((0, -height % grid), (0, -width % grid), (0, 0)), mode="edge")
        native = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
        image_1CHW = torch.from_numpy(native)[None].to(self.device)
        views: list[list[int]] = [[]]
        for axis, flip in zip((3, 2), self.flips, strict=True):
            views += [[*view, axis] for view in views] if flip else []
        total_KHW: torch.Tensor | None = None
        for view in views:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                logits_1KHW = self.segmenter(image_1CHW.flip(view) if view else image_1CHW, moments).float()
            p_KHW = (logits_1KHW.flip(view) if view else logits_1KHW).softmax(1)[0]
            total_KHW = p_KHW if total_KHW is None else total_KHW + p_KHW
        assert total_KHW is not None
        mean: np.ndarray = (total_KHW[:, :height, :width] / len(views)).cpu().numpy()
        return mean


def _together(members: list[Segmenter]) -> Ensemble:
    from maskwright.models.ensemble import Ensemble

    return Ensemble(members)


def _valid(image: np.ndarray, valid: np.ndarray | None, name: str) -> np.ndarray | None:
    """The valid mask as bool, without what a masked array hides; None if all is valid."""
    seen_HW: np.ndarray | None = None
    if valid is not None:
        given = np.asarray(valid)
        if given.dtype.kind not in "biu":
            raise DataError(
                f"{name}: the valid mask has values of {given.dtype}.",
                expected="Expected bool, or integers of which 0 means not valid.",
                remedy="Convert it, for example with valid > 0.5.",
            )
        seen_HW = given != 0
    if isinstance(image, np.ma.MaskedArray) and np.ma.getmask(image) is not np.ma.nomask:
        hidden: np.ndarray = np.ma.getmaskarray(image)
        shown_HW = np.asarray(~(hidden.any(2) if hidden.ndim == 3 else hidden))
        if seen_HW is None:
            return shown_HW
        if seen_HW.shape == shown_HW.shape:  # one of another size is refused by the caller
            seen_HW = np.logical_and(seen_HW, shown_HW)
    return seen_HW


def _moments(pixels: np.ndarray, device: torch.device) -> Moments:
    """Mean and variance of each channel of a whole image, row by row: it may be too large for a second copy."""
    count = pixels.shape[0] * pixels.shape[1]
    mean_C = pixels.sum((0, 1), dtype=np.float64) / count
    square_C = sum(((row - mean_C) ** 2).sum(0) for row in pixels) / count
    mean_1C11, var_1C11 = (
        torch.from_numpy(np.asarray(values, np.float32)).reshape(1, -1, 1, 1).to(device)
        for values in (mean_C, square_C)
    )
    return mean_1C11, var_1C11


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while: a caller may have left some of the modules in training mode."""
    active = [each for each in module.modules() if each.training]
    if active:
        module.eval()
    try:
        yield
    finally:
        for each in active:
            each.training = True


def _one_thread() -> None:
    """A forked process inherits OpenMP's and OpenCV's pools without their threads, and would wait for them for ever."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread)
