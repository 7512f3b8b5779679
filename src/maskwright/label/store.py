"""A labelling project: a folder of images whose labels grow, and nothing that was acknowledged is ever lost.

    FOLDER/images/NAME.*             the images, or directly in FOLDER; they are never written
    FOLDER/labels/NAME.png           class values, 255 unlabelled (files.py)
    FOLDER/labels/sources/NAME.png   where each pixel's label came from
    FOLDER/classes.toml              names and colours of the values
    FOLDER/maskwright.sqlite         the journal and all else that is known (schema.py)
    FOLDER/backups/                  the database before a class change, and label files that were replaced

Labels arrive as patches (patches.py). `Project.apply` writes a patch to the journal (journal.py), with what it
replaces, and returns the image's new revision: after COMMIT, so that a returned revision is on disk. A patch that was
drawn on another revision is refused. Label files follow when labelling pauses, and at start if the last process was
killed.

A label file that another program made or changed is taken in when its image is next used: as an entry of the journal,
author "file". A killed process is not mistaken for that, since the mark (hash) of a label file is noted before the file
takes its place. Values of classes never change their meaning (classes.py), so that files, patches and runs of all
times agree.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.formats.project import DATABASE, images_of
from maskwright.errors import MaskwrightError, ProjectError, RunError, UndeclaredValueError
from maskwright.imaging.decoders import Window
from maskwright.imaging.images import read_shape
from maskwright.imaging.tiffs import count_pages, first_page
from maskwright.label import classes as label_classes
from maskwright.label.journal import Entry, Journal, bands, now
from maskwright.label.mirror import ImageState, Mirror
from maskwright.label.patches import KEEP, Origin, Patch, Runs, decode, stored
from maskwright.label.schema import STATUSES
from maskwright.runs import locked

__all__ = ["ImageState", "Labels", "Origin", "Patch", "Project"]

_PAUSE = 2.0


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of an image or a window of it, at one revision."""

    values: np.ndarray
    """uint8 `height x width`: values of classes, 255 unlabelled."""
    origins: np.ndarray
    """uint8 `height x width`: values of `patches.Origin`."""
    revision: int


