"""Run a model over a labelled set, at original size, and keep every number that a score can be made from.

Legend: H, W height and width; N images; K classes; T thresholds.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright import runs
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.errors import ClassTableError, DataError, EmptyDataError, PairingError, listed
from maskwright.evaluate.boundary import TOLERANCE, boundary_counts
from maskwright.evaluate.evaluation import PICTURES, Evaluation, Picture
from maskwright.evaluate.metrics import class_iou, confusion, mean_of_present
from maskwright.evaluate.pictures import render
from maskwright.evaluate.regions import THRESHOLDS, Membranes, membrane_class, region_scores
from maskwright.outputs import holds_outputs, is_own

if TYPE_CHECKING:
    from maskwright.datasets.samples import Dataset, Sample

__all__ = ["Evaluation", "evaluate"]

WORST, BEST = 6, 3
"""How many images are shown at either end; a third of a small set is shown as its best."""
MASKS_JUDGED = 16
"""Truth masks, evenly spread over the set, by which it is judged to be one of membranes or not."""

Mask = NDArray[np.uint8]


class Answer(Protocol):
    """What evaluation needs of a `Prediction`."""

    @property
    def mask(self) -> np.ndarray:
        """Class indices, uint8 H x W, 255 where not valid."""
        ...

    @property
    def probabilities(self) -> np.ndarray:
        """Float32, H x W x K."""
        ...


class Answerer(Protocol):
    """What evaluation needs of a `Predictor`."""

    @property
    def classes(self) -> ClassTable:
        """The model's classes."""
        ...

    def __call__(self, image: np.ndarray, valid: np.ndarray | None = None) -> Answer:
        """Segment an image of native values, H x W x C."""
        ...


def evaluate(
    predictor: Answerer,
    dataset: Dataset,
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    answerer_of: Callable[[Sample], Answerer] | None = None,
    failed: dict[str, str] | None = None,
) -> Evaluation:
    """Score a predictor on every sample of a data set and write the evaluation into the folder `out`.

    With `failed`, samples that cannot be read, or that the model refuses, are put there by id with what is wrong, and
    the others are scored. With `answerer_of`, each sample is segmented by the predictor that it gives instead, as in
    cross-validation.

    Masks are compared at the size of the original mask. `progress(done, total)` is called after each image. An earlier
    evaluation in `out` is replaced, file by file, each atomically. If the set is one of membranes and cells
    (`regions.membrane_class`), V_rand and V_info are computed too.

    Raises EmptyDataError without samples, PairingError for a sample without a mask, and ClassTableError if the data's
    classes are not the model's.
    """
    _check(predictor, dataset)
    classes, samples = predictor.classes, dataset.samples
    kinds = len(classes)
    membrane, reason = _find_membrane(dataset) if kinds == 2 else (None, f"{kinds} classes; membranes need two")
    sizes, confusions, boundaries, seconds, regions, regions_argmax = [], [], [], [], [], []
    gallery = _Gallery(len(samples))
    scored: list[Sample] = []
    for done, sample in enumerate(samples, start=1):
        try:
            pair = dataset.read(sample)
            started = time.perf_counter()
            answer = (predictor if answerer_of is None else answerer_of(sample))(pair.image, pair.valid)
        except DataError as error:
            if failed is None:
                raise
            failed[sample.id] = str(error) if error.file else f"{sample.image.path}: {error}"
            continue
        place = len(scored)
        scored.append(sample)
        seconds.append(time.perf_counter() - started)
        assert answer.mask.shape == pair.mask.shape, (sample.id, answer.mask.shape, pair.mask.shape)
        counts = confusion(pair.mask, answer.mask, kinds)
        sizes.append(pair.mask.shape)
        confusions.append(counts)
        boundaries.append(boundary_counts(pair.mask, answer.mask, kinds, TOLERANCE))
        if membrane is not None:
            by_threshold, plain = _regions(pair.mask, answer, membrane)
            regions.append(by_threshold)
            regions_argmax.append(plain)
        gallery.offer(place, _own_miou(counts), answer.mask)
        if progress is not None:
            progress(done, len(samples))
    if failed and not scored:
        raise DataError("\n".join(list(failed.values())[:5]))
    samples, dataset = tuple(scored), dataset.with_samples(tuple(scored))
    sizes_N2 = np.array(sizes, np.int64)
    confusions_NKK = np.stack(confusions)
    evaluation = Evaluation(
        classes=classes,
        data=str(dataset.root.resolve()),
        refinements=dict(getattr(predictor, "refinements", {})),
        evaluated=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        ids=tuple(sample.id for sample in samples),
        sizes_N2=sizes_N2,
        confusions_NKK=confusions_NKK,
        boundaries_NK4=np.stack(boundaries),
        unlabelled_N=sizes_N2.prod(1) - confusions_NKK.sum((1, 2)),
        seconds_N=np.array(seconds),
        tolerance=TOLERANCE,
        membranes=None
        if membrane is None
        else Membranes(
            index=membrane,
            thresholds=THRESHOLDS,
            scores_NT2=np.array(regions),
            argmax_N2=np.array(regions_argmax),
        ),
        membrane_reason=reason,
        notes=(
            *dataset.notes,
            *([f"{len(failed)} samples could not be scored: {listed(list(failed))}"] if failed else []),
        ),
        groups=tuple(sample.group or sample.id for sample in samples) if any(s.group for s in samples) else (),
    )
    with runs.locked(out, wait=True):  # another process may be scoring the same images
        pictures = tuple(_draw(gallery, dataset, evaluation, out / PICTURES))
        evaluation = replace(evaluation, pictures=pictures)
        evaluation.save(out)
        _remove_others(out / PICTURES, evaluation.pictures)
    return evaluation


