"""A conversion under way: what the writers of all formats share, and what is told of the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar

import numpy as np

from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.samples import Dataset, Sample
from maskwright.datasets.sources import THREADS
from maskwright.datasets.writing import file_names, is_whole_file, write_image, written_image
from maskwright.errors import DataError

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass
class Writing:
    """A conversion under way."""

    dataset: Dataset
    out: Path
    """The folder to write into; what is there already, an interrupted conversion has written."""
    progress: Progress
    failed: dict[str, str] | None = None
    """Takes samples that cannot be read, by id, with what is wrong; without it, the first is an error."""
    written_classes: ClassTable = field(init=False)
    """The class table with the raw values of what is written."""
    parts: dict[str | None, list[Sample]] = field(init=False)
    """Samples by split."""
    _told: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.written_classes = self.dataset.classes
        order = {"train": 0, "val": 1, "test": 2}
        splits = sorted({sample.split for sample in self.dataset.samples}, key=lambda name: order.get(name or "", 3))
        self.parts = {name: [s for s in self.dataset.samples if s.split == name] for name in splits}

    def each(self, work: Callable[[Sample], T]) -> Iterator[tuple[Sample, T]]:
        """Do something with every sample, several at once; gives results in order of samples, and shows progress.

        Samples that cannot be read are left out of `parts`, too.
        """
        samples = self.dataset.samples
        pool = ThreadPoolExecutor(THREADS)

        def tried(sample: Sample) -> tuple[T] | None:
            try:
                return (work(sample),)
            except DataError as error:
                if self.failed is None:
                    raise
                self.failed[sample.id] = str(error)
                return None

        try:
            for done, (sample, result) in enumerate(zip(samples, pool.map(tried, samples), strict=True), start=1):
                if result is None:
                    self.parts[sample.split].remove(sample)
                else:
                    yield sample, result[0]
                self.progress(done, len(samples))
        finally:
            pool.shutdown(cancel_futures=True)

    def lost(self, text: str, count: int = 1) -> None:
        """Say what the format cannot hold; "{}" in the text is how often it happened."""
        with self._lock:
            self._told["lost", text] += count

    def note(self, text: str, count: int = 1) -> None:
        """Say something about the result; "{}" in the text is how often it applies."""
        with self._lock:
            self._told["note", text] += count

    def told(self, kind: Literal["lost", "note"]) -> list[str]:
        """What was said."""
        return [text.format(f"{count:,}") for (own, text), count in self._told.items() if own == kind]

    def names(self, *, apart: bool = True, spaces: bool = True) -> dict[str, str]:
        """A file name without suffix for every sample's id.

        With `apart`, splits have folders of their own, so that names differ within each; else in all of the data.
        Without `spaces`, white space becomes "_".
        """

        def tell(sample: Sample) -> None:
            self.note("{} images have other names than in the data")

        return file_names(self.dataset.samples, apart=apart, spaces=spaces, renamed=tell)

    def read_mask(self, sample: Sample) -> np.ndarray:
        """The mask as class indices, 255 where unlabelled, or where the image has no data."""
        if sample.valid is not None:
            self.lost("valid/ of {} images: pixels without data are only unlabelled")
        return self.dataset.read(sample).mask

    def put_image(self, sample: Sample, folder: Path, name: str) -> Path:
        """Copy an image byte for byte; a page, a window or bands of several files become a file of their own."""
        self.tell_of_image(sample)
        before = written_image(sample.image, folder, name)
        if before is not None:
            return before
        return write_image(sample.image, folder, name)

    def tell_of_image(self, sample: Sample) -> None:
        """Say what other programs may see differently, or what is lost, in an image's file."""
        if not is_whole_file(sample.image):
            self.lost("{} pages or windows became image files: pixels are the same, other data (map, EXIF) is not kept")
        elif sample.image.header().orientation != 1:
            self.note("{} images are turned by their EXIF orientation; programs that ignore it see masks turned")

    def say_groups(self) -> None:
        """Say that groups are lost, if there are any."""
        grouped = sum(sample.group is not None for sample in self.dataset.samples)
        if grouped:
            self.lost("groups (patient, slide, video) of {} images", grouped)


def background_of(classes: ClassTable, is_background: Callable[[str], bool]) -> int | None:
    """The index of the class that pixels without an annotation belong to."""
    return next((index for index, name in enumerate(classes.names) if is_background(name)), None)


def present(mask: np.ndarray) -> Sequence[int]:
    """The indices in a mask, 255 for unlabelled included, in order."""
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=UNLABELLED + 1)).tolist()