class Project:
    """A labelling project, open and locked until `close`. Any thread may use it.

    Parameters
    ----------
    folder
        The folder of images; it becomes a project if it is none.
    classes
        Names of classes, needed where there is neither a `classes.toml` nor a label file.
    pause
        Seconds without a change after which label files are written; None leaves it to `save`.

    Raises
    ------
    ProjectError
        Another process has the project open, or its database cannot be used.
    DataError
        The folder has no images, or two of one name.
    ClassTableError
        The classes are not known, or `classes.toml` was changed in a way that would change the meaning of labels.
    """

    def __init__(self, folder: Path, *, classes: Sequence[str] | None = None, pause: float | None = _PAUSE) -> None:
        self.folder = folder
        self.failure: MaskwrightError | None = None
        """Why label files could not be written when labelling paused last."""
        self._seen: set[int] = set()
        self._changed = 0.0
        self._closing = threading.Event()
        with ExitStack() as stack:
            images = images_of(folder)
            try:
                stack.enter_context(locked(folder))
            except RunError as error:
                raise ProjectError(
                    error.what.split(". ")[0] + ".",
                    expected="A labelling project is open in one process at a time.",
                    remedy="Use the page that is open, or stop that process.",
                    file=folder,
                ) from None
            self.journal = Journal(folder / DATABASE)
            stack.callback(self.journal.close)
            self.classes = label_classes.settle(self.journal, folder, classes)
            self.mirror = Mirror(self.journal, folder)
            self._add(images)
            self._saving = threading.Lock()
            self.save()
            self._open = stack.pop_all()
        self._thread: threading.Thread | None = None
        if pause is not None:
            self._thread = threading.Thread(target=self._save_in_pauses, args=(pause,), daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write label files and let the project go; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        with self._open:
            self.save()

    def images(self) -> list[ImageState]:
        """All images and pages, in natural order of files."""
        return self._states("ORDER BY id")

    def image(self, name: str) -> ImageState:
        """One image; raises ProjectError if there is none of that name."""
        found = self._states("WHERE name = ?", name)
        if not found:
            raise ProjectError(f"{self.folder} has no image {name!r}.", remedy="Ask for one of `Project.images`.")
        return found[0]

    def read(self, name: str, window: Window | None = None) -> Labels:
        """The labels of an image or a window of it, as of the last acknowledged change.

        Raises DataError if its label file was changed by another program and does not fit.
        """
        with self.journal.lock:
            state = self._ready(name)
            cells = self.journal.read(state.id, state.shape, window or Window(0, 0, *state.shape))
        return Labels(
            values=(cells & 0xFF).astype(np.uint8), origins=(cells >> 8).astype(np.uint8), revision=state.revision
        )

    def apply(self, patch: Patch) -> int:
        """Make a change and return the image's new revision: when this returns, the change is on disk.

        One whose key was applied before is not applied again: its revision of then is returned.

        Raises
        ------
        StaleRevisionError
            The image is at another revision than the patch's.
        UndeclaredValueError
            The patch holds a value that no class stands for.
        ProjectError
            The patch is malformed, the image is of the validation set and the patch not from a human, or the disk
            is full.
        """
        state, runs = self._ready(patch.image), Runs(patch.payload, patch.box)
        self._check(patch, state, runs)
        may_replace = patch.origin is Origin.HUMAN if patch.replace_human is None else patch.replace_human

        def make(old: np.ndarray, top: int) -> np.ndarray:
            values = runs.rows(top, top + len(old))
            new = np.where(values == UNLABELLED, values, values | np.uint16(patch.origin << 8))
            keep = values == KEEP
            if not may_replace:
                keep |= old >> 8 == Origin.HUMAN
            new[keep] = KEEP
            return new

        entry = Entry(
            kind="patch",
            author=patch.author,
            seconds=patch.seconds,
            origin=patch.origin,
            model=patch.model,
            key=patch.key,
        )
        with self.journal.change():
            if done := self.journal.made(state.id, patch.key):
                return done[0]
            revision = self.journal.write(state.id, patch.base, entry, patch.box, make)
        self._changed = time.monotonic()
        return revision

    def undo(self, name: str, base: int, author: str, key: str | None = None) -> tuple[int, Window] | None:
        """Undo the last patch of an image; returns the new revision and the box that changed, None if there is none.

        `key` is as in `Patch`. Raises StaleRevisionError as `apply` does.
        """
        return self._turn(name, base, author, key, back=True)

    def redo(self, name: str, base: int, author: str, key: str | None = None) -> tuple[int, Window] | None:
        """Redo the patch that was undone last, as `undo`; None once something else was painted."""
        return self._turn(name, base, author, key, back=False)

    def set_status(self, name: str, status: str, note: str = "") -> None:
        """Set an image's status, one of `schema.STATUSES`; "flagged" needs a note."""
        if status not in STATUSES or (status == "flagged" and not note.strip()):
            raise ProjectError(
                f"{name} cannot have the status {status!r} with the note {note!r}.",
                expected=f"Expected one of {', '.join(STATUSES)}, and a note with flagged.",
                remedy="Choose one, and say what is wrong with the image.",
            )
        state = self.image(name)
        with self.journal.change():
            self.journal.rows("UPDATE image SET status = ?, note = ? WHERE id = ?", status, note, state.id)

    def freeze_validation(self, names: Iterable[str], author: str) -> None:
        """Choose the validation set, once: its images are labelled by humans only, and never trained on.

        Raises ProjectError if it is chosen, or an image holds labels that no human made.
        """
        if self.journal.rows("SELECT 1 FROM validation"):
            raise ProjectError(
                f"{self.folder} has a validation set, and it is frozen.",
                expected="Scores are comparable only if it stays the same.",
                remedy="Keep it, or begin another project.",
            )
        states = [self._ready(name) for name in names]
        for state in states:
            origins = {int(o) for band in bands(state.shape) for o in np.unique(self.read(state.name, band).origins)}
            if origins & {Origin.SCRIPT, Origin.MODEL_ACCEPTED}:
                raise ProjectError(
                    f"{state.name} holds labels of a script or a model.",
                    expected="A validation image is labelled by humans alone.",
                    remedy="Choose another image.",
                )
        with self.journal.change():
            for state in states:
                self.journal.rows("INSERT INTO validation VALUES (?, ?, ?)", state.id, now(), author)

    def second_label(self, name: str, box: Window, payload: bytes, author: str, seconds: float) -> None:
        """Keep labels that were drawn a second time, apart from the image's own, to measure agreement."""
        state, runs = self.image(name), Runs(payload, box)
        self._check_values(name, runs)
        cells = stored(decode(payload, box))
        with self.journal.change():
            self.journal.rows(
                "INSERT INTO second_label (image, top, left, height, width, author, seconds, at, cells) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(state.id, *box, author, seconds, now(), cells),
            )

    def save(self) -> None:
        """Write the label files that are older than the journal.

        Raises ProjectError if the disk is full (the journal keeps everything), DataError if another program changed a
        label file and it does not fit; other images' files are written all the same.
        """
        with self._saving:
            failures = []
            waiting = {state.file for state in self.images() if self.mirror.is_waiting(state)}
            for file in sorted(waiting):
                try:
                    self.mirror.write(self._states("WHERE file = ? ORDER BY page", file), self.classes)
                except MaskwrightError as error:
                    failures.append(error)
            self.failure = failures[0] if failures else None
            if failures:
                raise failures[0]

    def ready(self) -> list[ImageState]:
        """All images, after every label file that another program made or changed was taken in."""
        return [self._ready(state.name) for state in self.images()]

    def label_files_are_old(self) -> None:
        """Have all label files written again when labelling pauses: classes have other names or colours."""
        with self.journal.change():
            self.journal.rows("UPDATE image SET written = -1 WHERE revision > 0")
        self._changed = time.monotonic()

    def _save_in_pauses(self, pause: float) -> None:
        while not self._closing.wait(pause / 4):
            if self._changed and time.monotonic() - self._changed >= pause:
                self._changed = 0.0
                with suppress(MaskwrightError):  # kept in `failure`
                    self.save()

    def _ready(self, name: str) -> ImageState:
        """An image, after what another program did to its label file was taken in."""
        with self.journal.lock:
            state = self.image(name)
            if state.id not in self._seen:
                self.mirror.take_in(state, self.classes)
                self._seen.add(state.id)
                state = self.image(name)
            return state

    def _turn(self, name: str, base: int, author: str, key: str | None, *, back: bool) -> tuple[int, Window] | None:
        state = self._ready(name)
        with self.journal.change():
            done = self.journal.turn(state.id, base, author, back=back, key=key)
        self._changed = time.monotonic()
        return done

    def _check(self, patch: Patch, state: ImageState, runs: Runs) -> None:
        self._check_values(patch.image, runs)
        if state.validation and patch.origin is not Origin.HUMAN:
            raise ProjectError(
                f"{patch.image} is of the validation set, and the labels are not a human's.",
                expected="Validation images are labelled without pre-labels, so that scores are honest.",
                remedy="Paint them by hand.",
            )
        if patch.origin is Origin.UNLABELLED or (patch.origin is Origin.MODEL_ACCEPTED) != (patch.model is not None):
            raise ProjectError(
                f"A patch of {patch.image} has the origin {patch.origin.name} and the model {patch.model!r}.",
                expected="Expected human or script, or model-accepted with the model's hash.",
                remedy="Send the patch again.",
            )

    def _check_values(self, name: str, runs: Runs) -> None:
        known = {*label_classes.values_of(self.classes), UNLABELLED, KEEP}
        if strange := sorted(runs.values - known):
            raise UndeclaredValueError(
                f"A patch of {name} holds the value {', '.join(map(str, strange))}, which no class stands for.",
                expected=f"Expected: {self.classes.describe()}.",
                remedy="Read the classes again: one may have been merged or deleted.",
            )

    def _add(self, images: dict[str, Path]) -> None:
        """Note images that are new in the folder."""
        known = {file for (file,) in self.journal.rows("SELECT DISTINCT file FROM image")}
        new = [
            (own, path.relative_to(self.folder).as_posix(), page, *read_shape(path, page))
            for name, path in images.items()
            if path.relative_to(self.folder).as_posix() not in known
            for own, page in _pages(name, path)
        ]
        with self.journal.change():
            for row in new:
                self.journal.rows("INSERT INTO image (name, file, page, height, width) VALUES (?, ?, ?, ?, ?)", *row)

    def _states(self, rest: str, *values: str) -> list[ImageState]:
        names = "id, name, file, page, height, width, status, note, revision, written, labelled"
        query = f"SELECT {names}, id IN (SELECT image FROM validation) FROM image {rest}"
        keys = [*names.split(", "), "validation"]
        return [
            ImageState(**{**dict(zip(keys, row, strict=True)), "validation": bool(row[-1])})
            for row in self.journal.rows(query, *values)
        ]


def _pages(name: str, path: Path) -> list[tuple[str, int | None]]:
    """Names and numbers of a file's pages, as `formats.parts` gives them."""
    first = first_page(path)
    count = 0 if first is None or first.alone else count_pages(path)
    digits = max(3, len(str(count - 1)))
    return [(f"{name}-{page:0{digits}}", page) for page in range(count)] if count > 1 else [(name, None)]
