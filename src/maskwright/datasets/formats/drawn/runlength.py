"""Masks as run lengths in a CSV file, as Kaggle's competitions publish them.

    DATA/train.csv                      any name; or the file itself in place of DATA
    DATA/train/ID.png  or DATA/images/, DATA/train_images/, ...: images are found by name below the CSV's folder

    ImageId,EncodedPixels               one row for each object, or each class, of an image; a third column
    a.jpg,1 3 10 5                      (ClassId, Label, ...) tells the class, or the image's name does (a.jpg_3)
    b.jpg,                              nothing in this image

"1 3 10 5" are pairs of a start and a length: pixels 1, 2, 3 and 10 to 14, counted from 1, from top to bottom and then
from left to right. Where a start is 0, all starts of the file are counted from 0. Pixels in no run are background (0).
Without classes, pixels of runs are foreground (1); classes that are numbers keep them as raw values, names are
numbered from 1 in alphabetic order. Where classes overlap, the row further down wins. Images without a row are left
out, with a note: an image of nothing needs a row without runs.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import ClassTable, LabelClass, check_count
from maskwright.datasets.formats.drawn.left_out import NO_PIXEL, LeftOut
from maskwright.datasets.formats.layout import Layout, counted, folders_in, found, table_in
from maskwright.datasets.formats.pairing import is_image, stem_of
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, natural
from maskwright.datasets.texts import first_line, read_rows
from maskwright.errors import DataError, EmptyDataError, PairingError, UnreadableFileError, listed
from maskwright.imaging import images
from maskwright.imaging.colors import default_color
from maskwright.imaging.decoders import Header
from maskwright.imaging.memory import named, require_room

_IMAGE = ("imageid", "image_id", "image", "img", "id", "filename", "imageid_classid", "image_label")
_RUNS = ("encodedpixels", "rle_mask", "rle", "encoding")
_CLASS = ("classid", "class_id", "class", "label", "category")
_JOINED = ("imageid_classid", "image_label")


@dataclass(frozen=True, kw_only=True)
class Runs(Source):
    """A mask in run lengths: `path` is the CSV file, `image` gives the size."""

    image: Path
    relative: bool = False
    """Whether a start counts from the end of the run before, and from 0 (SIIM-ACR pneumothorax)."""
    first: int = 1
    """What the first pixel is called: 1, or 0."""
    runs: tuple[tuple[int, str], ...]
    """Raw values and their run lengths, in the order in which they are painted."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The CSV file and the image."""
        return self.path, self.image

    def header(self) -> Header:
        """As `Source.header`, of the image as it is seen."""
        return images.header_of(self.image, None, self.window)

    def read_image(self) -> images.Image:
        """Run lengths are no image."""
        raise AssertionError("run lengths are read as a mask")

    def read_mask(self) -> np.ndarray:
        """The mask (int32); raises UnreadableFileError where runs leave the image."""
        height, width = images.header_of(self.image).shape
        with named(self.path):
            require_room(height * width, 12)
        flat = np.zeros(height * width, np.int32)
        for value, text in self.runs:
            starts, lengths = numbers_of(text)
            starts = _absolute(starts, lengths) if self.relative else starts - self.first
            if len(starts) and (starts.min() < 0 or (starts + lengths).max() > flat.size):
                raise self._broken(
                    f"has runs outside the {width} x {height} = {flat.size} pixels",
                    f"starts from {self.first} on, down the columns",
                )
            changes = np.zeros(flat.size + 1, np.int32)
            np.add.at(changes, starts, 1)
            np.add.at(changes, starts + lengths, -1)
            covered = np.cumsum(changes[:-1], dtype=np.int32)
            flat[covered > 0] = value
        mask = flat.reshape(width, height).T
        return np.ascontiguousarray(mask) if self.window is None else images.crop(mask, self.path, self.window)

    def _broken(self, what: str, expected: str) -> UnreadableFileError:
        return UnreadableFileError(
            f"{self.path}: the mask of {self.image.name} {what}.",
            expected=f"Expected {expected}.",
            remedy="Correct the row, or remove it.",
            file=self.path,
        )


