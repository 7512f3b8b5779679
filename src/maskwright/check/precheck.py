"""The part of the audit that takes a second or two: what the command line asks before it plans or trains.

Whole files are compared by their bytes, and a sample of pairs is read. Most sets are sound, so each pair first gets a
look that says no more than whether something may be wrong; only then are the pairs measured, and the rules asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskwright.check.edges import Placement, all_in_place, is_smoothed, score_placement
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.samples import Dataset, Sample
from maskwright.errors import DataError, MaskwrightError
from maskwright.imaging.colors import color_code, color_codes
from maskwright.imaging.decoders import sniff

if TYPE_CHECKING:
    from maskwright.datasets.problems import Problem

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
    if not _seem_sound(chosen, dataset):
        from maskwright.check.second_look import findings_in

        return findings_in(dataset, chosen)
    if len({sample.split for sample in dataset.samples}) > 1:
        from maskwright.check.leaks import groups_in_two_splits, same_files

        return tuple(same_files(dataset.samples) + groups_in_two_splits(dataset.samples))
    return ()


class _Look(NamedTuple):
    """What a first look at a pair tells."""

    kind: tuple[int, str]
    """Channels and type of the image."""
    labelled: bool
    """Whether a pixel with data is labelled."""
    placement: Placement | None


def _seem_sound(chosen: tuple[Sample, ...], dataset: Dataset) -> bool:
    """Whether no rule could find anything in these pairs."""
    looks: list[_Look] = []
    for sample in chosen:
        look = _first_look(sample, dataset.classes)
        if look is None:
            return False
        looks.append(look)
    if looks and len(chosen) == len(dataset.samples) and not any(look.labelled for look in looks):
        return False
    if len({look.kind for look in looks}) > 1:
        return False
    return all_in_place([look.placement for look in looks if look.placement is not None])


def _first_look(sample: Sample, table: ClassTable) -> _Look | None:
    """Read a pair; None where a file, a size or a value may be wrong."""
    try:
        image = sample.image.read_image()
        shape, valid_HW = image.pixels.shape[:2], image.valid
        kind = (image.pixels.shape[2], str(image.pixels.dtype))
        if sample.valid is not None:
            raw = sample.valid.read_mask()
            marked_HW = (raw != 0).any(axis=2) if raw.ndim == 3 else raw != 0
            if marked_HW.shape != shape:
                return None
            valid_HW = marked_HW if valid_HW is None else valid_HW & marked_HW
        if sample.mask is None:
            return _Look(kind, labelled=False, placement=None)
        raw = sample.mask.read_mask()
        if raw.shape[:2] != shape:
            return None
        mask_HW = table.encode(raw, str(sample.mask.path))  # refuses values that no class stands for
        with (sample.mask.files or (sample.mask.path,))[0].open("rb") as file:
            jpeg = sniff(file.read(16)) == "jpeg"
    except (MaskwrightError, OSError):
        return None
    held = np.flatnonzero(np.bincount(mask_HW.ravel(), minlength=UNLABELLED + 1))
    # Of 0 and 255 alone, the 255 may stand for the class that is 1 in other masks.
    unclear = len(table) == 2 and len(held) == 2 and UNLABELLED in held
    if jpeg or unclear or (raw.ndim == 2 and is_smoothed(raw)):
        return None
    # Edges against unlabelled pixels are nobody's.
    ignored = [*table.unlabelled, *([] if table.claims(UNLABELLED) else [UNLABELLED])]
    if raw.ndim == 3:
        raw, ignored = color_codes(raw), [color_code(value) for value in ignored if isinstance(value, str)]
    counted_HW = ~np.isin(raw, [value for value in ignored if isinstance(value, int)])
    labelled_HW = mask_HW != UNLABELLED
    if valid_HW is not None:
        counted_HW, labelled_HW = counted_HW & valid_HW, labelled_HW & valid_HW
    return _Look(kind, bool(labelled_HW.any()), score_placement(image.pixels, raw, counted_HW))


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
