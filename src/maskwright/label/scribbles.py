"""A mask from a few strokes: train a pixel classifier on what humans labelled in a project, and pre-label the rest.

A stroke is a connected piece of pixels that a human gave one class. Images of the validation set are neither learnt nor
pre-labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.sources import Source
from maskwright.errors import DataError
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import Image
from maskwright.label.classes import values_of
from maskwright.label.patches import KEEP, Origin, Patch, encode, restored
from maskwright.label.store import ImageState, Project
from maskwright.label.weak import values_to_indices
from maskwright.pixels import saved
from maskwright.pixels.choice import Contradiction, HeldOut
from maskwright.pixels.classifier import RANGED, PixelClassifier
from maskwright.pixels.model import PixelModel
from maskwright.pixels.strokes import Stroke

Choice = Literal["auto", "local", "encoder", "local+encoder", "network"]
Progress = Callable[[int, int], None]
AUTHOR = "scribbles"
"""Of pre-labels in the journal."""
MOST_STROKES = 500
"""Strokes that are learnt at most, the largest of each class; a folder of full masks has many thousands."""
_DECODED = 4
"""Images that stay in memory."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was learnt."""

    model: PixelModel
    hash: str
    judged: tuple[HeldOut, ...]
    """Sets of features by the score of left-out strokes; the first is what was learnt."""
    strokes: dict[str, int]
    """By class."""
    images: int
    """That hold strokes."""

    @property
    def features(self) -> str:
        """What was learnt from."""
        return self.judged[0].features

    @property
    def contradictions(self) -> tuple[Contradiction, ...]:
        """Strokes that the others would have painted otherwise, the worst first."""
        return self.judged[0].contradictions

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """As `scribbles train --json` prints it, and the model keeps it."""
        return {**_facts(self.judged, self.strokes, self.images, names), "hash": self.hash}


