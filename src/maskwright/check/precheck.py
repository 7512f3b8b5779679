"""The part of the audit that takes a second or two: what the command line asks before it plans or trains.

Whole files are compared by their bytes, and a sample of pairs is read. Training itself does not import this.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maskwright.check.leaks import groups_in_two_splits, same_files
from maskwright.check.mask_values import everything_unlabelled, interpolated_masks, jpeg_masks, undeclared_values
from maskwright.check.measure import measure
from maskwright.check.misalignment import misplaced_masks, size_mismatches
from maskwright.check.scan_result import ScanResult, Settled, mixed_images, unreadable_files
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Dataset, Sample
from maskwright.errors import DataError

__all__ = ["precheck", "refuse_errors"]

_READ = 32
"""Pairs that are read, of usual sizes."""
_PIXELS = 32e6
"""Pixels that are read, of large pairs; but four pairs at least."""
_SHOWN = 5
"""Errors that are told before training; `maskwright check` tells all."""


def precheck(dataset: Dataset) -> tuple[Problem, ...]:
    """Find the worst mistakes in a second or two, whatever the size of the set.

    Of all samples: the same file, or the same group, in two splits. Of 32 pairs spread over the set: undeclared values,
    unreadable files, sizes, JPEG masks, interpolated, shifted and turned masks; and whether anything is labelled.
    `maskwright check` reads every pair and finds more.

    Returns
    -------
    tuple[Problem, ...]
        Errors first.
    """
    chosen = _spread(dataset.samples)
    ignored = frozenset(dataset.classes.unlabelled) | (set() if dataset.classes.claims(UNLABELLED) else {UNLABELLED})
    scanned = ScanResult(
        samples=chosen,
        measured=tuple(measure(sample, ignored) for sample in chosen),
        settled=Settled(dataset.classes, ""),
        home=dataset.root,
    )
    found = unreadable_files(scanned) + size_mismatches(scanned) + undeclared_values(scanned)
    if len(chosen) == len(dataset.samples):
        found += everything_unlabelled(scanned)
    found += mixed_images(scanned)
    found += same_files(dataset.samples) + groups_in_two_splits(dataset.samples)
    found += misplaced_masks(scanned) + interpolated_masks(scanned) + jpeg_masks(scanned)
    return tuple(sorted(found, key=lambda problem: problem.level != "error"))


def refuse_errors(dataset: Dataset, name: str, say: Callable[[str], None], max_bad: int = 0) -> None:
    """Run the precheck: say its warnings, and raise DataError if it finds errors.

    Parameters
    ----------
    dataset
        What is about to be trained on, with the split of each sample.
    name
        What to call it in the error.
    say
        Is given a line for each warning.
    max_bad
        Files that cannot be read and are only warned about, because training skips them.
    """
    found = precheck(dataset)
    for problem in found:
        if problem.level == "warning":
            say(f"warning: {problem.what} {problem.remedy}")
    errors = [problem for problem in found if problem.level == "error"]
    unreadable = [problem for problem in errors if problem.kind == "unreadable"]
    if len(unreadable) <= max_bad:
        errors = [problem for problem in errors if problem not in unreadable]
    if errors:
        lines = "\n".join(f"{problem.what} {problem.remedy}" for problem in errors[:_SHOWN])
        more = f"\n{len(errors) - _SHOWN} more errors." if len(errors) > _SHOWN else ""
        raise DataError(
            f"{name} has errors:\n{lines}{more}\n",
            remedy="See all of them with pictures: maskwright check DATA",
            file=errors[0].files[0] if errors[0].files else None,
        )


def _spread(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """Some samples from all over the set, fewer of large ones."""
    if not samples:
        return ()
    middle = samples[len(samples) // 2]
    try:
        height, width = middle.image.header().shape
        count = int(min(_READ, max(4, _PIXELS // (height * width))))
    except DataError:
        count = _READ
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int))
    return tuple(samples[index] for index in chosen.tolist())
