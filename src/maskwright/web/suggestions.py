"""Labels that a model proposes: shown over the image, and taken over only where the person says so."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from maskwright import runs
from maskwright.datasets.classes import UNLABELLED
from maskwright.errors import ClassTableError
from maskwright.imaging.images import read_image
from maskwright.label.classes import values_of
from maskwright.label.files import mark_of
from maskwright.label.store import ImageState, Project
from maskwright.predict.predictor import Predictor

_KEPT = 64
"""Images whose suggestions are kept."""


class Suggester(Protocol):
    """What proposes labels: a trained run, and later a pixel classifier that learns from strokes."""

    name: str
    """What the page calls it."""
    model: str
    """Hash of the model, kept with every pixel that is accepted."""

    def values(self, state: ImageState) -> np.ndarray:
        """Values of classes of the project for each pixel of an image (uint8, H x W); 255 where it proposes none."""
        ...


class Trained:
    """A run as a suggester. Any thread may ask; one image is predicted at a time.

    Raises
    ------
    ClassTableError
        The run and the project have no class of the same name.
    """

    def __init__(self, run: Path, project: Project) -> None:
        self._project = project
        self._predictor = Predictor.load(run)
        self.name = run.resolve().name
        weights = sorted(run.rglob(runs.WEIGHTS))  # of a run with folds, each fold's
        self.model = "-".join(mark_of(path)[:16] for path in weights)
        known = dict(zip(project.classes.names, values_of(project.classes), strict=True))
        if not set(known) & set(self._predictor.classes.names):
            raise ClassTableError(
                f"{run} knows the classes {', '.join(self._predictor.classes.names)}, and the project has "
                f"{', '.join(known)}.",
                expected="Expected a class of the same name: a suggestion is a class of the project.",
                remedy="Rename the project's classes on the page, then start it again with the run.",
            )
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def values(self, state: ImageState) -> np.ndarray:
        """See `Suggester.values`; raises what prediction raises for an image unlike the training data."""
        with self._lock:
            mask = self._mask(state)
        # Classes may have got other names since: a pixel's suggestion is looked up by name each time.
        table = self._project.classes
        known = dict(zip(table.names, values_of(table), strict=True))
        lookup = np.full(256, UNLABELLED, np.uint8)
        lookup[: len(self._predictor.classes)] = [known.get(name, UNLABELLED) for name in self._predictor.classes.names]
        found: np.ndarray = lookup[mask]
        return found

    def _mask(self, state: ImageState) -> np.ndarray:
        if state.id in self._kept:
            self._kept.move_to_end(state.id)
            return self._kept[state.id]
        image = read_image(self._project.folder / state.file, state.page)
        mask = self._predictor(image.pixels, image.valid, name=state.name).mask
        self._kept[state.id] = mask
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return mask
