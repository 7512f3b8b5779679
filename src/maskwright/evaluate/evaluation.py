"""The numbers of one evaluation: counts per image, everything that follows from them, and their files.

    confusions.npz   the counts; every score, interval and comparison is computed from these
    scores.json      what the command line prints with --json
    images.csv       one line an image, for a spreadsheet
    pictures/        image, truth, prediction and errors of the worst and the best images

Legend: N images; K classes; T thresholds.
"""

from __future__ import annotations

import csv
import io
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from maskwright import runs
from maskwright.datasets.classes import ClassTable
from maskwright.errors import RunError
from maskwright.evaluate.bootstrap import bootstrap_miou
from maskwright.evaluate.boundary import boundary_f1
from maskwright.evaluate.metrics import Counts, Scores, Shares, class_iou, mean_of_present, ratio
from maskwright.evaluate.regions import Membranes

__all__ = ["COUNTS", "IMAGES", "PICTURES", "SCORES", "Evaluation", "Picture"]

COUNTS = "confusions.npz"
SCORES = "scores.json"
IMAGES = "images.csv"
PICTURES = "pictures"

_PACKED = (BadZipFile, zlib.error, struct.error)
"""What reading a damaged archive raises."""
MACRO_RULE = "mean over the classes present in truth or prediction of the whole set"
INTERVAL_LEVEL = 0.95
INTERVAL_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image shown in the report: its place in the evaluation and the files in `pictures/`."""

    kind: str
    """worst or best"""
    place: int
    image: str
    truth: str
    prediction: str
    errors: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Counts of one model on one labelled set, at the images' original sizes.

    `confusions_NKK`, `boundaries_NK4` and `unlabelled_N` are int64 (see `metrics`), `sizes_N2` int64 heights and
    widths, `seconds_N` float64 prediction times. `unlabelled_N` counts the pixels that took no part.
    """

    classes: ClassTable
    data: str
    evaluated: str
    ids: tuple[str, ...]
    sizes_N2: NDArray[np.int64]
    confusions_NKK: Counts
    boundaries_NK4: Counts
    unlabelled_N: NDArray[np.int64]
    seconds_N: NDArray[np.float64]
    tolerance: int
    membranes: Membranes | None
    membrane_reason: str
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    refinements: Mapping[str, Any] = field(default_factory=dict)
    """What was asked of the model besides its own way and changes masks, as `Predictor.refinements`."""
    groups: tuple[str, ...] = ()
    """What each image belongs to (video, slide, patient); empty if the data does not say."""

    @cached_property
    def confusion_KK(self) -> Counts:
        """The whole set in one matrix: int64, rows truth, columns prediction."""
        summed: Counts = self.confusions_NKK.sum(0)
        return summed

    @cached_property
    def scores(self) -> Scores:
        """Scores of the whole set."""
        return Scores.from_confusion(self.confusion_KK)

    @property
    def images(self) -> int:
        """How many images were scored."""
        return len(self.ids)

    @property
    def miou(self) -> float:
        """Macro mean IoU of the whole set; NaN if nothing was labelled."""
        return self.scores.miou

    @property
    def rarer(self) -> int | None:
        """Of two classes, the one with fewer pixels in truth; None with more classes."""
        return int(self.confusion_KK.sum(1).argmin()) if len(self.classes) == 2 else None

    @cached_property
    def boundary_f1_K(self) -> Shares:
        """Boundary F1 per class over the whole set, NaN for a class without boundary."""
        return boundary_f1(self.boundaries_NK4.sum(0))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % percentile bootstrap interval of mIoU over images, or over groups; NaN with fewer than two."""
        return bootstrap_miou(self.confusions_NKK, self.groups, resamples=INTERVAL_RESAMPLES, level=INTERVAL_LEVEL)

    @property
    def drawn(self) -> str:
        """What the bootstrap draws: "images", or "groups" with their number."""
        return f"{len(set(self.groups))} groups" if self.groups else "images"

    @cached_property
    def image_miou_N(self) -> Shares:
        """MIoU of each image, over the classes in its truth; NaN where nothing is labelled.

        Over its truth alone, because else one stray pixel of an absent class would cost an image a whole class.
        """
        in_truth = self.confusions_NKK.sum(2) > 0
        return mean_of_present(np.where(in_truth, class_iou(self.confusions_NKK), np.nan))

    @cached_property
    def image_accuracy_N(self) -> Shares:
        """Pixel accuracy of each image; NaN where nothing is labelled."""
        return ratio(np.trace(self.confusions_NKK, axis1=1, axis2=2), self.confusions_NKK.sum((1, 2)))

    @property
    def asked(self) -> str:
        """The refinements in words for titles, in front a blank; empty if there are none."""
        return f" (with {', '.join(sorted(self.refinements))})" if self.refinements else ""

    def to_json(self) -> dict[str, Any]:
        """All scores as JSON can hold them; null stands for a class that gives no answer."""
        scores, names = self.scores, self.classes.names
        low, high = self.interval

        def by_class(values: Shares) -> dict[str, float | None]:
            return {name: _number(value) for name, value in zip(names, values, strict=True)}

        return {
            "miou": _number(scores.miou),
            "miou_interval": None if math.isnan(low) else [low, high],
            "miou_interval_over": self.drawn,
            "miou_rule": MACRO_RULE,
            "iou": by_class(scores.iou),
            "mean_dice": _number(scores.mean_dice),
            "dice": by_class(scores.dice),
            "precision": by_class(scores.precision),
            "recall": by_class(scores.recall),
            "pixel_accuracy": _number(scores.pixel_accuracy),
            "mean_accuracy": _number(scores.mean_accuracy),
            "mean_boundary_f1": _number(float(mean_of_present(self.boundary_f1_K))),
            "boundary_f1": by_class(self.boundary_f1_K),
            "boundary_tolerance": self.tolerance,
            "membranes": _membranes_json(self.membranes, names),
            "membrane_rule": self.membrane_reason,
            "images": len(self.ids),
            "pixels": int(self.confusions_NKK.sum()),
            "unlabelled_pixels": int(self.unlabelled_N.sum()),
            "seconds_per_image": _number(float(self.seconds_N.mean())) if len(self.ids) else None,
            "data": self.data,
            "refinements": self.refinements,
            "evaluated": self.evaluated,
            "classes": self.classes.to_dict(),
            "notes": list(self.notes),
        }

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """What a terminal shows: titles, headings and rows of the scores by class, and of the whole set."""
        scores, membranes = self.scores, self.membranes
        columns = (scores.iou, scores.dice, scores.precision, scores.recall, self.boundary_f1_K)
        rows = [
            [name, _shown(100 * scores.truth_share[index], 1), *(_shown(column[index]) for column in columns)]
            for index, name in enumerate(self.classes.names)
        ]
        rows.append(["macro mean", "–", *(_shown(float(mean_of_present(column))) for column in columns)])
        low, high = self.interval
        pixels, unlabelled = int(self.confusions_NKK.sum()), int(self.unlabelled_N.sum())
        whole = [
            ["mIoU", _shown(scores.miou), MACRO_RULE],
            ["pixel accuracy", _shown(scores.pixel_accuracy), f"of {pixels} pixels; {unlabelled} unlabelled left out"],
        ]
        if not math.isnan(low):
            whole.insert(1, ["", f"{low:.3f} – {high:.3f}", f"95 % bootstrap interval of mIoU over {self.drawn}"])
        if membranes is not None:
            for which, name in enumerate(("V_rand", "V_info")):
                best, threshold = membranes.best(which)
                whole.append(
                    [
                        name,
                        _shown(best),
                        f"thinned, at membrane probability {threshold:g} (plain: {_shown(membranes.plain(which))})",
                    ]
                )
        heads = ["class", "% of truth", "IoU", "Dice", "precision", "recall", f"boundary F1 ({self.tolerance} px)"]
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return [(f"{images} of {self.data}{self.asked}", heads, rows), ("", ["score", "value", "meaning"], whole)]

    def save(self, folder: Path) -> None:
        """Write the files of an evaluation (not its pictures), each atomically, `scores.json` last."""
        about = {
            "data": self.data,
            "refinements": self.refinements,
            "evaluated": self.evaluated,
            "classes": self.classes.to_dict(),
            "tolerance": self.tolerance,
            "membrane_reason": self.membrane_reason,
            "notes": list(self.notes),
            "pictures": [asdict(picture) for picture in self.pictures],
        }
        arrays: dict[str, NDArray[Any]] = {
            "about": np.array(json.dumps(about)),
            "ids": np.array(self.ids, dtype=np.str_),
            "sizes": self.sizes_N2,
            "confusions": self.confusions_NKK,
            "boundaries": self.boundaries_NK4,
            "unlabelled": self.unlabelled_N,
            "seconds": self.seconds_N,
            "groups": np.array(self.groups, dtype=np.str_),
        }
        if self.membranes is not None:
            arrays["membrane_index"] = np.array(self.membranes.index)
            arrays["membrane_thresholds"] = np.array(self.membranes.thresholds)
            arrays["membrane_scores"] = self.membranes.scores_NT2
            arrays["membrane_argmax"] = self.membranes.argmax_N2
        with runs.replacing(folder / COUNTS) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        runs.write_text(folder / IMAGES, self._csv())
        runs.write_json(folder / SCORES, self.to_json())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an evaluation back from its folder.

        Raises RunError if `confusions.npz` is missing or not what `save` wrote.
        """
        path = folder / COUNTS
        try:
            # Opened here, because numpy leaves a file that is no archive open.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays["about"]))
            membranes = None
            if "membrane_index" in arrays:
                membranes = Membranes(
                    index=int(arrays["membrane_index"]),
                    thresholds=tuple(arrays["membrane_thresholds"].tolist()),
                    scores_NT2=arrays["membrane_scores"],
                    argmax_N2=arrays["membrane_argmax"],
                )
            loaded = cls(
                classes=ClassTable.from_dict(about["classes"], str(path)),
                data=about["data"],
                # Before it was recorded, the folder's name was all that told the CRF.
                refinements=about.get("refinements", {"crf": {}} if folder.name.endswith("-crf") else {}),
                evaluated=about["evaluated"],
                ids=tuple(arrays["ids"].tolist()),
                sizes_N2=arrays["sizes"],
                confusions_NKK=arrays["confusions"],
                boundaries_NK4=arrays["boundaries"],
                unlabelled_N=arrays["unlabelled"],
                seconds_N=arrays["seconds"],
                tolerance=about["tolerance"],
                membranes=membranes,
                membrane_reason=about["membrane_reason"],
                notes=tuple(about["notes"]),
                pictures=tuple(Picture(**picture) for picture in about["pictures"]),
                groups=tuple(arrays["groups"].tolist()) if "groups" in arrays else (),
            )
            loaded._check()
            return loaded
        except FileNotFoundError:
            raise RunError(
                f"{folder} is no evaluation: it has no {COUNTS}.",
                expected="Expected a folder that `maskwright evaluate` wrote.",
                file=folder,
            ) from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, *_PACKED) as error:
            raise RunError(
                f"{path} cannot be read: {error}.",
                expected="Expected counts of an evaluation: run `maskwright evaluate` again.",
                file=path,
            ) from None

    def _check(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        count, kinds = len(self.ids), len(self.classes)
        shapes = {
            "sizes": (self.sizes_N2, (count, 2)),
            "confusions": (self.confusions_NKK, (count, kinds, kinds)),
            "boundaries": (self.boundaries_NK4, (count, kinds, 4)),
            "unlabelled": (self.unlabelled_N, (count,)),
            "seconds": (self.seconds_N, (count,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape or array.dtype.kind not in "if" or (name != "seconds" and (array < 0).any()):
                raise ValueError(f"its {name} are not of {count} images and {kinds} classes")
        texts = (self.data, self.evaluated, self.membrane_reason, *self.notes, *self.ids, *self.groups)
        if not all(isinstance(text, str) for text in texts) or type(self.tolerance) is not int:
            raise ValueError("a text of it is none")
        if len(self.groups) not in (0, count) or not isinstance(self.refinements, Mapping):
            raise ValueError("its groups or refinements are of another kind")
        if not all(type(picture.place) is int and 0 <= picture.place < count for picture in self.pictures):
            raise ValueError("a picture is of no image that was scored")
        found = self.membranes
        if found is not None:
            marks = len(found.thresholds)
            if found.scores_NT2.shape != (count, marks, 2) or found.argmax_N2.shape != (count, 2) or not marks:
                raise ValueError("its membranes are not of these images")
            if not 0 <= found.index < kinds:
                raise ValueError("its membrane is no class")

    def _csv(self) -> str:
        """One line an image. An IoU is empty where a class is in neither truth nor prediction."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        head = ["id", "height", "width", "miou", "pixel_accuracy", "labelled_pixels", "unlabelled_pixels", "seconds"]
        writer.writerow(head + [f"iou {name}" for name in self.classes.names])
        iou_NK = class_iou(self.confusions_NKK)
        for place, name in enumerate(self.ids):
            scores = [self.image_miou_N[place], self.image_accuracy_N[place]]
            pixels = [int(self.confusions_NKK[place].sum()), int(self.unlabelled_N[place])]
            writer.writerow(
                [name, *self.sizes_N2[place].tolist(), *map(_cell, scores), *pixels, f"{self.seconds_N[place]:.4f}"]
                + [_cell(value) for value in iou_NK[place]]
            )
        return text.getvalue()


def _membranes_json(membranes: Membranes | None, names: list[str]) -> dict[str, Any] | None:
    if membranes is None:
        return None
    (v_rand, rand_at), (v_info, info_at) = membranes.best(0), membranes.best(1)
    return {
        "class": names[membranes.index],
        "v_rand": _number(v_rand),
        "v_rand_threshold": _number(rand_at),
        "v_info": _number(v_info),
        "v_info_threshold": _number(info_at),
        "v_rand_argmax": _number(membranes.plain(0)),
        "v_info_argmax": _number(membranes.plain(1)),
        "rule": "after border thinning, foreground restricted; best mean over images among membrane probabilities "
        f"{membranes.thresholds[0]:g} to {membranes.thresholds[-1]:g} (ISBI 2012)",
    }


def _number(value: float) -> float | None:
    """A float that JSON can hold."""
    return None if math.isnan(value) else float(value)


def _shown(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
