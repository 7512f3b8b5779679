"""What several masks of one image say together: how well observers agree, and where masks of classes overlap.

Two people who label the same images agree to a degree, and no model can be said to do better than they do: their IoU,
for each class, is the ceiling of any score against one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.formats.layout import Layout
from maskwright.datasets.formats.several import Layered
from maskwright.datasets.samples import Sample
from maskwright.errors import MaskwrightError

__all__ = ["Agreement", "Overlaps", "agreements", "overlaps"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well another observer's masks agree with those that are used."""

    rater: str
    images: int
    """Images that both labelled."""
    iou: tuple[tuple[str, float | None], ...]
    """By class: intersection over union of both over all images; None where neither has the class."""

    @property
    def mean(self) -> float:
        """Mean over the classes that either has."""
        present = [value for _, value in self.iou if value is not None]
        return sum(present) / len(present) if present else 0.0

    def told(self) -> str:
        """In a sentence."""
        each = ", ".join(f"{name} {value:.3f}" for name, value in self.iou if value is not None)
        return (
            f"the observer {self.rater} agrees with the masks that are used with a mean IoU of {self.mean:.3f} on "
            f"{self.images} images ({each}): the ceiling of any model"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"rater": self.rater, "images": self.images, "miou": self.mean, "iou": dict(self.iou)}


def agreements(layout: Layout, table: ClassTable) -> tuple[Agreement, ...]:
    """The agreement of each further observer with the masks that are used; files that cannot be read are passed over.

    Pixels that either left unlabelled do not count.
    """
    by_id = {sample.id: sample for sample in layout.samples}
    matrices: dict[str, np.ndarray] = {}
    images: Counter[str] = Counter()
    for sample_id, others in layout.raters.items():
        sample = by_id.get(sample_id)
        if sample is None or sample.mask is None:
            continue
        try:
            own = table.encode(sample.mask.read_mask(), str(sample.mask.path))
        except MaskwrightError:
            continue  # a finding of its own
        for name, source in others:
            try:
                other = table.encode(source.read_mask(), str(source.path))
            except MaskwrightError:
                continue
            if other.shape != own.shape:
                continue
            both = (own != UNLABELLED) & (other != UNLABELLED)
            pairs = own[both].astype(np.int64) * len(table) + other[both]
            counts = np.bincount(pairs, minlength=len(table) ** 2).reshape(len(table), len(table))
            matrices[name] = matrices.get(name, np.zeros_like(counts)) + counts
            images[name] += 1
    return tuple(
        Agreement(rater=name, images=images[name], iou=tuple(zip(table.names, _iou(matrix), strict=True)))
        for name, matrix in matrices.items()
    )


def _iou(confusion_KK: np.ndarray) -> list[float | None]:
    """Intersection over union of each class; None where it has no pixel."""
    both = np.diag(confusion_KK)
    either = confusion_KK.sum(0) + confusion_KK.sum(1) - both
    return [float(b / e) if e else None for b, e in zip(both.tolist(), either.tolist(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """Pixels that masks of two classes or more claim."""

    pixels: int
    images: int
    fraction: float
    """Of all pixels of the images that have masks for each class."""
    most: tuple[tuple[str, str, int], ...]
    """Pairs of classes, the one on top first, and their common pixels; the most frequent ones."""

    def told(self) -> str:
        """In a sentence."""
        pairs = ", ".join(f"{top} over {under} ({pixels:,})" for top, under, pixels in self.most)
        return (
            f"masks of classes overlap in {self.pixels:,} pixels ({self.fraction:.2%}) of {self.images} images: {pairs}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        pairs = [{"top": top, "under": under, "pixels": pixels} for top, under, pixels in self.most]
        return {"pixels": self.pixels, "images": self.images, "fraction": self.fraction, "pairs": pairs}


_MOST_PAIRS = 6


def overlaps(samples: Sequence[Sample], table: ClassTable) -> Overlaps | None:
    """Where masks of one class each overlap; None where there are no such masks, or they do not."""
    pixels = images = total = 0
    pairs: Counter[tuple[int, int]] = Counter()
    for sample in samples:
        if not isinstance(sample.mask, Layered) or len(set(sample.mask.numbers)) < 2:
            continue
        try:
            layers = sample.mask.layers()
        except MaskwrightError:
            continue  # a finding of its own
        by_number: dict[int, np.ndarray] = {}
        for number, inside in layers:
            by_number[number] = by_number[number] | inside if number in by_number else inside
        claims = sum(inside.astype(np.uint8) for inside in by_number.values())
        total += layers[0][1].size
        common = int((np.asarray(claims) > 1).sum())
        if not common:
            continue
        pixels, images = pixels + common, images + 1
        for under, top in combinations(sorted(by_number), 2):
            pairs[top, under] += int((by_number[top] & by_number[under]).sum())
    if not pixels:
        return None
    most = [
        (table.names[top], table.names[under], count) for (top, under), count in pairs.most_common(_MOST_PAIRS) if count
    ]
    return Overlaps(pixels=pixels, images=images, fraction=pixels / total, most=tuple(most))
