"""Two or more models side by side, on the same images: differences, and how sure they are.

Every model is compared with the first one. Scores come from the confusion matrices that evaluations keep, so nothing is
predicted again, except for the pictures of the images that changed most.

Legend: N images; K classes; R bootstrap resamples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maskwright import pages, runs
from maskwright.datasets.samples import Dataset
from maskwright.errors import RunError
from maskwright.evaluate import pictures
from maskwright.evaluate.bootstrap import bootstrap_iou, interval
from maskwright.evaluate.evaluation import COUNTS, INTERVAL_LEVEL, INTERVAL_RESAMPLES, Evaluation
from maskwright.evaluate.evaluator import Answerer
from maskwright.evaluate.metrics import Shares, mean_of_present
from maskwright.imaging.painting import data_address

__all__ = ["SHOWN", "Comparison", "Difference", "common_evaluations", "write_page"]

TEMPLATE = Path(__file__).with_name("compare.html.jinja")
SHOWN = 6
"""Images whose scores changed most that are shown."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A score of one model minus that of the first one."""

    value: float
    low: float
    """95 % interval: paired bootstrap over the images (or groups)."""
    high: float

    @property
    def verdict(self) -> str:
        """One of "better", "worse", or "no clear difference" where the interval holds 0."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no clear difference"

    def to_json(self) -> dict[str, Any]:
        """Null stands for what cannot be told."""
        numbers = {name: getattr(self, name) for name in ("value", "low", "high")}
        return {n: None if math.isnan(v) else v for n, v in numbers.items()} | {"verdict": self.verdict}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Evaluations of the same images by several models, by the name of their run; the first is the one to beat."""

    evaluations: Mapping[str, Evaluation]

    @property
    def names(self) -> list[str]:
        """Of the models, as given."""
        return list(self.evaluations)

    @property
    def first(self) -> Evaluation:
        """The evaluation that the others are compared with."""
        return next(iter(self.evaluations.values()))

    @cached_property
    def miou(self) -> dict[str, Difference]:
        """Difference of mIoU for every model but the first."""
        base = self.first.miou
        return {
            name: _difference(evaluation.miou - base, mean_of_present(drawn_RK) - mean_of_present(self._drawn[0]))
            for (name, evaluation), drawn_RK in self._others()
        }

    @cached_property
    def iou(self) -> dict[str, list[Difference]]:
        """Difference of each class's IoU for every model but the first."""
        base_K = self.first.scores.iou
        return {
            name: [
                _difference(float(value), drawn_RK[:, place] - self._drawn[0][:, place])
                for place, value in enumerate(evaluation.scores.iou - base_K)
            ]
            for (name, evaluation), drawn_RK in self._others()
        }

    def changed(self, name: str) -> list[int]:
        """Places of the images whose mIoU differs most between a model and the first, up to `SHOWN`, largest first."""
        change_N = self.evaluations[name].image_miou_N - self.first.image_miou_N
        order = np.argsort(-np.abs(np.nan_to_num(change_N)), kind="stable")
        return [int(place) for place in order[:SHOWN] if abs(np.nan_to_num(change_N[place])) > 0]

    def to_json(self) -> dict[str, Any]:
        """What `maskwright compare --json` prints."""
        classes = self.first.classes.names
        return {
            "data": self.first.data,
            "refinements": self.first.refinements,
            "images": self.first.images,
            "interval_over": self.first.drawn,
            "models": {name: _number(evaluation.miou) for name, evaluation in self.evaluations.items()},
            "first": self.names[0],
            "miou_difference": {name: difference.to_json() for name, difference in self.miou.items()},
            "iou_difference": {
                name: {key: one.to_json() for key, one in zip(classes, each, strict=True)}
                for name, each in self.iou.items()
            },
        }

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Titles, headings and rows: of the whole set, and of each class."""
        base, classes = self.names[0], self.first.classes.names
        whole = [[base, _shown(self.first.miou), "–", "–", "the one to beat"]]
        by_class = []
        for name, difference in self.miou.items():
            whole.append([name, _shown(self.evaluations[name].miou), *_cells(difference)])
            for place, one in enumerate(self.iou[name]):
                ious = [_shown(float(e.scores.iou[place])) for e in (self.first, self.evaluations[name])]
                by_class.append([name, classes[place], *ious, *_cells(one)])
        over = f"95 % paired bootstrap interval over {self.first.drawn}"
        return [
            (
                f"{self.first.images} images of {self.first.data}{self.first.asked}",
                ["model", "mIoU", f"difference from {base}", over, "verdict"],
                whole,
            ),
            ("", ["model", "class", f"IoU of {base}", "IoU", "difference", "95 % interval", "verdict"], by_class),
        ]

    @cached_property
    def _drawn(self) -> list[Shares]:
        """R x K for each model."""
        matrices = [evaluation.confusions_NKK for evaluation in self.evaluations.values()]
        return bootstrap_iou(matrices, self.first.groups, resamples=INTERVAL_RESAMPLES)

    def _others(self) -> list[tuple[tuple[str, Evaluation], Shares]]:
        return list(zip(self.evaluations.items(), self._drawn, strict=True))[1:]


def common_evaluations(folders: Sequence[Path], data: str | None = None) -> Comparison:
    """Find the newest data that all runs were evaluated on, and pair their evaluations image by image.

    Evaluations pair only if the same was asked of the models, a CRF for all or for none. `data` chooses among several:
    the folder that was evaluated. Raises RunError if there is none in common, or the images or classes differ.
    """
    found: list[dict[_Key, Evaluation]] = []
    for folder in folders:
        runs.read_run(folder)
        loaded = [Evaluation.load(path.parent) for path in (folder / runs.EVALUATIONS).glob(f"*/{COUNTS}")]
        found.append({_key(one): one for one in sorted(loaded, key=lambda one: one.evaluated)})
    shared = [key for key in found[0] if all(key in each for each in found[1:])]
    if data is not None:
        wanted = str(Path(data).resolve())
        shared = [key for key in shared if key[0] in (data, wanted)]
    if not shared:
        lists = "\n".join(
            f"{folder}: {', '.join(one.data + one.asked for one in each.values()) or 'none'}"
            for folder, each in zip(folders, found, strict=True)
        )
        on = "the same data" if data is None else data
        raise RunError(
            f"These runs were not all evaluated on {on}. Found evaluations of:\n{lists}\nRun `maskwright evaluate RUN "
            "DATA` for each with the same DATA and options first."
        )
    chosen = max(shared, key=lambda key: min(each[key].evaluated for each in found))
    names = _distinct(folders)
    comparison = {names[0]: found[0][chosen]}
    for name, each in zip(names[1:], found[1:], strict=True):
        comparison[name] = _aligned(each[chosen], found[0][chosen], names[0], name)
    return Comparison(comparison)


def write_page(
    comparison: Comparison,
    path: Path,
    dataset: Dataset | None,
    answerers: Mapping[str, Callable[[str], Answerer]],
) -> None:
    """Write the comparison as one self-contained HTML file.

    With the `dataset`, and for each model a function from sample ids to the predictor that segments them, it shows the
    images that changed most, predicted anew.
    """
    samples = {} if dataset is None else {sample.id: sample for sample in dataset.samples}
    galleries = []
    for name in comparison.names[1:]:
        shots = []
        for place in comparison.changed(name):
            key = comparison.first.ids[place]
            if dataset is None or key not in samples:
                continue
            pair = dataset.read(samples[key])
            before, after = (answerers[one](key)(pair.image, pair.valid).mask for one in (comparison.names[0], name))
            table, rarer = comparison.first.classes, comparison.first.rarer
            one, other = (pictures.render(pair.image, pair.mask, mask, table, rarer) for mask in (before, after))
            parts = [
                ("image", one["image"]),
                (comparison.names[0], one["prediction"]),
                (name, other["prediction"]),
                ("truth", one["truth"]),
                (f"errors of {comparison.names[0]}", one["errors"]),
                (f"errors of {name}", other["errors"]),
            ]
            scores = [float(comparison.evaluations[n].image_miou_N[place]) for n in (comparison.names[0], name)]
            shots.append(
                {
                    "id": key,
                    "scores": [_shown(score) for score in scores],
                    "change": _signed(scores[1] - scores[0]),
                    "parts": [(label, data_address(content)) for label, content in parts],
                }
            )
        galleries.append((name, shots))
    pages.write_page(
        path,
        TEMPLATE,
        title=" and ".join(comparison.names) if len(comparison.names) == 2 else f"{len(comparison.names)} models",
        first=comparison.names[0],
        tables=comparison.tables(),
        legend=list(zip(comparison.first.classes.names, comparison.first.classes.css_colors, strict=True)),
        data=comparison.first.data,
        images=comparison.first.images,
        over=comparison.first.drawn,
        resamples=INTERVAL_RESAMPLES,
        galleries=galleries,
    )


_Key = tuple[str, str]


def _key(evaluation: Evaluation) -> _Key:
    """The data, and what was asked of the model."""
    return evaluation.data, json.dumps(evaluation.refinements, sort_keys=True)


def _aligned(evaluation: Evaluation, first: Evaluation, first_name: str, name: str) -> Evaluation:
    """An evaluation with its images in the order of the first one's."""
    if evaluation.classes.names != first.classes.names:
        raise RunError(
            f"{first_name} has the classes {', '.join(first.classes.names)}, and {name} has "
            f"{', '.join(evaluation.classes.names)}.",
            expected="Expected the same; only such models can be compared.",
        )
    places = {key: place for place, key in enumerate(evaluation.ids)}
    if places.keys() != set(first.ids):
        raise RunError(
            f"{first_name} was evaluated on {first.images} images of {first.data}, and {name} on "
            f"{evaluation.images}, not the same ones.",
            remedy="Evaluate both again on the data as it is.",
        )
    order = [places[key] for key in first.ids]
    confusions = evaluation.confusions_NKK[order]
    # What there is to find in an image, of each class, does not depend on the model.
    same_truth = np.array_equal(confusions.sum(2), first.confusions_NKK.sum(2))
    if not same_truth or not np.array_equal(evaluation.sizes_N2[order], first.sizes_N2):
        raise RunError(
            f"The images of {first.data} changed between the two evaluations.", remedy="Evaluate both again."
        )
    return replace(
        evaluation,
        ids=first.ids,
        sizes_N2=evaluation.sizes_N2[order],
        confusions_NKK=confusions,
        boundaries_NK4=evaluation.boundaries_NK4[order],
        unlabelled_N=evaluation.unlabelled_N[order],
        seconds_N=evaluation.seconds_N[order],
        groups=first.groups,
        membranes=None,
        pictures=(),
    )


def _distinct(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as much of the path as tells them apart."""
    resolved = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({place})" for place, path in enumerate(resolved, 1)]


def _difference(value: float, drawn_R: Shares) -> Difference:
    low, high = interval(drawn_R, INTERVAL_LEVEL)
    return Difference(value=value, low=low, high=high)


def _cells(difference: Difference) -> list[str]:
    known = not math.isnan(difference.low)
    span = f"{_signed(difference.low)} to {_signed(difference.high)}" if known else "–"
    return [_signed(difference.value), span, difference.verdict if known else "–"]


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}"


def _shown(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
