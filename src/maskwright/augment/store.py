"""Prepared samples, decoded once and kept in memory; what has no room there is read by windows.

Any number of threads may read at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from maskwright.config import Preparation
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.samples import Dataset, Sample, Window
from maskwright.errors import DataError, listed

LOCATIONS = 256
"""Pixels remembered for each class of each image, to centre views on."""

_LOCKS = 64
"""Reading is locked by sample, with this many locks for all: enough for more threads than there will be."""


class Prepared(NamedTuple):
    """A sample, or a window of it, as training sees it."""

    image: np.ndarray
    """H x W x C, native type, prepared."""
    mask: np.ndarray
    """H x W uint8 class indices, 255 where unlabelled or invalid."""


class Original(NamedTuple):
    """What an image was before preparation."""

    channels: int
    dtype: str
    low: float
    """0.5th percentile of its values, over all channels."""
    middle: float
    """Median."""
    high: float
    """99.5th percentile."""


class Store:
    """Prepared samples; they are kept up to `budget` bytes.

    What was read first stays: with every sample shown once an epoch, in the epoch's own order, no other choice would be
    read less often.

    Parameters
    ----------
    dataset
        Whose samples are asked for.
    preparation
        What is done to every image, and to its mask where sizes change.
    budget
        Bytes that may be kept.
    like
        A store whose images these must resemble in channels and type.
    """

    def __init__(self, dataset: Dataset, preparation: Preparation, budget: float, like: Store | None = None) -> None:
        self.dataset = dataset
        self.preparation = preparation
        self.budget = budget
        self.kept: dict[str, Prepared] = {}
        self.bytes = 0
        self.originals: dict[str, Original] = {}
        self._like = like
        self._first: tuple[str, int, np.dtype[Any]] | None = None
        self._shapes: dict[str, tuple[int, int]] = {}
        self._locations: dict[str, dict[int, np.ndarray]] = {}
        self._books = Lock()
        self._reading = [Lock() for _ in range(_LOCKS)]
        # Bands can be chosen in a window as in the whole; the rest of a preparation depends on all pixels.
        self._by_windows = replace(preparation, bands=None) == Preparation()

    def get(self, sample: Sample) -> Prepared:
        """Read and prepare a sample, or give the kept one."""
        with self._reading[hash(sample.id) % _LOCKS]:
            found = self.kept.get(sample.id)
            if found is None:
                found = self._read(sample)
                with self._books:
                    self._shapes[sample.id] = found.mask.shape[:2]
                    if self.bytes + found.image.nbytes + found.mask.nbytes <= self.budget:
                        self.bytes += found.image.nbytes + found.mask.nbytes
                        self.kept[sample.id] = found
            return found

    def part(self, sample: Sample, window: Window) -> Prepared:
        """Cut a window out of a prepared sample.

        Of an image that cannot be kept, nothing but the window is read, where its format allows that.
        """
        height, width = self.shape(sample)
        all_of_it = window.height * window.width == height * width
        if not all_of_it and self._by_windows and sample.id not in self.kept and not self._has_room(height * width):
            return self._read(
                replace(
                    sample,
                    image=sample.image.cut(window),
                    mask=None if sample.mask is None else sample.mask.cut(window),
                    valid=None if sample.valid is None else sample.valid.cut(window),
                )
            )
        image, mask = self.get(sample)
        return Prepared(image[window.slices], mask[window.slices])

    def shape(self, sample: Sample) -> tuple[int, int]:
        """Give the height and width of a sample after preparation, without reading its pixels."""
        if self.preparation.resize is not None:
            return self.preparation.resize
        with suppress(KeyError):
            return self._shapes[sample.id]
        self._shapes[sample.id] = sample.image.header().shape
        return self._shapes[sample.id]

    def locations(self, sample: Sample) -> dict[int, np.ndarray]:
        """Find, for each class present, up to `LOCATIONS` of its pixels as (x, y), spread evenly; N x 2 int32."""
        if sample.id not in self._locations:
            mask = self.get(sample).mask
            found: dict[int, np.ndarray] = {}
            for index in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:UNLABELLED]).tolist():
                flat = np.flatnonzero(mask == index)
                flat = flat[np.linspace(0, len(flat) - 1, min(LOCATIONS, len(flat))).astype(np.int64)]
                y, x = np.divmod(flat, mask.shape[1])
                found[index] = np.column_stack([x, y]).astype(np.int32)
            self._locations[sample.id] = found
        return self._locations[sample.id]

    def expected_images(self) -> dict[str, Any]:
        """What prediction compares an image with, before preparation: channels, type, and the range seen so far."""
        seen = list(self.originals.values())
        return {
            "channels": seen[0].channels,
            "dtype": seen[0].dtype,
            "low": min(one.low for one in seen),
            "middle": float(np.median([one.middle for one in seen])),
            "high": max(one.high for one in seen),
        }

    def _read(self, sample: Sample) -> Prepared:
        pair = self.dataset.read(sample)
        self._note(sample, pair.image)
        self._check(sample, pair.image)
        if self.preparation == Preparation():  # as in most sets
            return Prepared(np.ascontiguousarray(pair.image), pair.mask)
        from maskwright.augment.preprocessing import prepare, prepare_mask

        return Prepared(prepare(pair.image, self.preparation), prepare_mask(pair.mask, self.preparation))

    def _has_room(self, pixels: int) -> bool:
        """Whether a sample of so many pixels could still be kept; yes as long as no sample has told its type."""
        if self._kind is None:
            return True
        _, channels, dtype = self._kind
        bands = channels if self.preparation.bands is None else len(self.preparation.bands)
        return self.bytes + pixels * (bands * dtype.itemsize + 1) <= self.budget

    @property
    def _kind(self) -> tuple[str, int, np.dtype[Any]] | None:
        """Name, channels and type of the image that all must resemble, once one was read."""
        return self._first if self._like is None else self._like._kind or self._first

    def _check(self, sample: Sample, image: np.ndarray) -> None:
        with self._books:
            if self._kind is None:
                self._first = (sample.id, image.shape[2], image.dtype)
            assert self._kind is not None, "an image was read"
            name, channels, dtype = self._kind
        if image.shape[2] != channels or image.dtype != dtype:
            raise DataError(
                f"Image {sample.id!r} ({sample.image.path}) has {image.shape[2]} channel(s) of {image.dtype}, but "
                f"{name!r} has {channels} of {dtype}.",
                expected="Expected all images to have the same channels and type.",
                remedy="Convert them, or leave some out.",
                file=sample.image.path,
            )

    def _note(self, sample: Sample, image: np.ndarray) -> None:
        if sample.id not in self.originals:
            seen = image[:: max(1, image.shape[0] // 128), :: max(1, image.shape[1] // 128)]
            low, middle, high = np.percentile(seen, (0.5, 50, 99.5)).tolist()
            self.originals[sample.id] = Original(image.shape[2], str(image.dtype), low, middle, high)


def decode_all(
    store: Store, samples: Sequence[Sample], *, seconds: float, threads: int, say: Callable[[str], None]
) -> tuple[dict[str, str], list[Sample]]:
    """Decode every sample once, within so many seconds.

    Returns
    -------
    tuple[dict[str, str], list[Sample]]
        What is wrong with those that fail, by id; and those that the time did not suffice for, which the loader decodes
        in its idle time.
    """
    start = time.monotonic()
    failed: dict[str, str] = {}
    left: list[Sample] = []

    def decode(sample: Sample) -> None:
        if time.monotonic() - start > seconds:
            left.append(sample)
            return
        try:
            store.get(sample)
        except DataError as error:
            failed[sample.id] = str(error)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, samples))
    took = time.monotonic() - start
    if took > 1:
        rest = "; the others are decoded meanwhile" if left else ""
        say(f"Decoded {len(samples) - len(left)} of {len(samples)} samples once, in {took:.1f} s{rest}")
    return {sample.id: failed[sample.id] for sample in samples if sample.id in failed}, left


def refuse_bad(failed: dict[str, str], most: int) -> None:
    """Raise DataError, naming samples that cannot be read, if there are more than `most`."""
    if len(failed) > most:
        raise DataError(
            f"{len(failed)} samples cannot be read: {listed(list(failed))}.\n  "
            + "\n  ".join(list(failed.values())[:5]),
            expected="Expected samples that can be decoded, alike in channels and type.",
            remedy=f"Repair or remove them, or train without them: --max-bad {len(failed)}.",
        )