def contradiction_json(one: Contradiction, names: Sequence[str]) -> dict[str, Any]:
    """Where a stroke lies, what it says, and what the others say."""
    rows, columns = one.stroke.rows, one.stroke.columns
    return {
        "image": one.stroke.image,
        "row": int(rows[len(rows) // 2]),
        "column": int(columns[len(columns) // 2]),
        "pixels": len(rows),
        "class": names[one.stroke.label],
        "others_say": names[one.other],
        "probability": round(one.probability, 3),
    }


def strokes_of(project: Project) -> list[Stroke]:
    """What humans painted in a project; the largest MOST_STROKES, evenly over classes, if there are more."""
    indices = values_to_indices(dict(zip(project.classes.names, values_of(project.classes), strict=True)))
    found: list[Stroke] = []
    for state in project.ready():
        if state.validation or not state.revision:
            continue
        labels = project.read(state.name)
        index_HW = np.where(labels.origins == Origin.HUMAN, indices[labels.values], np.uint8(UNLABELLED))
        for label in range(len(project.classes)):
            found += _pieces(state.name, label, index_HW == label)
    by_class = {label: sorted((one for one in found if one.label == label), key=lambda one: -len(one.rows))
                for label in {one.label for one in found}}  # fmt: skip
    most = MOST_STROKES // max(1, len(by_class))
    kept = {id(one) for strokes in by_class.values() for one in strokes[:most]}
    return [one for one in found if id(one) in kept]


def train(
    project: Project, out: Path, *, features: Choice = "auto", run: Path | None = None, forest: bool = False,
    seed: int = 0,
) -> Outcome:  # fmt: skip
    """Learn the strokes of a project and save the classifier.

    Parameters
    ----------
    project
        Open.
    out
        The folder to write: new, or a pixel classifier to replace.
    features
        What to learn from; "auto" takes what predicts left-out strokes best.
    run
        A trained run, whose network's features are tried, too.
    forest
        Whether a random forest learns.
    seed
        Of everything that is drawn.

    Raises
    ------
    DataError
        There are strokes of less than two classes, or images of several kinds.
    RunError
        `out` holds something else, or `run` is no run with features.
    """
    if out.exists() and any(out.iterdir()):
        saved.require_own(out)
    network = None if run is None else saved.load_network(run)
    strokes = strokes_of(project)
    if len({one.label for one in strokes}) < 2:
        raise DataError(
            f"{project.folder} has {len(strokes)} stroke(s) of {len({one.label for one in strokes})} class(es).",
            expected="Expected pixels of at least two classes that a human labelled, outside the validation set.",
            remedy=f"Paint some: maskwright label {project.folder}",
            file=project.folder,
        )
    read = _reader(project)
    names = sorted({one.image for one in strokes})
    _check_alike(project, names, read)
    classifier = PixelClassifier(
        len(project.classes), lambda name: read(name).pixels, forest=forest, seed=seed,
        features="local" if features == "auto" else features, network=network,
    )  # fmt: skip
    judged = classifier.choose(strokes) if features == "auto" else (classifier.judge(strokes, features),)
    classifier.temperature = judged[0].temperature
    model = classifier.learn(strokes)
    counts = {name: sum(one.label == place for one in strokes) for place, name in enumerate(project.classes.names)}
    assert classifier.values is not None
    mark = saved.save(
        out, model, values=classifier.values, classes=project.classes.to_dict(),
        facts={"scribbles": _facts(judged, counts, len(names), project.classes.names), "seed": seed, "scores": {}},
        images=[read(name).pixels for name in names[:RANGED]],
        network=network if classifier.features == "network" else None,
    )  # fmt: skip
    return Outcome(model=model, hash=mark, judged=judged, strokes=counts, images=len(names))


def _facts(judged: Sequence[HeldOut], strokes: Mapping[str, int], images: int, names: Sequence[str]) -> dict[str, Any]:
    """What was learnt, as JSON can hold it."""
    return {
        "features": judged[0].features,
        "held_out": {one.features: None if np.isnan(one.score) else round(one.score, 4) for one in judged},
        "strokes": dict(strokes),
        "images": images,
        "contradictions": [contradiction_json(one, names) for one in judged[0].contradictions],
    }


def accept(
    project: Project, model: PixelModel, mark: str, *, above: float, progress: Progress | None = None
) -> dict[str, float]:
    """Pre-label a project: what the classifier is sure of becomes "model-accepted", where nobody else labelled.

    What an earlier classifier of strokes had accepted is replaced, and taken back where this one is not sure.

    Parameters
    ----------
    project
        Open; its label files are written when this returns.
    model, mark
        The classifier and its hash.
    above
        The probability from which a pixel is accepted.
    progress
        Called with images done and of all.

    Returns
    -------
    dict[str, float]
        The fraction of pixels that are accepted now, by image.
    """
    values = np.array(values_of(project.classes), np.uint8)
    states = [state for state in project.ready() if not state.validation]
    read = _reader(project)
    accepted: dict[str, float] = {}
    for place, state in enumerate(states):
        image = read(state.name)
        probabilities_KHW = model.probabilities(image.pixels)
        sure_HW = probabilities_KHW.max(0) >= above
        if image.valid is not None:
            sure_HW &= image.valid
        wanted_HW = np.where(sure_HW, values[probabilities_KHW.argmax(0)], np.uint8(UNLABELLED))
        labels = project.read(state.name)
        free_HW = (labels.origins == Origin.UNLABELLED) | _accepted_before(project, state, labels.origins)
        cells_HW = np.where(free_HW & (wanted_HW != labels.values), wanted_HW, np.uint16(KEEP))
        accepted[state.name] = float((free_HW & (wanted_HW != UNLABELLED)).mean())
        if (cells_HW != KEEP).any():
            project.apply(
                Patch(
                    image=state.name, base=labels.revision, author=AUTHOR, seconds=0.0, box=Window(0, 0, *state.shape),
                    payload=encode(cells_HW), origin=Origin.MODEL_ACCEPTED, model=mark,
                )
            )  # fmt: skip
        if progress is not None:
            progress(place + 1, len(states))
    project.save()
    return accepted


def _accepted_before(project: Project, state: ImageState, origins_HW: np.ndarray) -> np.ndarray:
    """Which accepted pixels a classifier of strokes accepted, and not a human who looked at a suggestion."""
    own_HW = np.zeros(state.shape, bool)
    query = (
        "SELECT author, top, left, height, width, after FROM entry "
        "WHERE image = ? AND kind = 'patch' AND origin = ? AND state != 'undone' ORDER BY revision"
    )
    for author, *place, after in project.journal.rows(query, state.id, int(Origin.MODEL_ACCEPTED)):
        box = Window(*place)
        touched = restored(after, box).rows(0, box.height) != KEEP
        own_HW[box.slices][touched] = author == AUTHOR
    return np.asarray(own_HW & (origins_HW == Origin.MODEL_ACCEPTED))


def _pieces(image: str, label: int, mask_HW: np.ndarray) -> list[Stroke]:
    """The connected pieces of a mask."""
    if not mask_HW.any():
        return []
    count, piece_HW = cv2.connectedComponents(mask_HW.astype(np.uint8), connectivity=8)
    rows_N, columns_N = np.nonzero(piece_HW)
    piece_N = piece_HW[rows_N, columns_N]
    order = np.argsort(piece_N, kind="stable")
    ends = np.searchsorted(piece_N[order], np.arange(1, count + 1))
    return [
        Stroke(image=image, label=label, rows=rows_N[order[begin:end]], columns=columns_N[order[begin:end]])
        for begin, end in pairwise(ends)
    ]


def _reader(project: Project) -> Callable[[str], Image]:
    """Images by name; the last ones stay decoded."""
    states = {state.name: state for state in project.images()}

    @lru_cache(_DECODED)
    def read(name: str) -> Image:
        state = states[name]
        return Source(path=project.folder / state.file, page=state.page).read_image()

    return read


def _check_alike(project: Project, names: Sequence[str], read: Callable[[str], Image]) -> None:
    """Raise DataError if images differ in channels or type."""
    kinds = {name: (read(name).pixels.shape[2], read(name).pixels.dtype) for name in names}
    if len(set(kinds.values())) > 1:
        one, other = (
            next(name for name in names if kinds[name] == kind) for kind in list(dict.fromkeys(kinds.values()))[:2]
        )
        told = " and ".join(f"{name} has {kinds[name][0]} channel(s) of {kinds[name][1]}" for name in (one, other))
        raise DataError(
            f"{project.folder}: {told}.",
            expected="Expected images of one kind.",
            remedy="Convert them, or make a project for each kind.",
            file=project.folder,
        )
