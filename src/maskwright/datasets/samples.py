"""Samples (an image, its mask, where it is valid) and data sets (samples with one class table), read on demand."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable
from maskwright.datasets.sources import THREADS, Source, Window
from maskwright.errors import DataError, SizeMismatchError, UndeclaredValueError, UnreadableFileError, listed
from maskwright.imaging.decoders import Header

__all__ = ["Dataset", "Pair", "Sample", "Source", "Window", "check_files", "is_reduced", "proportional"]

GREY_AMONG = 3
"""Grey images among those with so many channels are repeated to as many."""
_SHOWN = 5
_EDGE = 4096
"""Bytes of each end of a file that go into a fingerprint."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image and what is known of it."""

    id: str
    """Unique in its data set: the file's stem, after `train/`, `val/` or `test/` if the data set has such folders."""
    image: Source
    mask: Source | None = None
    valid: Source | None = None
    group: str | None = None
    """What it belongs to (video, slide, patient): never divided between training and validation."""
    split: str | None = None
    """"train", "val" or "test", if the data set says."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A sample, read."""

    image: np.ndarray
    """H x W x C: uint8, uint16 or float32, native values."""
    mask: np.ndarray
    """H x W uint8: class indices, 255 where unlabelled or invalid."""
    valid: np.ndarray | None
    """H x W bool, False where the image has no data; None where all of it is valid."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples with one class table, and notes on what was found and assumed, to be shown to the user."""

    root: Path
    samples: tuple[Sample, ...]
    classes: ClassTable
    notes: tuple[str, ...] = ()
    channels: int | None = None
    """Channels that grey images are repeated to, where they lie among RGB ones; None where all are of one kind."""

    def read(self, sample: Sample) -> Pair:
        """Read a sample; without a mask, all of it is unlabelled.

        Raises
        ------
        UnreadableFileError, SizeMismatchError, UndeclaredValueError
            As the names say, with the file.
        """
        image = sample.image.read_image()
        if self.channels is not None and image.pixels.shape[2] == 1:
            image = replace(image, pixels=np.repeat(image.pixels, self.channels, axis=2))
        shape, valid = image.pixels.shape[:2], image.valid
        if sample.valid is not None:
            marked = sample.valid.read_mask() != 0
            marked = marked.any(axis=2) if marked.ndim == 3 else marked
            _same_size(sample, shape, sample.valid.path, marked.shape, "valid mask")
            valid = marked if valid is None else valid & marked
            valid = None if valid.all() else valid
        if sample.mask is None:
            return Pair(image=image.pixels, mask=np.full(shape, UNLABELLED, np.uint8), valid=valid)
        raw = sample.mask.read_mask()
        _same_size(sample, shape, sample.mask.path, raw.shape[:2], "mask")
        mask = self.classes.encode(raw, str(sample.mask.path))
        if valid is not None:
            mask[~valid] = UNLABELLED
        return Pair(image=image.pixels, mask=mask, valid=valid)

    @property
    def splits(self) -> set[str]:
        """Names of the splits that samples are in; empty if the data set has none."""
        return {sample.split for sample in self.samples if sample.split is not None}

    def split(self, name: str) -> Dataset:
        """The samples of one split; raises DataError if there is no such split."""
        if name not in self.splits:
            found = ", ".join(sorted(self.splits)) or "none"
            raise DataError(
                f"{self.root} has no split {name!r}. Found: {found}.", expected=f"Expected a folder {self.root / name}."
            )
        return self.with_samples(tuple(sample for sample in self.samples if sample.split == name))

    def with_samples(self, samples: tuple[Sample, ...]) -> Dataset:
        """The same data set with these samples only."""
        return replace(self, samples=samples)

    def check_values(self) -> None:
        """Read all masks; raise UndeclaredValueError for the values in them that the class table does not declare."""
        from maskwright.datasets.values import mask_values

        found = mask_values([sample.mask for sample in self.samples if sample.mask is not None])
        strange = {value: item for value, item in found.items() if not self.classes.declares(value)}
        if strange:
            by_count = sorted(strange.items(), key=lambda item: -item[1].pixels)
            strange_values = [f"{value} ({item.pixels} pixels, first in {item.file})" for value, item in by_count]
            raise UndeclaredValueError(
                f"Masks in {self.root} hold values that no class stands for: {listed(strange_values)}.\n"
                f"Expected: {self.classes.describe()}.\nCorrect these masks, or declare the values in {CLASSES_FILE}."
            )

    def content_hash(self) -> dict[str, Any]:
        """What identifies the data, wherever it lies: number of samples, bytes, and a hash.

        The hash covers ids, names and raw values of classes, and of every file its size and its first and last 4 KiB;
        not places, times or colours. JSON can hold it.
        """
        sources = [part for s in self.samples for part in (s.image, s.mask, s.valid) if part is not None]
        files = list(dict.fromkeys(file for part in sources for file in part.files))
        with ThreadPoolExecutor(THREADS) as pool:
            digests = dict(zip(files, pool.map(_digest, files), strict=True))
        total = blake2b(digest_size=16)
        for item in self.classes.classes:
            total.update(f"{item.name}\0{item.values}\0".encode(errors="surrogatepass"))
        total.update(f"{self.classes.unlabelled}\0".encode())
        for sample in sorted(self.samples, key=lambda sample: sample.id):
            total.update(f"{sample.id}\0".encode(errors="surrogatepass"))
            for part in (sample.image, sample.mask, sample.valid):
                total.update(b"-" if part is None else part.identity().encode(errors="surrogatepass"))
                for file in () if part is None else part.files:
                    total.update(digests[file][1])
        size = sum(digests[file][0] for file in files)
        return {"samples": len(self.samples), "bytes": size, "hash": total.hexdigest()}

    def sample_hashes(self) -> dict[str, str]:
        """For each sample, by id, a hash of its files: of each the size and the first and last 4 KiB."""

        def hashed(sample: Sample) -> str:
            total = blake2b(digest_size=12)
            for part in (sample.image, sample.mask, sample.valid):
                for file in () if part is None else part.files:
                    total.update(_digest(file)[1])
            return total.hexdigest()

        with ThreadPoolExecutor(THREADS) as pool:
            return dict(zip((sample.id for sample in self.samples), pool.map(hashed, self.samples), strict=True))


