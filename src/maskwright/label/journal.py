"""The journal of a project and the current map of its images, in tiles.

A map is never held whole: its tiles of 512 x 512 cells come from a snapshot and the entries after it, at most REPLAYED,
and a bounded number of them stays in memory. So the two-thousandth stroke costs what the first did, and an image of
12,000 x 9,000 pixels no more than the tiles that are looked at.

Memory follows the disk: tiles that a change makes are staged, and become current only after its COMMIT.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from maskwright.errors import ProjectError, StaleRevisionError
from maskwright.imaging.decoders import Window
from maskwright.label.patches import EMPTY, KEEP, Packer, Runs, restored, stored
from maskwright.label.schema import connect, explained, transaction

EDGE = 512
"""Pixels along a tile."""

REPLAYED = 64
"""Entries that are replayed onto a snapshot at most."""

_LARGE = 16
"""A change of more tiles writes their snapshots at once: replaying it would decode all of it for each of them."""

Key = tuple[int, int, int]
"""Image, row and column of a tile."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the journal notes of a change, beside its cells."""

    kind: str
    author: str
    seconds: float = 0.0
    origin: int = 0
    model: str | None = None
    target: int | None = None
    key: str | None = None

    @property
    def state(self) -> str:
        """Only a patch is undone; what migrated classes or came from a file is fixed."""
        return "done" if self.kind == "patch" else "fixed"


@dataclass(frozen=True)
class _Tile:
    cells: np.ndarray
    """uint16, up to EDGE x EDGE; never written to."""
    pending: int
    """Entries since its snapshot."""


