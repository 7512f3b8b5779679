"""Label files kept equal to the journal: written from it, and taken in where another program made or changed them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.formats.project import LABELS, SOURCES_FOLDER
from maskwright.errors import SizeMismatchError
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import read_mask, read_shape
from maskwright.label import files
from maskwright.label.classes import palette_of, values_of
from maskwright.label.journal import Entry, Journal, now
from maskwright.label.patches import Origin
from maskwright.label.schema import not_written


@dataclass(frozen=True, kw_only=True)
class ImageState:
    """What the project knows of an image, or of a page of a stack."""

    id: int
    name: str
    file: str
    """From the project's folder."""
    page: int | None
    height: int
    width: int
    status: str
    """One of `schema.STATUSES`."""
    note: str
    revision: int
    written: int
    """The revision in the label file."""
    labelled: int
    """Pixels with a class in the label file."""
    validation: bool
    """Whether it is of the frozen validation set."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


class Mirror:
    """The label files of a project's folder."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._journal = journal
        self._folder = folder
        self._labels = folder / LABELS
        self._sources = self._labels / SOURCES_FOLDER
        self._places: dict[str, Path] = {}

    def place(self, state: ImageState) -> Path:
        """The label file of an image; the pages of a stack share one."""
        if state.file not in self._places:
            image = self._folder / state.file
            self._places[state.file] = files.place_of(self._labels, image, state.shape, stack=state.page is not None)
        return self._places[state.file]

    def is_waiting(self, state: ImageState) -> bool:
        """Whether an image's label file is older than the journal, or gone."""
        return state.written < state.revision or (state.revision > 0 and not self.place(state).is_file())

    def take_in(self, state: ImageState, classes: ClassTable) -> None:
        """Note in the journal what another program did to an image's label file, if one did.

        Raises
        ------
        UnreadableFileError, SizeMismatchError, UndeclaredValueError
            The file does not fit; it stays as it is.
        """
        found = files.existing(self._labels, Path(state.file).stem)
        if not found:
            return
        path = found[0]
        mark = files.mark_of(path)
        (known,) = self._journal.rows("SELECT mark, next_mark FROM image WHERE id = ?", state.id)
        if mark in known:
            return
        shape = read_shape(path, state.page)
        if shape != state.shape:
            raise SizeMismatchError(
                f"{path} is {shape[1]} x {shape[0]} pixels (width x height), and the image {state.name} is "
                f"{state.width} x {state.height}.",
                expected="Expected labels of the image's size.",
                remedy="Export them again, or move the file elsewhere: what was labelled here is then written again.",
                file=path,
            )
        first = self._origins(path, state) if state.revision == 0 else None
        values = np.array([*values_of(classes), *[UNLABELLED] * (256 - len(classes))], np.uint16)
        read = _reader(path, state.page)

        def make(old: np.ndarray, top: int) -> np.ndarray:
            band = Window(top, 0, *old.shape)
            new = values[classes.encode(read(band), str(path))]
            origin = np.uint16(Origin.HUMAN) if first is None else first(band)
            return np.where(new == old & 0xFF, old, np.where(new == UNLABELLED, new, new | origin << 8))

        with self._journal.change():
            entry = Entry(kind="file", author="file", origin=Origin.HUMAN)
            self._journal.write(state.id, state.revision, entry, Window(0, 0, *state.shape), make)
            self._journal.rows("UPDATE image SET mark = ? WHERE id = ?", mark, state.id)

    def write(self, states: Sequence[ImageState], classes: ClassTable) -> None:
        """Write the label file of an image, or of all pages of a stack, and the file of sources.

        Raises ProjectError if the disk does not take it; the old files then stay. Raises as `take_in` does.
        """
        for state in states:
            self.take_in(state, classes)
        image, path = self._folder / states[0].file, self.place(states[0])
        ids = [state.id for state in states]
        marks = ", ".join("?" * len(ids))
        found = self._journal.rows(f"SELECT id, revision FROM image WHERE id IN ({marks})", *ids)
        labelled = dict.fromkeys(ids, 0)

        def values(state: ImageState, band: Window) -> np.ndarray:
            cells = self._journal.read(state.id, state.shape, band)
            values = (cells & 0xFF).astype(np.uint8)
            labelled[state.id] += int(np.count_nonzero(values != UNLABELLED))
            return values

        def origins(state: ImageState, band: Window) -> np.ndarray:
            return (self._journal.read(state.id, state.shape, band) >> 8).astype(np.uint8)

        def pages(band: Callable[[ImageState, Window], np.ndarray]) -> list[files.Page]:
            return [files.Page(shape=state.shape, band=partial(band, state)) for state in states]

        def announce(mark: str) -> None:
            with self._journal.change():
                self._journal.rows(f"UPDATE image SET next_mark = ? WHERE id IN ({marks})", mark, *ids)

        try:
            files.write(self._sources / path.name, pages(origins), files.ORIGIN_PALETTE, image)
            mark = files.write(path, pages(values), palette_of(classes), image, announce)
        except OSError as error:
            raise not_written(path, error.strerror or str(error)) from error
        with self._journal.change():
            for id_, revision in found:
                self._journal.rows(
                    "UPDATE image SET written = ?, labelled = ?, mark = ?, next_mark = '' WHERE id = ?",
                    *(revision, labelled[id_], mark, id_),
                )
        for other in files.existing(self._labels, image.stem):
            if other != path:  # another program's, of another format: two files of one name would be refused
                backups = self._folder / files.BACKUPS
                backups.mkdir(exist_ok=True)
                other.replace(backups / f"{now().replace(':', '')}-{other.name}")

    def _origins(self, path: Path, state: ImageState) -> Callable[[Window], np.ndarray] | None:
        """Where the labels of a file came from, by the file of sources beside it; None where there is none."""
        found = files.existing(self._sources, path.stem)
        if not found or read_shape(found[0], state.page) != state.shape:
            return None
        read = _reader(found[0], state.page)

        def origins(band: Window) -> np.ndarray:
            raw = read(band).astype(np.uint16)
            known = (raw > Origin.UNLABELLED) & (raw <= Origin.MODEL_ACCEPTED)
            return np.where(known, raw, np.uint16(Origin.HUMAN))

        return origins


def _reader(path: Path, page: int | None) -> Callable[[Window], np.ndarray]:
    """Reads bands of a mask: of a TIFF, only what a band touches; other files are decoded once."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return lambda band: read_mask(path, page, band)
    whole = read_mask(path, page)
    return lambda band: whole[band.slices]
