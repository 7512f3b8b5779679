"""The cheap part of the audit, for `train`: whole files are compared by their bytes, and a sample of pairs is read."""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from pathlib import Path

import numpy as np

from maskwright.check import contents, leaks, pairing
from maskwright.check.causes import undeclared_values
from maskwright.check.findings import ordered
from maskwright.check.placing import placement_problems
from maskwright.check.surveyed import Surveyed
from maskwright.check.surveying import survey
from maskwright.check.tables import Settled
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Dataset, Sample
from maskwright.errors import DataError, listed

__all__ = ["quick"]

_READ = 32
"""Pairs that are read, of usual sizes."""
_PIXELS = 32e6
"""Pixels that are read, of large pairs; but four pairs at least."""


def quick(dataset: Dataset) -> tuple[Problem, ...]:
    """What `train` asks before it starts, in a second or two whatever the size of the set.

    Of all samples: the same file, or the same group, in two splits. Of 32 pairs spread over the set: undeclared values,
    unreadable files, sizes, JPEG masks, interpolated, shifted and turned masks; and whether anything is labelled.
    `maskwright check` reads every pair and finds more.
    """
    chosen = _spread(dataset.samples)
    ignored = frozenset(dataset.classes.unlabelled) | ({255} if not dataset.classes.claims(255) else set())
    surveyed = Surveyed(
        samples=chosen,
        measured=tuple(survey(chosen, ignored, workers=1)),
        settled=Settled(dataset.classes, ""),
        home=dataset.root,
    )
    everything = Surveyed(samples=dataset.samples, measured=(), settled=surveyed.settled, home=dataset.root)
    found = [*_same_files(dataset), *leaks.groups_in_two_splits(everything)]
    for rule in (
        pairing.unreadable_files,
        pairing.size_mismatches,
        undeclared_values,
        contents.interpolated_masks,
        contents.jpeg_masks,
        placement_problems,
    ):
        found += rule(surveyed)
    if len(chosen) == len(dataset.samples):
        found += contents.everything_unlabelled(surveyed)
    return ordered(found)


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
    places = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int))
    return tuple(samples[place] for place in places.tolist())


def _same_files(dataset: Dataset) -> list[Problem]:
    """Images of two splits whose files are equal byte for byte; only files of equal size are read."""
    by_size: defaultdict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        by_size[sample.image.identity(), sum(path.stat().st_size for path in sample.image.files)].append(sample)
    by_content: defaultdict[bytes, list[Sample]] = defaultdict(list)
    for samples in by_size.values():
        if len({sample.split for sample in samples}) > 1:
            for sample in samples:
                by_content[_digest(sample.image.files) + sample.image.identity().encode()].append(sample)
    problems = []
    for same in by_content.values():
        splits = list(dict.fromkeys(sample.split or "train" for sample in same))
        if len(splits) > 1:
            ordered_samples = sorted(same, key=lambda sample: splits.index(sample.split or "train"))
            problems.append(
                Problem(
                    level="error",
                    kind="same-image",
                    files=tuple(sample.image.path for sample in ordered_samples),
                    what=f"The same image is in {' and '.join(splits)}: "
                    f"{listed([sample.id for sample in ordered_samples], 4)}.",
                    remedy="Scores on an image that was trained on say nothing. Remove it from training.",
                    sample=ordered_samples[0].id,
                )
            )
    return problems


def _digest(files: tuple[Path, ...]) -> bytes:
    digest = blake2b(digest_size=16)
    for path in files:
        digest.update(path.read_bytes())
    return digest.digest()
