"""What formats of annotation tools have in common: masks drawn from shapes, images found by name, classes by label.

Where nothing is drawn, a raw mask has a value that no class uses (0, if it is free).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from itertools import count
from pathlib import Path, PurePosixPath

import numpy as np

from maskwright.datasets.classes import CLASSES_FILE, ClassTable, LabelClass
from maskwright.datasets.formats.drawn.shapes import Bitmap, Shape, draw
from maskwright.datasets.formats.layout import counted
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source, Window, natural
from maskwright.errors import DataError, EmptyDataError, MaskwrightError, PairingError, listed
from maskwright.imaging import images
from maskwright.imaging.colors import default_color
from maskwright.imaging.decoders import Header, decode
from maskwright.imaging.memory import named

_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip

Drawing = tuple[tuple[int, Shape], ...]
"""Shapes with their raw values, in the order in which they are painted."""


@dataclass(frozen=True, kw_only=True)
class Drawn(Source):
    """A mask that is drawn from shapes; subclasses say where these come from."""

    background: int = 0
    """Raw value where nothing is drawn."""

    def drawing(self) -> Drawing:
        """The shapes; raises DataError if the file that holds them is damaged."""
        raise NotImplementedError

    def whole(self) -> tuple[int, int]:
        """Height and width of all of the mask."""
        raise NotImplementedError

    def header(self) -> Header:
        """As `Source.header`."""
        height, width = self.whole()
        header = Header(height=height, width=width)
        return header if self.window is None else images.windowed(header, self.path, self.window)

    def read_image(self) -> images.Image:
        """Shapes are no image."""
        raise AssertionError("a drawn mask is read as a mask")

    def read_mask(self) -> np.ndarray:
        """As `Source.read_mask`: int32; of a window, only the window is drawn."""
        frame = self.window or Window(0, 0, *self.header().shape)
        with named(self.path):
            return draw(self.drawing(), frame, self.background)


@dataclass(frozen=True, kw_only=True)
class DrawnHere(Drawn):
    """A mask whose shapes were read when the data was opened."""

    size: tuple[int, int]
    """Height and width."""
    shapes: Drawing

    def drawing(self) -> Drawing:
        """As `Drawn.drawing`."""
        return self.shapes

    def whole(self) -> tuple[int, int]:
        """As `Drawn.whole`."""
        return self.size

    def identity(self) -> str:
        """As `Source.identity`, with a hash in place of the shapes."""
        digest = blake2b(digest_size=16)
        for value, shape in self.shapes:
            digest.update(f"{value} {type(shape).__name__}".encode())
            for part in fields(shape):  # type: ignore[arg-type]
                content = getattr(shape, part.name)
                for item in content if isinstance(content, tuple) else (content,):
                    digest.update(item if isinstance(item, bytes) else f" {item!r}".encode())
        return f"{self.window}/{self.size}/{self.background}/{digest.hexdigest()}"


@dataclass
class Folders:
    """Finds the images that annotation files name, in folders that are listed once."""

    folders: Sequence[Path]
    """Where to look, in order."""
    _names: dict[Path, frozenset[str]] = field(default_factory=dict)

    def find(self, name: str) -> Path | None:
        """The file of that name (a relative path, with either kind of slash), or of its last part; None if none is."""
        parts = PurePosixPath(name.replace("\\", "/"))
        for tail in dict.fromkeys((parts, PurePosixPath(parts.name))):
            for folder in self.folders:
                path = Path(os.path.normpath(folder / tail))
                if path.name in self._listing(path.parent):
                    return path
        return None

    def unused(self, used: Iterable[Path]) -> Iterator[tuple[Path, list[str]]]:
        """Folders that hold used images, with the names of the images there that are not used."""
        paths = set(used)
        for folder in dict.fromkeys(path.parent for path in sorted(paths)):
            left = [
                name
                for name in self._listing(folder)
                if Path(name).suffix.lower() in images.IMAGE_SUFFIXES and folder / name not in paths
            ]
            if left:
                yield folder, sorted((name for name in left if name[0] != "."), key=natural)

    def _listing(self, folder: Path) -> frozenset[str]:
        if folder not in self._names:
            self._names[folder] = frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()
        return self._names[folder]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image of an annotation file."""

    name: str
    """What the file calls it."""
    image: Source | None
    """None if it was not found."""
    mask: Source | None
    split: str | None
    file: Path
    """The annotation file."""


def samples_of(entries: Sequence[Entry], problems: list[Problem] | None) -> tuple[Sample, ...]:
    """Samples of entries, with ids that tell them apart: the stem, or else the name without its suffix.

    Raises
    ------
    PairingError
        Images that are not there, or are named twice.
    EmptyDataError
        No image is left.
    """
    there = _with_image(entries, problems)
    stems = Counter((entry.split, PurePosixPath(entry.name.replace("\\", "/")).stem) for entry in there)
    samples = []
    for entry in there:
        assert entry.image is not None
        parts = PurePosixPath(entry.name.replace("\\", "/"))
        own = parts.stem if stems[entry.split, parts.stem] == 1 else str(parts.with_suffix("")).lstrip("./")
        name = f"{entry.split}/{own}" if entry.split else own
        samples.append(Sample(id=name, image=entry.image, mask=entry.mask, split=entry.split))
    ids = Counter(sample.id for sample in samples)
    twice = [sample for sample in samples if ids[sample.id] > 1]
    if twice:
        files = tuple(sample.image.path for sample in twice)
        _report_all(
            problems,
            PairingError,
            [
                Problem(
                    level="error",
                    kind="duplicate-stem",
                    files=files,
                    what=f"{counted(len(twice), 'image')} share names: {listed([str(path) for path in files])}.",
                    remedy="Rename them, so that each has its own.",
                )
            ],
        )
    unique = {sample.id: sample for sample in samples}
    if not unique and not problems:
        file = entries[0].file if entries else None
        raise EmptyDataError(f"{file} names no image.", expected="Expected annotations of images.", file=file)
    return tuple(sorted(unique.values(), key=lambda sample: natural(sample.id)))


