"""What a scan knows: the record of one pair, in plain numbers that JSON can hold, and the whole set of them.

Rules read a `ScanResult` and nothing else. The records are kept in a cache between checks; `RECORD_FORMAT` changes by
itself with their fields, so that an old line is never taken for a new one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from maskwright.check.edges import Placement
from maskwright.datasets.classes import UNLABELLED, ClassTable, Value
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import GREY_AMONG, Sample
from maskwright.imaging.colors import color_rgb

__all__ = [
    "MEASURED_BY",
    "QUANTILES",
    "RECORD_FORMAT",
    "Measured",
    "ScanResult",
    "Settled",
    "mixed_images",
    "unreadable_files",
]

MEASURED_BY = 1
"""Raise it when a number is measured in another way, its field being the same: cached records are then read again."""

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""Where each channel's distribution is measured; the ends are exact, the others of a sample of the pixels."""

MOST_VALUES = 512
"""Raw values of a mask that are counted one by one, the most frequent ones; a mask with more is no mask."""


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A file of a pair that could not be read, in the words of the error."""

    file: str
    what: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel of an image, over its valid pixels, in native values."""

    mean: float
    quantiles: tuple[float, ...]
    """At `QUANTILES`."""
    nan: float = 0.0
    """Fraction of pixels that are not finite."""

    @property
    def constant(self) -> bool:
        """Whether all pixels are equal."""
        return self.quantiles[0] == self.quantiles[-1]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What an image measures."""

    shape: tuple[int, int]
    """Height and width as seen, after EXIF orientation."""
    orientation: int
    """EXIF orientation 1..8, already applied to `shape`."""
    dtype: str
    channels: tuple[Channel, ...]
    digest: str
    """A hash of the pixels: the same for the same picture in another file format."""
    small: str
    """Grey, 32 x 32 bytes in base64: enough to tell near-duplicates."""
    step: int = 1
    """Of 16-bit images, what all values are multiples of, if it is 16, 256 or 257."""
    valid: float = 1.0
    """Fraction of valid pixels."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often a mask holds one raw value."""

    value: Value
    pixels: int
    flat: int
    """Of these, pixels whose eight neighbours have the same value."""
    between: int
    """Of these, pixels whose neighbours are both smaller and larger: what smoothing leaves at an edge."""
    invalid: int = 0
    """Of these, pixels where the image has no data."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A region of one to nine pixels, inside a region of another value."""

    y: int
    x: int
    value: Value
    around: Value


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a mask measures, before any class table is known."""

    shape: tuple[int, int]
    digest: str
    colored: bool
    """Whether the raw values are colours."""
    jpeg: bool
    """Whether the file is a JPEG, whatever its suffix."""
    distinct: int
    """Number of raw values."""
    counts: tuple[Count, ...]
    """In order of frequency, `MOST_VALUES` at most."""
    edges: int
    """Pixels that touch another value (of eight neighbours)."""
    ramps: int
    """Of these, pixels strictly between two opposite neighbours: few in a drawn mask, most in a smoothed one."""
    spots: int
    """Regions of one to nine pixels, each inside one other region."""
    shown_spots: tuple[Spot, ...]
    """Some of them."""
    placement: Placement | None
    """None where the mask has no edges to judge by, or does not have the image's size."""
    numbered: bool | None = None
    """Whether its values number objects: see `values.are_numbers`."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known of a pair once its pixels were read."""

    unread: tuple[Unread, ...] = ()
    picture: Picture | None = None
    labels: Labels | None = None
    valid_shape: tuple[int, int] | None = None
    """Height and width of the separate valid mask."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read back what `to_json` gave; raises KeyError or TypeError for anything else."""
        picture, labels = content["picture"], content["labels"]
        return cls(
            unread=tuple(Unread(**item) for item in content["unread"]),
            picture=None if picture is None else _picture(picture),
            labels=None if labels is None else _labels(labels),
            valid_shape=_pair(content["valid_shape"]),
        )


def _picture(content: dict[str, Any]) -> Picture:
    channels = tuple(Channel(**item | {"quantiles": tuple(item["quantiles"])}) for item in content["channels"])
    return Picture(**content | {"channels": channels, "shape": tuple(content["shape"])})