class Journal:
    """The database of a project, and the tiles in memory.

    Parameters
    ----------
    path
        The database.
    memory
        Bytes of tiles that stay in memory.
    """

    def __init__(self, path: Path, memory: int = 256 << 20) -> None:
        self.path = path
        self.connection = connect(path)
        self.lock = RLock()
        self._most = max(1, memory // (2 * EDGE * EDGE))
        self._tiles: OrderedDict[Key, _Tile] = OrderedDict()
        self._staged: dict[Key, _Tile] = {}

    def close(self) -> None:
        """Close the database."""
        with self.lock:
            self.connection.close()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a query gives."""
        with self.lock, explained(self.path):
            return self.connection.execute(query, values).fetchall()

    @contextmanager
    def change(self) -> Iterator[None]:
        """All changes of the block or none; when it ends well they are on disk, and then in memory."""
        with self.lock:
            self._staged = {}
            try:
                with transaction(self.connection, self.path):
                    yield
                for key, tile in self._staged.items():
                    self._keep(key, tile)
            finally:
                self._staged = {}

    def read(self, image: int, shape: tuple[int, int], window: Window) -> np.ndarray:
        """The cells of a window (uint16, `height x width`)."""
        cells = np.empty((window.height, window.width), np.uint16)
        with self.lock, explained(self.path):
            for row, column in _touched(window):
                place = _place(row, column, shape)
                inner, outer = _overlap(window, place), _overlap(place, window)
                cells[inner] = self._tile((image, row, column), shape).cells[outer]
        return cells

    def write(
        self, image: int, base: int | None, entry: Entry, box: Window, make: Callable[[np.ndarray, int], np.ndarray]
    ) -> int:
        """Note a change of a box within `change`, and return the image's new revision.

        Parameters
        ----------
        image
            Its id.
        base
            The revision that the change was made on; None where it cannot be another.
        entry
            What to note.
        box
            The pixels that may change.
        make
            Takes the cells of a band of the box, and its first row in the box; returns the new cells, with KEEP where
            nothing changes.

        Raises
        ------
        StaleRevisionError
            The image is at another revision than `base`.
        ProjectError
            The box is not within the image.
        """
        (found,) = self.rows("SELECT name, height, width, revision FROM image WHERE id = ?", image)
        name, shape, revision = str(found[0]), (found[1], found[2]), int(found[3])
        if base is not None and base != revision:
            raise StaleRevisionError(
                f"{name} is at revision {revision}, and the change was drawn on revision {base}.",
                expected="Somebody else, or another window, changed the image in between; nothing was merged.",
                remedy="Read the image again and repeat the change.",
            )
        if min(box) < 0 or box.top + box.height > shape[0] or box.left + box.width > shape[1]:
            raise ProjectError(
                f"The change of {name} reaches from ({box.left}, {box.top}) over {box.width} x {box.height} pixels, "
                f"and the image is {shape[1]} x {shape[0]} (width x height).",
                remedy="Send boxes within the image.",
            )
        revision += 1
        before, after = Packer(), Packer()
        tiles = list(_touched(box))
        for row in sorted({row for row, _ in tiles}):
            band = _overlapping(box, Window(row * EDGE, box.left, EDGE, box.width))
            old = self.read(image, shape, band)
            new = make(old, band.top - box.top)
            new = np.where(new == old, np.uint16(KEEP), new)
            before.add(np.where(new == KEEP, np.uint16(KEEP), old))
            after.add(new)
            for column in [column for tile_row, column in tiles if tile_row == row]:
                self._advance((image, row, column), shape, revision, band, new, large=len(tiles) > _LARGE)
        own = entry.target is None
        if entry.kind not in ("undo", "redo"):
            self._forget_undone(image, fixed=entry.state == "fixed")
        self.connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(image, revision, entry.kind, entry.state, entry.target, entry.author, entry.seconds, now()),
                *(entry.origin, entry.model, *box, before.blob() if own else None, after.blob() if own else None),
                entry.key,
            ),
        )
        self.connection.execute("UPDATE image SET revision = ? WHERE id = ?", (revision, image))
        return revision

    def made(self, image: int, key: str | None) -> tuple[int, Window] | None:
        """The revision and the box of the change that was sent with a key; None if it has not come."""
        if key is None:
            return None
        query = "SELECT revision, top, left, height, width FROM entry WHERE image = ? AND key = ?"
        found = self.rows(query, image, key)
        return (int(found[0][0]), Window(*found[0][1:])) if found else None

    def turn(
        self, image: int, base: int, author: str, *, back: bool, key: str | None = None
    ) -> tuple[int, Window] | None:
        """Undo the last patch, or redo the one undone last, within `change`.

        Returns the new revision and the box that changed; None where there is nothing to do.
        """
        if done := self.made(image, key):
            return done
        state, order = ("done", "DESC") if back else ("undone", "ASC")
        found = self.rows(
            "SELECT revision, top, left, height, width, before, after FROM entry "
            f"WHERE image = ? AND state = ? ORDER BY revision {order} LIMIT 1",
            image,
            state,
        )
        if not found:
            return None
        target, *place, before, after = found[0]
        box = Window(*place)
        runs = restored(before if back else after, box)
        entry = Entry(kind="undo" if back else "redo", author=author, target=target, key=key)
        revision = self.write(image, base, entry, box, lambda old, top: runs.rows(top, top + len(old)))
        new_state = "undone" if back else "done"
        self.connection.execute(
            "UPDATE entry SET state = ? WHERE image = ? AND revision = ?", (new_state, image, target)
        )
        return revision, box

    def _forget_undone(self, image: int, *, fixed: bool) -> None:
        """After a new change nothing is redone; after one of files or classes, nothing before it is undone."""
        states = ("undone", "done") if fixed else ("undone",)
        for state in states:
            self.connection.execute("UPDATE entry SET state = 'fixed' WHERE image = ? AND state = ?", (image, state))

    def _advance(
        self, key: Key, shape: tuple[int, int], revision: int, band: Window, new: np.ndarray, *, large: bool
    ) -> None:
        """Bring a tile to a new revision: stage its cells, and note what has to be replayed, or a snapshot."""
        place = _place(key[1], key[2], shape)
        part = new[_overlap(band, place)]
        if (part == KEEP).all():
            return
        tile = self._tile(key, shape)
        cells = tile.cells.copy()
        inside = cells[_overlap(place, band)]
        np.copyto(inside, part, where=part != KEEP)
        pending = tile.pending + 1
        if large or pending >= REPLAYED:
            pending = 0
            self.connection.execute(
                "INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?)", (*key, revision, stored(cells))
            )
            self.connection.execute("DELETE FROM touched WHERE (image, tile_row, tile_column) = (?, ?, ?)", key)
        else:
            self.connection.execute("INSERT INTO touched VALUES (?, ?, ?, ?)", (*key, revision))
        if large:  # they may be more than memory should hold
            self._tiles.pop(key, None)
            self._staged.pop(key, None)
        else:
            self._staged[key] = _Tile(cells, pending)

    def _tile(self, key: Key, shape: tuple[int, int]) -> _Tile:
        """A tile as it is now: staged, in memory, or read."""
        if key in self._staged:
            return self._staged[key]
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        tile = self._replayed(key, shape)
        self._keep(key, tile)
        return tile

    def _keep(self, key: Key, tile: _Tile) -> None:
        self._tiles[key] = tile
        self._tiles.move_to_end(key)
        while len(self._tiles) > self._most:
            self._tiles.popitem(last=False)

    def _replayed(self, key: Key, shape: tuple[int, int]) -> _Tile:
        """A tile from its snapshot and the entries after it."""
        place = _place(key[1], key[2], shape)
        found = self.connection.execute(
            "SELECT cells FROM snapshot WHERE (image, tile_row, tile_column) = (?, ?, ?)", key
        ).fetchone()
        if found:
            cells = restored(found[0], place._replace(top=0, left=0)).rows(0, place.height)
        else:
            cells = np.full((place.height, place.width), EMPTY)
        entries = self.connection.execute(
            "SELECT entry.top, entry.left, entry.height, entry.width, "
            "       CASE entry.kind WHEN 'undo' THEN target.before WHEN 'redo' THEN target.after ELSE entry.after END "
            "FROM touched JOIN entry USING (image, revision) "
            "LEFT JOIN entry AS target ON target.image = entry.image AND target.revision = entry.target "
            "WHERE (touched.image, tile_row, tile_column) = (?, ?, ?) ORDER BY touched.revision",
            key,
        ).fetchall()
        for *box, blob in entries:
            _apply(cells, place, restored(blob, Window(*box)), Window(*box))
        return _Tile(cells, len(entries))


def _apply(cells: np.ndarray, place: Window, runs: Runs, box: Window) -> None:
    """Write the runs of a box into the cells of another place, where they overlap."""
    common = _overlapping(box, place)
    rows = runs.rows(common.top - box.top, common.top - box.top + common.height)
    part = rows[:, common.left - box.left : common.left - box.left + common.width]
    np.copyto(cells[_overlap(place, common)], part, where=part != KEEP)


def now() -> str:
    """The time, UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def bands(shape: tuple[int, int]) -> Iterator[Window]:
    """An image in bands as high as a tile."""
    height, width = shape
    for top in range(0, height, EDGE):
        yield Window(top, 0, min(EDGE, height - top), width)


def _touched(box: Window) -> Iterator[tuple[int, int]]:
    """Rows and columns of the tiles that a box touches."""
    for row in range(box.top // EDGE, -(-(box.top + box.height) // EDGE)):
        for column in range(box.left // EDGE, -(-(box.left + box.width) // EDGE)):
            yield row, column


def _place(row: int, column: int, shape: tuple[int, int]) -> Window:
    top, left = row * EDGE, column * EDGE
    return Window(top, left, min(EDGE, shape[0] - top), min(EDGE, shape[1] - left))


def _overlapping(one: Window, other: Window) -> Window:
    """What two boxes have in common; they overlap."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom = min(one.top + one.height, other.top + other.height)
    right = min(one.left + one.width, other.left + other.width)
    return Window(top, left, bottom - top, right - left)


def _overlap(one: Window, other: Window) -> tuple[slice, slice]:
    """The common part as rows and columns of the first."""
    common = _overlapping(one, other)
    return common._replace(top=common.top - one.top, left=common.left - one.left).slices
