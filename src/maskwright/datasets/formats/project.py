"""A labelling project (`label/store.py`): images, some of them labelled, in a folder that holds a database.

    DATA/maskwright.sqlite              makes it a project
    DATA/images/NAME.*                  or DATA/NAME.*
    DATA/labels/NAME.png  or  .tif      class values, 255 unlabelled; a stack has a page for each page
    DATA/labels/sources/                where each pixel's label came from
    DATA/classes.toml

An image without labels is unlabelled: counted and announced, and left out where masks are needed. Images of the frozen
validation set are the split "val"; all others are then "train".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maskwright.config import SOURCES
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats.layout import Layout, counted, folders_in, table_in
from maskwright.datasets.formats.pairing import files_in
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Dataset, Sample, Source
from maskwright.errors import EmptyDataError, SettingError, UnreadableFileError, listed
from maskwright.imaging import images

DATABASE = "maskwright.sqlite"
IMAGES = "images"
LABELS = "labels"
SOURCES_FOLDER = "sources"
"""In `labels/`."""


def images_of(root: Path) -> dict[str, Path]:
    """The images of a project by stem: those of `images/`, or those that lie directly in the folder.

    Raises EmptyDataError if there are none, PairingError if two have one stem.
    """
    inner = next((name for name in folders_in(root) if name.lower() == IMAGES), None)
    return files_in(root / inner if inner else root, None)[0]


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read a labelling project; see `layout.Reader`.

    Raises EmptyDataError if masks are needed and nothing is labelled yet.
    """
    database = root / DATABASE
    if not database.is_file():
        return None
    pictures, labels, known = images_of(root), root / LABELS, _known(database)
    truth = _labels_in(labels, problems) if masks else {}
    everything = [sample for name, path in pictures.items() for sample in _samples(name, path, truth.get(name), known)]
    samples = [sample for sample in everything if sample.mask is not None] if masks else everything
    if not any(sample.split == "val" for sample in samples):  # frozen, and not labelled yet
        samples = [replace(sample, split=None) for sample in samples]
    notes = [f"{root}: labelling project, {counted(len(everything), 'image')}, {len(samples)} labelled"]
    if masks and not samples:
        raise EmptyDataError(
            f"{root} is a labelling project in which none of {counted(len(everything), 'image')} is labelled.",
            expected=f"Expected labels of one image at least, in {labels}.",
            remedy=f"Label images first: maskwright label {root}",
            file=labels,
        )
    if masks and len(samples) < len(everything):
        names = listed([sample.id for sample in everything if sample.mask is None])
        notes.append(f"{counted(len(everything) - len(samples), 'image')} unlabelled and left out: {names}")
    lost = [path.name for name, path in truth.items() if name not in pictures]
    notes += [f"{labels}: labels without an image left out: {listed(lost)}"] if lost else []
    if masks and known.waiting:
        notes.append(
            f"labels of {counted(len(known.waiting), 'image')} are newer in {database.name} than in {labels}: "
            f"{listed(known.waiting)}; they are written when labelling pauses, or starts again"
        )
    return Layout(
        format="labelling project",
        samples=tuple(samples),
        masks_folder=labels,
        unlabelled_255=True,
        home=root,
        table=table_in(root),
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the database says that files do not."""

    pages: dict[str, list[tuple[str, int | None]]]
    """Names and numbers of a stack's pages, by the stack's file."""
    empty: frozenset[str]
    """Images whose label file has no labelled pixel."""
    validation: frozenset[str]
    waiting: tuple[str, ...]
    """Images whose label file is older than the journal."""


def _known(database: Path) -> _Known:
    try:
        with closing(_opened(database)) as connection:
            rows = connection.execute("SELECT id, name, file, page, mark, labelled, revision, written FROM image")
            images = rows.fetchall()
            frozen = {row[0] for row in connection.execute("SELECT image FROM validation")}
        for row in images:
            kinds = zip(row, (int, str, str, int | None, int | str | None, int | None, int, int), strict=True)
            if not all(isinstance(value, kind) for value, kind in kinds):
                raise sqlite3.DatabaseError(f"the image {row[1]!r} has values of other types")
    except sqlite3.Error as error:
        raise UnreadableFileError(
            f"{database} cannot be read: {error}.",
            expected="Expected the database of a labelling project.",
            remedy="Restore it from a copy, or move it elsewhere to read the folder as plain images and labels.",
            file=database,
        ) from None
    pages: dict[str, list[tuple[str, int | None]]] = {}
    for _, name, file, page, *_ in images:
        if page is not None:
            pages.setdefault(Path(file).name, []).append((name, page))
    return _Known(
        pages=pages,
        empty=frozenset(row[1] for row in images if row[4] and row[5] == 0),
        validation=frozenset(row[1] for row in images if row[0] in frozen),
        waiting=tuple(row[1] for row in images if row[7] < row[6]),
    )


def _opened(database: Path) -> sqlite3.Connection:
    """The database, to be read; in a folder that cannot be written too, where its log cannot be opened."""
    address = f"{database.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=10)
    try:
        connection.execute("SELECT 1 FROM image").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True)
    return connection


@dataclass(frozen=True, kw_only=True)
class SourcedMask(Source):
    """Labels of a project, of which those from some sources count."""

    sources: Path
    """The file that says where each pixel's label came from."""
    kept: tuple[int, ...]
    """Its values that count."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The labels and their sources."""
        return self.path, self.sources

    def read_mask(self) -> np.ndarray:
        """As `Source.read_mask`; 255 where a label is from another source."""
        counts = np.isin(images.read_mask(self.sources, self.page, self.window), self.kept)
        return np.where(counts, super().read_mask(), np.uint8(UNLABELLED))


def of_sources(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Leave out the labels of a project that are not from these sources, of `config.SOURCES`.

    Raises
    ------
    SettingError
        The data is no labelling project.
    EmptyDataError
        Nothing is labelled by these sources.
    """
    if not (dataset.root / DATABASE).is_file():
        raise SettingError(
            f"sources = {','.join(names)} has no effect: {dataset.root} is not a labelling project.",
            expected=f"Expected a folder with {DATABASE}, which knows where labels came from.",
            remedy="Leave the setting out.",
        )
    kept = tuple(sorted(SOURCES.index(name) + 1 for name in names))
    samples = []
    for sample in dataset.samples:
        assert sample.mask is not None, "samples to train on have masks"
        own = sample.mask
        sources = own.path.parent / SOURCES_FOLDER / own.path.name
        if not sources.is_file():  # labels that another program made and no process has taken in yet
            samples += [sample] if 1 in kept else []
            continue
        mask = SourcedMask(path=own.path, page=own.page, window=own.window, sources=sources, kept=kept)
        if np.isin(images.read_mask(sources, own.page, own.window), kept).any():
            samples.append(replace(sample, mask=mask))
    if not samples:
        raise EmptyDataError(
            f"No pixel of {dataset.root} is labelled by {' or '.join(names)}.",
            remedy="Label some, or name other sources.",
        )
    note = f"labels of {' and '.join(names)} only: {counted(len(samples), 'sample')} of {len(dataset.samples)}"
    return replace(dataset, samples=tuple(samples), notes=(*dataset.notes, note))


def refuse_frozen_only(dataset: Dataset) -> None:
    """Raise EmptyDataError where all that is labelled in a project is its validation set, never trained on."""
    if (dataset.root / DATABASE).is_file() and dataset.splits == {"val"}:
        raise EmptyDataError(
            f"All {counted(len(dataset.samples), 'labelled image')} of {dataset.root} are of its validation set.",
            expected="Expected other labelled images: the validation set is never trained on.",
            remedy="Label some of the others.",
        )


def _labels_in(folder: Path, problems: list[Problem] | None) -> dict[str, Path]:
    try:
        return files_in(folder, problems)[0]
    except (EmptyDataError, FileNotFoundError):
        return {}


def _samples(name: str, path: Path, labels: Path | None, known: _Known) -> list[Sample]:
    """An image, or the pages of a stack that the database knows."""
    pages = known.pages.get(path.name)
    return [
        Sample(
            id=own,
            image=Source(path=path, page=page),
            mask=Source(path=labels, page=page) if labels and own not in known.empty else None,
            group=name if pages else None,
            split="val" if own in known.validation else "train",
        )
        for own, page in pages or [(name, None)]
    ]