def _with_image(entries: Sequence[Entry], problems: list[Problem] | None) -> list[Entry]:
    missing = [entry for entry in entries if entry.image is None]
    _report_all(
        problems,
        PairingError,
        [
            Problem(
                level="error",
                kind="unpaired",
                files=(entry.file,),
                what=f"{entry.file} describes the image {entry.name}, which is not there.",
                remedy="Put the image beside the others, or take it out of the annotations.",
                sample=PurePosixPath(entry.name).stem,
            )
            for entry in missing
        ],
    )
    there: dict[tuple[str | None, Source], Entry] = {}
    again: list[Problem] = []
    for entry in entries:
        if entry.image is None:
            continue
        before = there.setdefault((entry.split, entry.image), entry)
        if before is not entry:
            again.append(
                Problem(
                    level="error",
                    kind="duplicate-stem",
                    files=(entry.image.path, before.file, entry.file),
                    what=f"{entry.image.path} is described twice, in {before.file} and in {entry.file}.",
                    remedy="Keep one of the descriptions.",
                )
            )
    _report_all(problems, PairingError, again)
    return list(there.values())


def _report_all(problems: list[Problem] | None, kind: type[MaskwrightError], found: Sequence[Problem]) -> None:
    """Note findings; without a list, raise one error that names the first of them."""
    if problems is None and len(found) > 1:
        texts = [problem.what for problem in found[:_SHOWN]]
        more = f"\n{len(found) - _SHOWN} more like these." if len(found) > _SHOWN else ""
        raise kind("\n".join(texts) + more, remedy=found[0].remedy, file=found[0].files[0])
    for problem in found:
        report(problems, problem, kind)


_SHOWN = 5
_REMEDY = "Export it again, or correct it."


def class_table(
    labels: Sequence[tuple[str, int, tuple[int, int, int] | None]],
    *,
    background: int | None = None,
    unlabelled: Sequence[int] = (),
) -> ClassTable:
    """A table of labels (name, raw value, colour if there is one), in their order; equal names are one class.

    `background` is the raw value where nothing is drawn, if that is a class: it belongs to the label of that name, or
    else to a class of its own, the first.
    """
    values: dict[str, list[int]] = {}
    colors: dict[str, tuple[int, int, int]] = {}
    if background is not None and not any(is_background(name) for name, _, _ in labels):
        values["background"] = [background]
    for name, value, color in labels:
        shown = "".join(letter if letter.isprintable() else " " for letter in name).strip() or f"class {value}"
        values.setdefault(shown, []).append(value)
        if is_background(shown) and background is not None and background not in values[shown]:
            values[shown].append(background)
        if color is not None:
            colors.setdefault(shown, color)
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=colors.get(name, default_color(index, name)), values=tuple(raw))
            for index, (name, raw) in enumerate(values.items())
        ),
        unlabelled=tuple(unlabelled),
    )


def bitmap_of(png: bytes, top: int, left: int) -> Bitmap:
    """The mask in a PNG: where it is opaque, if it has opacity, else where it is not 0.

    Raises ValueError if it is no PNG, or damaged.
    """
    try:
        raster = decode(png, "png", indices=True)
    except Exception as error:  # every decoder has its own kinds
        raise ValueError(f"its picture is damaged: {error or type(error).__name__}") from None
    opacity: np.ndarray = raster.pixels.max(axis=2) if raster.alpha is None else raster.alpha
    return Bitmap.of(opacity > 0, top, left)


def is_background(name: str) -> bool:
    """Whether a label stands for what is not labelled otherwise."""
    return name.strip().lower() in ("background", "_background_")


def free_value(taken: Iterable[int]) -> int:
    """The smallest value that no class uses."""
    used = set(taken)
    return next(value for value in count() if value not in used)


def split_of(name: str) -> str | None:
    """The split that a file or folder name tells ("instances_train2017", "valid"), or None."""
    found = {_SPLITS[word] for word in re.findall("[a-z]+", name.lower()) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def table_file(*folders: Path) -> Path | None:
    """The `classes.toml` of the first folder that has one."""
    return next((path for folder in folders if (path := folder / CLASSES_FILE).is_file()), None)


def unused_notes(folders: Folders, used: Iterable[Path], file: str) -> list[str]:
    """Notes on images that lie beside described ones, and are not described."""
    return [
        f"{folder}: {counted(len(names), 'image')} left out, without {file}: {listed(names)}"
        for folder, names in folders.unused(used)
        if names
    ]


@contextmanager
def noting(problems: list[Problem] | None, path: Path) -> Iterator[None]:
    """Note a DataError of the block as a problem of this file, and go on; without a list, let it pass."""
    try:
        yield
    except DataError as error:
        if problems is None:
            raise
        what = " ".join(part for part in (error.what, error.expected) if part)
        remedy = error.remedy or _REMEDY
        problems.append(Problem(level="error", kind="unreadable", files=(path,), what=what, remedy=remedy))


def damaged(path: Path, found: str, expected: str) -> DataError:
    """The error for an annotation file that cannot be understood."""
    return DataError(f"{path} cannot be read: {found}.", expected=f"Expected {expected}.", remedy=_REMEDY, file=path)