def _labels(content: dict[str, Any]) -> Labels:
    placement = content["placement"]
    return Labels(
        **content
        | {
            "shape": tuple(content["shape"]),
            "counts": tuple(Count(**item) for item in content["counts"]),
            "shown_spots": tuple(Spot(**item) for item in content["shown_spots"]),
            "placement": None if placement is None else Placement(**placement | {"shift": tuple(placement["shift"])}),
        }
    )


def _pair(numbers: list[int] | None) -> tuple[int, int] | None:
    return None if numbers is None else (numbers[0], numbers[1])


RECORDS = (Measured, Unread, Picture, Channel, Labels, Count, Spot, Placement)
"""All that a line of the cache is made of."""


def _format(records: Sequence[type] = RECORDS, measured_by: int = MEASURED_BY) -> str:
    """A short hash of the names and types of all recorded fields, and of the way they are measured."""
    described = [f"{record.__name__}.{field.name}: {field.type}" for record in records for field in fields(record)]
    return blake2b("\n".join([str(measured_by), *described]).encode(errors="surrogatepass"), digest_size=8).hexdigest()


RECORD_FORMAT = _format()
"""Part of every cache key: tells records of this version from those of others."""

TRAINING = (None, "train")
"""Splits that are trained on."""


@dataclass(frozen=True)
class Settled:
    """The table that masks are judged by, where it comes from, and what is wrong with it."""

    table: ClassTable
    note: str
    problem: Problem | None = None
    certain: bool = True
    """Whether masks can be translated by it; else it only serves to count by."""


@dataclass(frozen=True, kw_only=True)
class ScanResult:
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
    def has_1_beside_255(self) -> bool:
        """Whether a mask holds 1 and 255, or none holds 1: then 255 does not say what 1 says elsewhere."""
        held = [{count.value for count in labels.counts} for _, labels in self.labels]
        return any({1, UNLABELLED} <= values for values in held) or not any(1 in values for values in held)

    def split_pixels(self, splits: Sequence[str | None]) -> NDArray[np.int64]:
        """Labelled pixels of each class (masks x K) of these splits."""
        chosen = [
            pixels for (sample, _), pixels in zip(self.labels, self.class_pixels, strict=True) if sample.split in splits
        ]
        return np.array(chosen, np.int64).reshape(len(chosen), len(self.table))

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


def unreadable_files(scanned: ScanResult) -> list[Problem]:
    """Files that are missing, no image, damaged or truncated."""
    return [
        Problem(
            level="error",
            kind="unreadable",
            files=(Path(unread.file),),
            what=unread.what,
            remedy=unread.remedy or "Export or copy the file again, or remove the pair.",
            sample=sample.id,
        )
        for sample, measured in zip(scanned.samples, scanned.measured, strict=True)
        for unread in measured.unread
    ]


def mixed_images(scanned: ScanResult) -> list[Problem]:
    """Images of several kinds: with other channels, or another type of numbers, than most.

    It is the rule of `augment.store.Store`, which training and planning read by: all images are of one kind, but that
    grey ones are repeated to three channels where others have three.
    """
    kinds: dict[tuple[int, str], list[Sample]] = {}
    colored = {picture.dtype for _, picture in scanned.pictures if len(picture.channels) == GREY_AMONG}
    for sample, picture in scanned.pictures:
        channels = len(picture.channels)
        repeated = channels == 1 and picture.dtype in colored
        kinds.setdefault((GREY_AMONG if repeated else channels, picture.dtype), []).append(sample)
    if len(kinds) <= 1:
        return []
    usual, *others = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    return [
        Problem(
            level="error",
            kind="mixed-channels",
            files=tuple(sample.image.path for sample in kinds[kind]),
            what=f"{len(kinds[kind])} of {len(scanned.pictures)} images have {kind[0]} channel(s) of {kind[1]} (first "
            f"{kinds[kind][0].image.path.name}), and {len(kinds[usual])} have {usual[0]} channel(s) of {usual[1]}.",
            remedy="A network takes images of one kind: convert them, or leave some out.",
            sample=kinds[kind][0].id,
        )
        for kind in others
    ]
