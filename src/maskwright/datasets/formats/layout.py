"""What a reader of a format gives: the samples of a data set, before its classes are settled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable
from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import Source
from maskwright.errors import listed
from maskwright.imaging.images import ARRAY_SUFFIXES, IMAGE_SUFFIXES

if TYPE_CHECKING:
    from maskwright.datasets.problems import Problem


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What lies in a place, in one of the formats."""

    format: str
    """Its name, as a sentence says it: "folder", "Pascal VOC"."""
    samples: tuple[Sample, ...]
    masks_folder: Path
    """The folder of masks; of several, the first."""
    unlabelled_255: bool = False
    """Whether a raw 255 is always unlabelled here, even beside 0 alone, and no class may claim it: see `is_labels`."""
    home: Path | None = None
    """The folder where a `classes.toml` is looked for first; None for the one above `masks_folder`."""
    table: Path | None = None
    """The `classes.toml` that was found; it overrides `classes`."""
    classes: ClassTable | None = None
    """The table that the format itself declares."""
    contested: bool = False
    """Whether other folders may hold the truth as well: then names and contents are asked, too."""
    raters: Mapping[str, tuple[tuple[str, Source], ...]] = field(default_factory=dict)
    """Masks of further observers, by the sample's id: a name and the mask. Only `check` reads them."""
    notes: tuple[str, ...] = ()
    """What was found and assumed; the first sentence is `found`'s."""

    @property
    def table_place(self) -> Path:
        """Where a `classes.toml` belongs."""
        return (self.home or self.masks_folder.parent) / CLASSES_FILE

    def contradiction(self, table: ClassTable) -> Problem | None:
        """Return what is wrong with a class table that gives 255 to a class where it always means unlabelled."""
        name = next((item.name for item in table.classes if UNLABELLED in item.values), None)
        if name is None or not self.unlabelled_255:
            return None
        from maskwright.datasets.problems import Problem

        file = self.table or self.table_place
        return Problem(
            level="error",
            kind="class-table",
            files=(file, self.masks_folder),
            what=f"{self.masks_folder} is a labels folder, where 255 always means unlabelled, but the class table has "
            f"255 for {name!r}.",
            remedy=f"If 255 is that class in these files, rename the folder to masks; if not, write {file} "
            f"with the value that stands for {name!r} here.",
        )


Reader = Callable[..., Layout | None]
"""`read(root, *, masks, problems)`: the layout of `root`, or None where it is of another format.

`root: Path` is a folder, or a file where the format is a file. Telling "not mine" takes a cheap look at names or first
bytes, and never raises. With `masks: bool` false no masks are looked for. What is clearly of the format and wrong
raises a MaskwrightError; where `problems: list[Problem] | None` is a list, entries without a partner, doubled or broken
are noted in it and left out instead.
"""


def found(root: Path, name: str, samples: Sequence[Sample], *, masks: bool) -> str:
    """What was found, in a sentence: "DATA: Pascal VOC, 2913 images with masks (1464 in train, 1449 in val)"."""
    splits = [split for split in SPLITS if any(sample.split == split for sample in samples)]
    each = ", ".join(f"{sum(sample.split == split for sample in samples)} in {split}" for split in splits)
    kind = "" if name == "folder" else f"{name}, "
    images = counted(len(samples), "image")
    return f"{root}: {kind}{images}{' with masks' if masks else ''}{f' ({each})' if each else ''}"


def counted(number: int, thing: str) -> str:
    """A number of things: "1 image", "3 images"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""Splits, and the names of folders and files they go by."""


def split_named(name: str) -> str | None:
    """The split that a name stands for, in any case; None if it is none's."""
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def has_masks(root: Path) -> bool:
    """Whether a folder of masks, or of labels that are images, lies beside annotations: then the masks are read."""
    from maskwright.datasets.formats.folder import MASKS, child
    from maskwright.datasets.formats.pairing import is_image

    truth = child(root, *(name for name in MASKS if not name.startswith(("annot", "seg"))))
    return truth is not None and (truth.name.lower() == "masks" or any(map(is_image, truth.rglob("*"))))


_WHOLE = IMAGE_SUFFIXES - {".tif", ".tiff"} - ARRAY_SUFFIXES


def may_be_parts(image: Source) -> bool:
    """Whether an image's name leaves it open that it is a stack or a large raster; then its first bytes are read."""
    return image.window is None and image.path.suffix.lower() not in _WHOLE


_TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".yaml", ".yml")


def has_table(folder: Path) -> bool:
    """Whether a folder holds a text file that may be another tool's class table."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.lower().endswith(_TABLE_SUFFIXES) for entry in entries)
    except OSError:
        return False


def is_labels(folder: Path) -> bool:
    """Whether a folder of masks is one where 255 is always unlabelled: `labels` or `label`, or a split within it."""
    name = (folder.parent if split_named(folder.name) else folder).name
    return name.lower() in ("labels", "label")


def not_read(home: Path, used: Iterable[Path], *, silent: Iterable[str] = ()) -> list[str]:
    """Note the folders in `home` that a reader passes over.

    Parameters
    ----------
    home
        The folder that was opened.
    used
        Folders and files that were read; each stands for the folder in `home` that it lies in.
    silent
        Names of folders not worth a word.
    """
    read = {path.relative_to(home).parts[:1] for path in used if path.is_relative_to(home)}
    skipped = [f"{name}/" for name in folders_in(home) if (name,) not in read and name not in set(silent)]
    return [f"{home}: not read: {listed(skipped)}"] if skipped else []


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out; none where there is no such folder.

    The listing itself tells folders from files, so that 100,000 images cost no look at each.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def table_in(root: Path) -> Path | None:
    """The `classes.toml` of a folder, or beside a file."""
    path = (root if root.is_dir() else root.parent) / CLASSES_FILE
    return path if path.is_file() else None
