"""What votes say of the functions that cast them: coverage, overlap, conflict, and accuracy, estimated and true.

All of it is counted over patterns, the votes that occur together (votes.py). Shapes: P patterns, J voters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.label import votes
from maskwright.label.voters import Failure, Script


@dataclass(kw_only=True)
class Counts:
    """What occurs together, in one image or all."""

    pixels: Counter[bytes] = field(default_factory=Counter)
    """Pixels by pattern of votes, class indices."""
    regions: Counter[bytes] = field(default_factory=Counter)
    """Superpixels by pattern of their votes."""
    human: Counter[bytes] = field(default_factory=Counter)
    """Pixels that a human labelled by pattern, the human's class last."""
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class VoterFigures:
    """How one function votes; fractions, None where they cannot be told."""

    name: str
    votes_for: str
    coverage: float
    """Of pixels that it votes on."""
    overlap: float
    """Of pixels that it and another vote on."""
    conflict: float
    """Of pixels that it votes on and another votes otherwise."""
    estimated: float | None
    """Of its superpixels' votes that are right, as the label model estimates."""
    true: float | None
    """Of its votes that are right where a human labelled."""
    failed: int
    """Images on which it raised."""


@dataclass(frozen=True, kw_only=True)
class ImageFigures:
    """What came of one image; fractions of its pixels."""

    name: str
    labelled: float
    conflict: float


def counted(votes_JHW: np.ndarray) -> Counter[bytes]:
    """How often each pattern of votes occurs."""
    patterns, places = votes.patterns_of(votes_JHW)
    amounts = np.bincount(places.ravel(), minlength=len(patterns)).tolist()
    return Counter({pattern.tobytes(): amount for pattern, amount in zip(patterns, amounts, strict=True) if amount})


def counted_regions(votes_JHW: np.ndarray, regions_HW: np.ndarray | None, classes: int) -> Counter[bytes]:
    """How often each pattern of superpixels' votes occurs; without superpixels, of pixels."""
    if regions_HW is None:
        return counted(votes_JHW)
    return counted(votes.per_region(votes_JHW, regions_HW, classes)[:, None])


def summed(found: Iterable[Counts]) -> Counts:
    """Counts of all images."""
    total = Counts()
    for one in found:
        total.pixels.update(one.pixels)
        total.regions.update(one.regions)
        total.human.update(one.human)
        total.failures += one.failures
    return total


def unpacked(counter: Counter[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Patterns in a fixed order, so that sums of floats come out the same, and their counts."""
    rows = sorted(counter.items())
    return np.array([list(key) for key, _ in rows], np.uint8), np.array([amount for _, amount in rows], np.int64)


def fit(total: Counts, voters: int, classes: int) -> votes.Reliability | None:
    """Reliabilities from all superpixels' votes; None for a single voter, of which nothing can be estimated."""
    if voters < 2:
        return None
    patterns, amounts = unpacked(total.regions)
    return votes.dawid_skene(patterns, amounts, classes, abstentions_inform=True)


def probabilities(reliability: votes.Reliability | None, patterns: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities of the classes for each pattern: by reliabilities, or without them by the majority."""
    if reliability is None:
        return votes.majority(patterns, classes)
    return votes.posterior(reliability, patterns)


def conflicting(patterns_PJ: np.ndarray) -> np.ndarray:
    """Whether a pattern has votes for two classes."""
    told = patterns_PJ != UNLABELLED
    low = np.where(told, patterns_PJ, UNLABELLED).min(1)
    high = np.where(told, patterns_PJ, 0).max(1)
    return np.asarray(told.any(1) & (low < high))


def figures(
    script: Script, total: Counts, reliability: votes.Reliability | None, classes: int
) -> Iterator[VoterFigures]:
    """The figures of each function of a script."""
    patterns, pixels = unpacked(total.pixels)
    told, everything = patterns != UNLABELLED, max(int(pixels.sum()), 1)
    regions, amounts = unpacked(total.regions)
    sure = probabilities(reliability, regions, classes)
    truth, truths = unpacked(total.human) if total.human else (np.zeros((0, len(script.voters) + 1), np.uint8), None)
    for place, voter in enumerate(script.voters):
        others = np.delete(told, place, 1)
        differs = (np.delete(patterns, place, 1) != patterns[:, place, None]) & others
        own, voted = told[:, place], regions[:, place] != UNLABELLED
        estimated = None
        if len(script.voters) > 1 and voted.any():
            right = sure[voted, regions[voted, place]]
            estimated = float((right * amounts[voted]).sum() / amounts[voted].sum())
        checked = truth[:, place] != UNLABELLED
        yield VoterFigures(
            name=voter.name,
            votes_for=" or ".join(name for name in (voter.of, voter.otherwise) if name) or "any class",
            coverage=float(pixels[own].sum() / everything),
            overlap=float(pixels[own & others.any(1)].sum() / everything),
            conflict=float(pixels[own & differs.any(1)].sum() / everything),
            estimated=estimated,
            true=None
            if truths is None or not checked.any()
            else float(truths[checked & (truth[:, place] == truth[:, -1])].sum() / truths[checked].sum()),
            failed=sum(failure.voter == voter.name for failure in total.failures),
        )


def true_accuracy(total: Counts, reliability: votes.Reliability | None, script: Script, classes: int) -> float | None:
    """Of the pixels that humans and the combined votes label, the fraction that agree; superpixels are left out."""
    if not total.human:
        return None
    truth, amounts = unpacked(total.human)
    if script.simple:
        mask = truth[:, 0]
    else:
        mask = votes.decide(probabilities(reliability, truth[:, :-1], classes), script.confidence)[0]
    told = mask != UNLABELLED
    return float(amounts[told & (mask == truth[:, -1])].sum() / amounts[told].sum()) if told.any() else None