def classes_present(dataset: Dataset) -> dict[str, frozenset[int]]:
    """Read all masks; the class indices that each holds, by the sample's id (none where nothing is labelled)."""

    def present(sample: Sample) -> frozenset[int]:
        if sample.mask is None:
            return frozenset()
        mask = dataset.classes.encode(sample.mask.read_mask(), str(sample.mask.path))
        return frozenset(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:UNLABELLED]).tolist())

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip((s.id for s in dataset.samples), pool.map(present, dataset.samples), strict=True))


def proportional(image: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (height, width) differ by one factor, of at most 16, within a pixel of rounding."""
    (h, w), (mh, mw) = image, other
    if not h:
        return False  # a damaged header
    factor = mh / h
    return image != other and 1 / 16 <= factor <= 16 and abs(w * factor - mw) <= max(1.0, factor)


def is_reduced(image: tuple[int, int], mask: tuple[int, int]) -> bool:
    """Whether a mask is smaller than its image by one factor: `check --fix` enlarges it."""
    return proportional(image, mask) and mask[0] < image[0] and mask[1] < image[1]


def check_files(
    samples: Sequence[Sample], root: Path | None = None, failed: dict[str, str] | None = None
) -> tuple[tuple[str, ...], int | None]:
    """Read every file's header, without pixels; give notes on what was found, and `Dataset.channels`.

    Parameters
    ----------
    samples
        Of which every file's header is read.
    root
        The data set, as the user names it, for the command that corrects what can be corrected.
    failed
        Takes samples whose files cannot be read or do not fit, by id, with what is wrong, instead of an error.

    Raises
    ------
    UnreadableFileError
        A file is missing or no image.
    SizeMismatchError
        An image and its mask or valid mask differ in size; up to five are named.
    """
    parts = dict.fromkeys(part for s in samples for part in (s.image, s.mask, s.valid) if part is not None)
    with ThreadPoolExecutor(THREADS) as pool:
        headers = list(pool.map(_header, parts))
    unreadable = [header for header in headers if isinstance(header, UnreadableFileError)]
    if unreadable and failed is None:
        more = f"\n{len(unreadable) - _SHOWN} more files cannot be read." if len(unreadable) > _SHOWN else ""
        raise UnreadableFileError("\n".join(map(str, unreadable[:_SHOWN])) + more)
    if unreadable and failed is not None:
        wrong = {part: header for part, header in zip(parts, headers, strict=True) if not isinstance(header, Header)}
        for sample in samples:
            for part in (sample.image, sample.mask, sample.valid):
                if part in wrong:
                    failed.setdefault(sample.id, str(wrong[part]))
        samples = [sample for sample in samples if sample.id not in failed]
    known = {part: header for part, header in zip(parts, headers, strict=True) if isinstance(header, Header)}
    errors, reduced = [], root is not None
    for sample in samples:
        for part, what in ((sample.mask, "mask"), (sample.valid, "valid mask")):
            if part is not None and known[part].shape != known[sample.image].shape:
                errors.append(_mismatch(sample, known[sample.image], part.path, known[part].shape, what))
                reduced &= what == "mask" and is_reduced(known[sample.image].shape, known[part].shape)
                if failed is not None:
                    failed.setdefault(sample.id, errors[-1])
    if errors and failed is None:
        more = f"\n{len(errors) - _SHOWN} more differ in size." if len(errors) > _SHOWN else ""
        from maskwright.datasets.problems import fix_command

        way_out = f"Or take a copy in which they are enlarged:\n  {fix_command(root)}" if reduced and root else ""
        raise SizeMismatchError("\n".join(errors[:_SHOWN]) + more, remedy=way_out)
    changed = {known[s.image].remark: s.image.path.name for s in reversed(samples) if known[s.image].remark}
    notes = [f"images are {remark}, first {name}" for remark, name in changed.items()]
    grey = [sample.image.path.name for sample in samples if known[sample.image].channels == 1]
    channels = GREY_AMONG if grey and any(known[sample.image].channels == GREY_AMONG for sample in samples) else None
    if channels is not None:
        notes.append(f"{len(grey)} of {len(samples)} images are grey (first {grey[0]}): repeated to three channels")
    opaque = [sample.image.path.name for sample in samples if known[sample.image].alpha]
    if opaque:
        notes.append(
            f"{len(opaque)} of {len(samples)} images have an alpha channel (first {opaque[0]}): where it is 0 there is "
            "no data; it is not a channel of the image. A TIFF whose last band is no alpha has to say so "
            "(ExtraSamples 0)"
        )
    return tuple(notes), channels


def _header(part: Source) -> Header | UnreadableFileError:
    try:
        return part.header()
    except UnreadableFileError as error:
        return error


def _same_size(sample: Sample, shape: tuple[int, ...], path: Path, found: tuple[int, ...], what: str) -> None:
    if found != shape:
        raise SizeMismatchError(_mismatch(sample, sample.image.header(), path, found, what), file=path)


def _mismatch(sample: Sample, image: Header, path: Path, found: tuple[int, ...], what: str) -> str:
    height, width = image.shape
    text = (
        f"{sample.image.path} is {width} x {height} pixels (width x height), and its {what} {path} is "
        f"{found[1]} x {found[0]}. Expected the same size. "
    )
    if image.orientation >= 5 and found == (width, height):
        return text + (
            "The camera stored this image on its side, and its EXIF orientation turns it upright; the mask was drawn "
            "on the image as stored. Turn the mask, or remove the orientation from the image."
        )
    return text + f"Export the {what} again at the image's size."


def _digest(path: Path) -> tuple[int, bytes]:
    """Size, and a hash of size and of both ends."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = blake2b(f"{size}\0".encode() + file.read(_EDGE), digest_size=16)
            if size > _EDGE:
                file.seek(max(_EDGE, size - _EDGE))
                digest.update(file.read())
    except OSError as error:
        raise UnreadableFileError(
            f"{path} cannot be read: {error.strerror}.",
            expected="Expected the file that was there when the data was opened.",
            file=path,
        ) from None
    return size, digest.digest()