def numbers_of(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths as they are written; raises ValueError if they are no pairs of whole numbers."""
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"the run lengths {text[:40]!r} are not whole numbers with blanks between") from None
    if len(numbers) % 2:
        raise ValueError(f"{len(numbers)} numbers are no pairs of a start and a length")
    if len(numbers) and numbers.min() < 0:
        raise ValueError(f"the number {numbers.min()} is below 0")
    return numbers[0::2], numbers[1::2]


def _absolute(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Starts counted from 0 of starts that count from the end of the run before."""
    return np.asarray(np.cumsum(starts) + np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64))


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read run lengths; see `layout.Reader`.

    Raises
    ------
    DataError
        Several files may be the one to read, or a name may be that of several images.
    PairingError
        An image of the file does not exist (noted in `problems`, if it is a list).
    """
    if root.is_file():
        files = [root] if root.suffix.lower() == ".csv" else []
    else:
        files = sorted(root.glob("*.csv")) if root.is_dir() else []
    files = [path for path in files if _columns(path) is not None]
    files = [path for path in files if "sample_submission" not in path.name.lower()] or files[:1]
    if not files:
        return None
    if len(files) > 1:
        both = " and ".join(path.name for path in files)
        raise DataError(
            f"{root} has {both}, and each holds run lengths of masks.",
            expected="Expected one.",
            remedy="Give the file itself.",
            file=root,
        )
    path = files[0]
    rows = _rows(path)
    values, classes = _values(path, rows)
    left = LeftOut()
    by_name, by_stem = _images_below(path.parent)
    samples: list[Sample] = []
    runs: defaultdict[Path, list[tuple[int, str]]] = defaultdict(list)
    for line, name, kind, text in rows:
        candidates = by_name.get(name) or by_stem.get(name, [])
        if len(candidates) > 1:
            both = " and ".join(map(str, candidates))
            raise DataError(
                f"{path} names {name}, which may be {both}.",
                expected="Expected one image.",
                remedy="Move the others elsewhere.",
                file=path,
            )
        if not candidates:
            problem = Problem(
                level="error",
                kind="unpaired",
                files=(path,),
                what=f"{path} has a mask for {name}, and there is no image of that name below {path.parent}.",
                remedy="Add the image, or remove its rows.",
            )
            report(problems, problem, PairingError)
            continue
        within = runs[candidates[0]]
        if text and masks:
            try:
                _, lengths = numbers_of(text)
            except ValueError as error:
                left.lose("its run lengths are broken", f"{path}, line {line} ({error})")
                continue
            if not lengths.any():
                left.lose(NO_PIXEL, f"{path}, line {line}")
                continue
            left.drawn += 1
            within.append((values[kind], text))
    relative, remark = _are_relative(path, runs)
    first = 0 if not relative and _any_starts_at_zero(runs) else 1
    for image, parts in runs.items():
        mask = Runs(path=path, image=image, runs=tuple(parts), relative=relative, first=first) if masks else None
        samples.append(Sample(id=stem_of(image), image=Source(path=image), mask=mask))
    if not samples and not problems:
        raise EmptyDataError(
            f"{path} names no image that is below {path.parent}.", expected="Expected the images beside it.", file=path
        )
    samples.sort(key=lambda sample: natural(sample.id))
    alone = [path.name for paths in by_stem.values() for path in paths if path not in runs]
    notes = [f"{counted(len(alone), 'image')} without a row in {path.name} left out: {listed(alone)}"] if alone else []
    notes += [f"{path.name}: {remark}"] if remark else []
    notes += [f"{path.name}: a start is 0: all are counted from 0"] if not first else []
    notes += left.notes(root, problems) if masks else []
    return Layout(
        format="run lengths",
        samples=tuple(samples),
        masks_folder=path.parent,
        home=path.parent,
        table=table_in(path),
        classes=classes,
        notes=(found(root, f"run lengths in {path.name}", samples, masks=masks), *notes),
    )


def _columns(path: Path) -> tuple[int, int, int | None, bool] | None:
    """Places of the image, the runs and the class (if there is one), and whether the class follows the image's name."""
    try:
        names = [name.strip().lower() for name in next(csv.reader([first_line(path)]), [])]
    except (OSError, csv.Error):
        return None
    image = next((names.index(name) for name in _IMAGE if name in names), None)
    runs = next((names.index(name) for name in _RUNS if name in names), None)
    if image is None or runs is None:
        return None
    return image, runs, next((names.index(name) for name in _CLASS if name in names), None), names[image] in _JOINED