class _Gallery:
    """The worst and the best images seen so far, with their predicted masks; the others are forgotten."""

    def __init__(self, images: int) -> None:
        self._best = min(BEST, images // 3)
        self._worst = min(WORST, images - self._best)
        self._low: list[tuple[float, int, Mask]] = []
        self._high: list[tuple[float, int, Mask]] = []

    def offer(self, place: int, miou: float, mask_HW: Mask) -> None:
        """Keep an image if it is among the worst or best so far; one without a labelled pixel (NaN) is neither."""
        if np.isnan(miou):
            return
        # Heaps of what would leave first; places are unique, so masks are never compared.
        for heap, key, size in ((self._low, -miou, self._worst), (self._high, miou, self._best)):
            heapq.heappush(heap, (key, -place, mask_HW))
            if len(heap) > size:
                heapq.heappop(heap)

    def chosen(self) -> Iterator[tuple[str, int, Mask]]:
        """Kind, place and mask: from the worst up, then from the best down."""
        shown = set()
        for _, negative_place, mask_HW in sorted(self._low, key=lambda item: (-item[0], -item[1])):
            shown.add(-negative_place)
            yield "worst", -negative_place, mask_HW
        for _, negative_place, mask_HW in sorted(self._high, key=lambda item: (-item[0], -item[1])):
            if -negative_place not in shown:
                yield "best", -negative_place, mask_HW


def _check(predictor: Answerer, dataset: Dataset) -> None:
    if not dataset.samples:
        raise EmptyDataError(
            f"{dataset.root} has no sample to evaluate.",
            expected=(
                f"Expected images with masks, for example in {dataset.root / 'images'} and {dataset.root / 'masks'}."
            ),
        )
    bare = [sample.id for sample in dataset.samples if sample.mask is None]
    if bare:
        raise PairingError(
            f"{len(bare)} of {len(dataset.samples)} images in {dataset.root} have no mask, for "
            f"example {', '.join(bare[:3])}.",
            expected="Expected a mask for each image, to compare predictions with.",
            remedy="Add the masks, or use `maskwright predict` for images without.",
        )
    if dataset.classes.names != predictor.classes.names:
        raise ClassTableError(
            f"{dataset.root} has the classes {', '.join(dataset.classes.names)}, and the model "
            f"was trained on {', '.join(predictor.classes.names)}.",
            expected="Expected the same names in the same order.",
            remedy="Correct the data's classes.toml, or remove it to use the model's.",
        )


def _find_membrane(dataset: Dataset) -> tuple[int | None, str]:
    """Judge a two-class set by some of its truth masks."""
    places = np.unique(np.linspace(0, len(dataset.samples) - 1, MASKS_JUDGED).astype(int))
    chosen: list[Sample] = [dataset.samples[place] for place in places]
    masks = []
    for sample in chosen:
        with suppress(DataError):  # it is named when its turn comes
            masks.append(dataset.read(sample).mask)
    if not masks:
        return None, "no truth mask that was looked at can be read"
    membrane, reason = membrane_class(masks, dataset.classes.names)
    return membrane, f"judged by {len(masks)} of {len(dataset.samples)} truth masks: {reason}"


def _regions(truth_HW: Mask, answer: Answer, membrane: int) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """V_rand and V_info at each threshold of the membrane probability, and of the plain mask.

    Pixels that are not valid separate, like membrane; they are not cell in truth, so that they do not count.
    """
    true_cell_HW = truth_HW == 1 - membrane
    seen_HW = answer.mask != UNLABELLED
    true_cell_HW &= seen_HW
    probability_HW = answer.probabilities[:, :, membrane]
    by_threshold = [region_scores(true_cell_HW, (probability_HW < threshold) & seen_HW) for threshold in THRESHOLDS]
    return by_threshold, region_scores(true_cell_HW, answer.mask == 1 - membrane)


def _own_miou(confusion_KK: NDArray[np.int64]) -> float:
    """As `Evaluation.image_miou_N`, for one image."""
    return float(mean_of_present(np.where(confusion_KK.sum(1) > 0, class_iou(confusion_KK), np.nan)))


def _draw(gallery: _Gallery, dataset: Dataset, evaluation: Evaluation, folder: Path) -> Iterator[Picture]:
    """Write the pictures of the chosen images."""
    numbers = {"worst": 0, "best": 0}
    for kind, place, mask_HW in gallery.chosen():
        numbers[kind] += 1
        pair = dataset.read(dataset.samples[place])
        names = {}
        for part, content in render(pair.image, pair.mask, mask_HW, evaluation.classes, evaluation.rarer).items():
            names[part] = f"{kind}-{numbers[kind]}-{part}.{'jpg' if part in ('image', 'errors') else 'png'}"
            runs.write_bytes(folder / names[part], content)
        yield Picture(kind=kind, place=place, **names)


def _remove_others(folder: Path, pictures: tuple[Picture, ...]) -> None:
    """Remove pictures that an earlier, larger evaluation left."""
    kept = {name for p in pictures for name in (p.image, p.truth, p.prediction, p.errors)}
    if folder.is_dir():
        for path in folder.glob("*-[0-9]-*.*"):
            own = not runs.is_temporary(path.name) and path.name not in kept
            if own and (is_own(path) or not holds_outputs(folder.parent)):
                path.unlink()
