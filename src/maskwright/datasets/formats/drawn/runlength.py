"""Masks as run lengths in a CSV file, as Kaggle's competitions publish them.

    DATA/train.csv                      any name; or the file itself in place of DATA
    DATA/train/ID.png  or DATA/images/, DATA/train_images/, ...: images are found by name below the CSV's folder

    ImageId,EncodedPixels               one row for each object, or each class, of an image; a third column
    a.jpg,1 3 10 5                      (ClassId, Label, ...) tells the class, or the image's name does (a.jpg_3)
    b.jpg,                              nothing in this image

"1 3 10 5" are pairs of a start and a length: pixels 1, 2, 3 and 10 to 14, counted from 1, from top to bottom and then
from left to right. Pixels in no run are background (0). Without classes, pixels of runs are foreground (1); classes
that are numbers keep them as raw values, names are numbered from 1 in alphabetic order. Where classes overlap, the row
further down wins. Images without a row are left out, with a note: an image of nothing needs a row without runs.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import ClassTable, LabelClass, check_count
from maskwright.datasets.formats.layout import Layout, counted, folders_in, found, table_in
from maskwright.datasets.formats.pairing import is_image, stem_of
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, natural
from maskwright.datasets.texts import first_line, read_text
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
        """The mask (int32); raises UnreadableFileError where runs are no pairs, overlap or leave the image."""
        height, width = images.header_of(self.image).shape
        with named(self.path):
            require_room(height * width, 12)
        flat = np.zeros(height * width, np.int32)
        for value, text in self.runs:
            try:
                numbers = np.array(text.split(), np.int64)
            except (ValueError, OverflowError):
                raise self._broken(f"has the run lengths {text[:40]!r}", "whole numbers with blanks between") from None
            if len(numbers) % 2:
                raise self._broken(f"has {len(numbers)} numbers", "pairs of a start and a length")
            starts, lengths = numbers[0::2], numbers[1::2]
            if self.relative:
                starts = np.cumsum(starts) + np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64) + 1
            starts = starts - 1
            if len(starts) and (starts.min() < 0 or lengths.min() < 1 or (starts + lengths).max() > flat.size):
                raise self._broken(
                    f"has runs outside the {width} x {height} = {flat.size} pixels",
                    "starts from 1 on, down the columns",
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
    by_name, by_stem = _images_below(path.parent)
    samples: list[Sample] = []
    runs: defaultdict[Path, list[tuple[int, str]]] = defaultdict(list)
    for name, kind, text in rows:
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
        runs[candidates[0]] += [(values[kind], text)] if text else []
    relative = _are_relative(path, rows)
    for image, parts in runs.items():
        mask = Runs(path=path, image=image, runs=tuple(parts), relative=relative) if masks else None
        samples.append(Sample(id=stem_of(image), image=Source(path=image), mask=mask))
    if not samples and not problems:
        raise EmptyDataError(
            f"{path} names no image that is below {path.parent}.", expected="Expected the images beside it.", file=path
        )
    samples.sort(key=lambda sample: natural(sample.id))
    left = [path.name for paths in by_stem.values() for path in paths if path not in runs]
    notes = [f"{counted(len(left), 'image')} without a row in {path.name} left out: {listed(left)}"] if left else []
    if relative:
        notes.append(f"{path.name}: starts do not ascend: each is read as relative to the end of the run before")
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


def _rows(path: Path) -> list[tuple[str, str, str]]:
    """Name of the image, class ("" without one) and run lengths ("" for nothing) of each row."""
    columns = _columns(path)
    assert columns is not None, "only files with these columns are read"
    image, runs, kind, joined = columns
    before = csv.field_size_limit(sys.maxsize)
    try:
        with io.StringIO(read_text(path), newline="") as file:
            rows = list(csv.reader(file))[1:]
    except (OSError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {error}.",
            expected="Expected a CSV file.",
            remedy="Save it anew.",
            file=path,
        ) from None
    finally:
        csv.field_size_limit(before)
    found_rows = []
    for number, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
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
        found_rows.append((name, label, "" if text in ("-1", "nan") else text))
    return found_rows


def _values(path: Path, rows: Sequence[tuple[str, str, str]]) -> tuple[Mapping[str, int], ClassTable]:
    """The raw value of each class as the file writes it, and the class table."""
    kinds = sorted({kind for _, kind, _ in rows if kind}, key=natural)
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
        values = {kind: int(kind) for kind in kinds}
        if 0 in values.values():
            raise DataError(
                f"{path} has a class 0, which would be the background's. Expected classes from 1 on. Number them anew."
            )
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


def _are_relative(path: Path, rows: Sequence[tuple[str, str, str]]) -> bool:
    """Whether starts count from the end of the run before: they do not ascend, in most rows of several runs.

    Raises DataError where some rows ascend as absolute starts must, and others do not.
    """
    falling: list[str] = []
    rising = 0
    for name, _, text in rows:
        try:
            numbers = np.array(text.split(), np.int64)
        except (ValueError, OverflowError):
            continue  # reading the mask says what is wrong with it
        starts, lengths = numbers[0::2], numbers[1::2]
        if len(starts) < 2 or len(starts) != len(lengths):
            continue
        if (starts[1:] < starts[:-1] + lengths[:-1]).any():
            falling.append(name)
        else:
            rising += 1
    if falling and rising > len(falling):
        raise DataError(
            f"{path}: the starts of {falling[0]} do not ascend, or its runs overlap, as {len(falling)} of "
            f"{len(falling) + rising} masks have it.",
            expected="Expected starts that ascend, each after the end of the run before.",
            remedy="Correct these rows, or remove them.",
            file=path,
        )
    return bool(falling)


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