def _rows(path: Path) -> list[tuple[int, str, str, str]]:
    """Line, name of the image, class ("" without one) and run lengths ("" for nothing) of each row."""
    columns = _columns(path)
    assert columns is not None, "only files with these columns are read"
    image, runs, kind, joined = columns
    found_rows = []
    for number, row in read_rows(path):
        if len(row) <= max(image, kind or 0):
            raise DataError(
                f"{path}, line {number}, has {len(row)} of {max(image, runs, kind or 0) + 1} columns: {row}.",
                expected="Expected the name of an image, and its run lengths.",
                remedy="Complete the row, or remove it.",
                file=path,
            )
        name, label = row[image].strip(), "" if kind is None else row[kind].strip()
        if joined:
            name, _, label = name.rpartition("_")
        text = row[runs].strip() if len(row) > runs else ""
        found_rows.append((number, name, label, "" if text in ("-1", "nan") else text))
    return found_rows


def _values(path: Path, rows: Sequence[tuple[int, str, str, str]]) -> tuple[Mapping[str, int], ClassTable]:
    """The raw value of each class as the file writes it, and the class table."""
    kinds = sorted({kind for _, _, kind, _ in rows if kind}, key=natural)
    if not kinds:
        return {"": 1}, _table({"background": 0, "foreground": 1})
    check_count(len(kinds))
    if all(kind.isdecimal() for kind in kinds):
        if max(map(len, kinds)) > 9:
            raise DataError(
                f"{path} has the class {max(kinds, key=len)[:60]}.",
                expected="Expected small numbers, or names.",
                remedy="Number them anew.",
                file=path,
            )
        shift = int("0" in {str(int(kind)) for kind in kinds})  # 0 is the background's
        values = {kind: int(kind) + shift for kind in kinds}
        names = {f"class {kind}": value for kind, value in values.items()}
    else:
        values = {kind: place for place, kind in enumerate(kinds, 1)}
        names = {kind: value for kind, value in values.items() if kind.lower() != "background"}
    return values | {"": next(iter(values.values()))}, _table({"background": 0} | names)


def _table(names: Mapping[str, int]) -> ClassTable:
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=default_color(index, name), values=(value,))
            for index, (name, value) in enumerate(names.items())
        )
    )


Rows = Mapping[Path, Sequence[tuple[int, str]]]
"""Of each image the raw values and run lengths of its rows."""


def _any_starts_at_zero(runs: Rows) -> bool:
    return any((numbers_of(text)[0] == 0).any() for parts in runs.values() for _, text in parts)


def _are_relative(path: Path, runs: Rows) -> tuple[bool, str]:
    """Whether starts count from the end of the run before, and what to say of it.

    Where runs do not ascend, each after the end of the one before, either they do, or the runs were written in any
    order: what fits into the images without overlap is meant. Raises DataError where both do, or neither.
    """
    falling: dict[Path, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    rising = 0
    for image, parts in runs.items():
        for starts, lengths in (numbers_of(text) for _, text in parts):
            if (starts[1:] < starts[:-1] + lengths[:-1]).any():
                falling[image].append((starts, lengths))
            else:
                rising += len(starts) > 1
    if not falling:
        return False, ""
    odd = sum(map(len, falling.values()))
    pixels = {image: math.prod(images.header_of(image).shape) for image in falling}
    pairs = [(pixels[image], *pair) for image, pairs in falling.items() for pair in pairs]
    relative = odd >= rising and all(starts.sum() + lengths.sum() <= size for size, starts, lengths in pairs)
    unordered = all(_fit(size, starts, lengths) for size, starts, lengths in pairs)
    if relative and not unordered:
        return True, "starts do not ascend: each is read as relative to the end of the run before"
    if unordered and not relative:
        return False, "starts do not ascend; the runs do not overlap, so their order does not matter"
    raise DataError(
        f"{path}: the starts of {next(iter(falling)).name} do not ascend, or its runs overlap, as {odd} of "
        f"{odd + rising} masks have it.",
        expected="Expected starts that ascend, each after the end of the run before.",
        remedy="Correct these rows, or remove them.",
        file=path,
    )


def _fit(size: int, starts: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether runs, in any order, lie within so many pixels and do not overlap."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], (starts + lengths)[order]
    return bool((starts[1:] >= ends[:-1]).all() and ends[-1] <= size + 1)


def _images_below(home: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Images in a folder and the folders in it, by name and by stem; what holds test data or masks is passed over."""
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    inside = [home / name for name in folders_in(home) if not _other(name.lower())]
    inside += [inner / name for inner in inside for name in folders_in(inner) if not _other(name.lower())]
    for folder in [home, *inside]:
        for path in sorted(folder.iterdir()):
            if is_image(path):
                by_name[path.name].append(path)
                by_stem[stem_of(path)].append(path)
    return by_name, by_stem


def _other(name: str) -> bool:
    return name.startswith("test") or "mask" in name
