"""Which samples train, and which validate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maskwright.augment.loader import Store
from maskwright.check.precheck import refuse_errors
from maskwright.config import SEED, VAL_FRACTION, Training
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.samples import Dataset, Sample, classes_present
from maskwright.datasets.splits import hold_out, keep_every_class
from maskwright.errors import DataError

Say = Callable[[str], None]

FEWEST = 8
"""Samples below which none is held out: one or none would be, too few to choose by, and each is wanted for training."""
VALIDATION_IMAGES = 64
"""Scored by a validation, spread evenly over the validation samples."""
_COUNTED = 500
"""Samples, up to which all masks are read to see that training shows every class; in larger sets chance does it."""


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Which samples train, which validate, and how they were chosen."""

    training: Dataset
    validation: Dataset
    how: str


def split_dataset(
    data: Path, training: Training, val: Path | None, fold: int | None, say: Say, max_bad: int = 0
) -> Splits:
    """Open a data folder, and `val` if there is one, and divide the samples.

    Validation samples are those of `val`, or the data's own `val` split, or held out; with a `fold`, that part of
    `training.folds`. Raises what `open_dataset`, `hold_out` and `folds` raise.
    """
    seed = SEED if training.seed is None else training.seed
    dataset = open_dataset(data)
    if training.sources is not None:
        from maskwright.datasets.formats.project import of_sources

        dataset = of_sources(dataset, training.sources.split(","))
    for note in dataset.notes:
        say(note)
    names = dataset.splits
    if names == {"val"}:
        from maskwright.datasets.formats.project import refuse_frozen_only

        refuse_frozen_only(dataset)
    pool = dataset.split("train") if "train" in names else dataset
    if val is not None:
        other = open_dataset(val, classes=dataset.classes)
        for note in other.notes:
            say(f"validation: {note}")
        sides = [
            replace(sample, split=side) for side, part in (("train", pool), ("val", other)) for sample in part.samples
        ]
        refuse_errors(dataset.with_samples(tuple(sides)), f"{data} and {val}", say, max_bad)
        return Splits(training=pool, validation=other, how=f"validation on {len(other.samples)} samples of {val}")
    refuse_errors(dataset, str(data), say, max_bad)
    left = f"; {data / 'test'} is left for evaluation" if "test" in names and "train" in names else ""
    if fold is not None and training.folds is not None:
        if "val" in names and "train" in names:
            left = f"; {data / 'val'} is not used{left}"
        from maskwright.datasets.folds import folds

        parts, how = folds(pool.samples, training.folds, seed)
        kept = tuple(sample for number, part in enumerate(parts) if number != fold for sample in part)
        return Splits(
            training=pool.with_samples(kept),
            validation=pool.with_samples(parts[fold]),
            how=f"fold {fold + 1} of {training.folds}, without {len(parts[fold])} samples; {how}{left}",
        )
    if "train" in names and "val" in names:
        validation = dataset.split("val")
        how = f"validation on the {len(validation.samples)} samples of {data / 'val'}"
        return Splits(training=pool, validation=validation, how=how)
    if training.val_fraction is None and 0 < len(pool.samples) < FEWEST:
        how = (
            f"all {len(pool.samples)} samples train and none is held out, since fewer than {FEWEST} are too few to "
            "validate on: the last weights are kept, and this run makes no claim about how good they are"
        )
        return Splits(training=pool, validation=pool.with_samples(()), how=how + left)
    fraction = VAL_FRACTION if training.val_fraction is None else training.val_fraction
    kept, held, how = hold_out(pool.samples, fraction, seed)
    if 0 < len(pool.samples) <= _COUNTED:
        kept, held, moved = keep_every_class(kept, held, classes_present(pool))
        how += moved
    return Splits(training=pool.with_samples(kept), validation=pool.with_samples(held), how=how + left)


def validation_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Choose at most `VALIDATION_IMAGES` samples, spread evenly: those that every validation looks at."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    if len(ordered) <= VALIDATION_IMAGES:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, VALIDATION_IMAGES).astype(int)]


def refuse_unlabelled(store: Store, samples: Sequence[Sample]) -> None:
    """Raise DataError if there are validation samples and none of them has a labelled pixel: none could be scored."""
    if samples and not any((store.get(sample).mask != UNLABELLED).any() for sample in samples):
        raise DataError(
            f"No validation image has a labelled pixel: the masks of all {len(samples)} looked at are 255 throughout, "
            "or listed as unlabelled.",
            expected="Expected labelled validation images, to choose the best weights by.",
            remedy="Label some, give others with --val, or train without validation: leave them out of the data and "
            "give --val-fraction 0.",
        )
