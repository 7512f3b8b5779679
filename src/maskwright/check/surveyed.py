"""A whole set, measured: what the audit's rules look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.check.records import Labels, Measured, Picture
from maskwright.check.tables import Settled
from maskwright.datasets.classes import UNLABELLED, ClassTable, Value
from maskwright.datasets.samples import Sample
from maskwright.imaging.colors import color_rgb

__all__ = ["Surveyed"]

TRAINING = (None, "train")
"""Splits that are trained on."""


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """Samples, what was measured of each, and the class table their masks are judged by."""

    samples: tuple[Sample, ...]
    measured: tuple[Measured, ...]
    settled: Settled
    home: Path
    """Where the class table is, or would be looked for: what findings about classes name."""

    @property
    def table(self) -> ClassTable:
        """The class table."""
        return self.settled.table

    @cached_property
    def pictures(self) -> list[tuple[Sample, Picture]]:
        """The images that could be read."""
        pairs = zip(self.samples, self.measured, strict=True)
        return [(sample, one.picture) for sample, one in pairs if one.picture is not None]

    @cached_property
    def labels(self) -> list[tuple[Sample, Labels]]:
        """The masks that could be read."""
        pairs = zip(self.samples, self.measured, strict=True)
        return [(sample, one.labels) for sample, one in pairs if one.labels is not None]

    @cached_property
    def class_pixels(self) -> list[NDArray[np.int64]]:
        """For each of `labels`, the labelled and valid pixels of each class."""
        return [self._per_class(labels) for _, labels in self.labels]

    @cached_property
    def share_with_255(self) -> float:
        """Share of masks that hold the raw value 255."""
        holders = sum(any(count.value == UNLABELLED for count in labels.counts) for _, labels in self.labels)
        return holders / max(1, len(self.labels))

    def split_pixels(self, splits: Sequence[str | None]) -> NDArray[np.int64]:
        """Labelled pixels of each class (masks x K) of these splits."""
        chosen = [
            pixels for (sample, _), pixels in zip(self.labels, self.class_pixels, strict=True) if sample.split in splits
        ]
        return np.array(chosen, np.int64).reshape(-1, len(self.table))

    def index(self, value: Value) -> int | None:
        """The class index or `UNLABELLED` that a raw value stands for; None if it is undeclared."""
        if value not in self._indices:
            self._indices[value] = index_of(self.table, value)
        return self._indices[value]

    def name(self, value: Value) -> str:
        """The name of a raw value's class."""
        index = self.index(value)
        return f"value {value}" if index is None else self.class_name(index)

    def class_name(self, index: int) -> str:
        """The name of a class index."""
        return "unlabelled" if index == UNLABELLED else self.table.classes[index].name

    def mask_path(self, sample: Sample) -> Path:
        """What to call a sample's mask."""
        assert sample.mask is not None, "the mask was read"
        return sample.mask.path

    @cached_property
    def _indices(self) -> dict[Value, int | None]:
        return {}

    def _per_class(self, labels: Labels) -> NDArray[np.int64]:
        pixels: defaultdict[int, int] = defaultdict(int)
        for count in labels.counts:
            index = self.index(count.value)
            if index is not None:
                pixels[index] += count.pixels - count.invalid
        return np.array([pixels[index] for index in range(len(self.table))], np.int64)


def index_of(table: ClassTable, value: Value) -> int | None:
    """The class index or `UNLABELLED` that a raw value stands for, or None."""
    if not table.declares(value):
        return None
    raw = np.array([[color_rgb(value)]], np.uint8) if isinstance(value, str) else np.array([[value]], np.int64)
    return int(table.encode(raw, "a value")[0, 0])
