"""The database of a labelling project, `FOLDER/maskwright.sqlite`: its tables, and opening it so that nothing is lost.

The database is the truth and the only journal; label files are written from it. A change is acknowledged after its
COMMIT returned, and with WAL and synchronous=FULL every COMMIT flushes the log to disk first (sqlite.org/pragma.html).

    image        one row for each image, or page of a stack: status, and the revision that every change counts up
    entry        the journal: what was painted, accepted, undone or migrated, with the cells before and after it
    touched      which entries have to be replayed onto a tile's snapshot; at most `journal.REPLAYED` a tile
    snapshot     cells of a tile (512 x 512) as of a revision
    class        value (the index in label files: it never moves and is never used again), name, colour, retired
    class_change the log of class changes, with the table before and the backup's name
    task         tiles that the queue asks for, with status, note and score by model
    validation   the frozen validation set
    second_label labels drawn a second time, kept apart, to measure agreement
    round        models trained on the project, with scores, labelled pixels and seconds
    fact         single facts, by name
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskwright.errors import ProjectError

VERSION = 2
APPLICATION = 0x4D57_4C42
"""`PRAGMA application_id`: tells a project from other SQLite files."""

STATUSES = ("open", "done", "skipped", "flagged")

TABLES = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE image (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,              -- the stem; of a page, the stem and -000, -001, ...
    file TEXT NOT NULL,                     -- from the project's folder
    page INTEGER,                           -- of a stack, from 0
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'done', 'skipped', 'flagged')),
    note TEXT NOT NULL DEFAULT '',
    revision INTEGER NOT NULL DEFAULT 0,
    written INTEGER NOT NULL DEFAULT 0,     -- the revision that the label file holds, or a later one
    labelled INTEGER NOT NULL DEFAULT 0,    -- pixels with a class in the label file
    mark TEXT NOT NULL DEFAULT '',          -- hash of the label file as it was written
    next_mark TEXT NOT NULL DEFAULT ''      -- hash of the one that is about to replace it
);

CREATE TABLE entry (
    image INTEGER NOT NULL REFERENCES image (id),
    revision INTEGER NOT NULL,              -- of the image, after this
    kind TEXT NOT NULL CHECK (kind IN ('patch', 'undo', 'redo', 'file', 'class')),
    state TEXT NOT NULL CHECK (state IN ('done', 'undone', 'fixed')),  -- fixed: neither undone nor redone any more
    target INTEGER,                         -- of undo and redo: the patch's revision
    author TEXT NOT NULL,
    seconds REAL NOT NULL,                  -- that it took the author
    at TEXT NOT NULL,                       -- UTC, ISO 8601
    origin INTEGER NOT NULL,                -- 0 unlabelled, 1 human, 2 script, 3 model-accepted
    model TEXT,                             -- hash of the model whose pixels were accepted
    top INTEGER NOT NULL, left INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    before BLOB,                            -- runs of cells (patches.py); none for undo and redo
    after BLOB,
    key TEXT,                               -- of whoever sent it, to tell a change that is sent again
    PRIMARY KEY (image, revision),
    CHECK (origin != 3 OR model IS NOT NULL),
    CHECK ((kind IN ('undo', 'redo')) = (target IS NOT NULL))
);
CREATE INDEX entry_state ON entry (image, state, revision);
CREATE UNIQUE INDEX entry_key ON entry (key) WHERE key IS NOT NULL;

CREATE TABLE touched (
    image INTEGER NOT NULL, tile_row INTEGER NOT NULL, tile_column INTEGER NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (image, tile_row, tile_column, revision)
) WITHOUT ROWID;

CREATE TABLE snapshot (
    image INTEGER NOT NULL, tile_row INTEGER NOT NULL, tile_column INTEGER NOT NULL,
    revision INTEGER NOT NULL, cells BLOB NOT NULL,
    PRIMARY KEY (image, tile_row, tile_column)
);

CREATE TABLE class (
    value INTEGER PRIMARY KEY CHECK (value BETWEEN 0 AND 254),
    name TEXT NOT NULL,
    color TEXT NOT NULL,                    -- "#rrggbb"
    retired TEXT                            -- why it is gone: "merged into 2", "deleted"
);

CREATE TABLE class_change (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL, author TEXT NOT NULL,
    what TEXT NOT NULL,                     -- a sentence
    before TEXT NOT NULL, after TEXT NOT NULL,  -- classes.toml
    pixels INTEGER NOT NULL,
    backup TEXT NOT NULL                    -- file name in backups/; empty where no pixel changed
);

CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    image INTEGER NOT NULL REFERENCES image (id),
    top INTEGER NOT NULL, left INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'done', 'skipped', 'flagged')),
    note TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',        -- why it was chosen: "random", "uncertain", "second label"
    model TEXT, score REAL,                 -- hash of the model that scored it
    author TEXT NOT NULL DEFAULT '', seconds REAL NOT NULL DEFAULT 0,
    UNIQUE (image, top, left, height, width, reason)
);

CREATE TABLE validation (
    image INTEGER PRIMARY KEY REFERENCES image (id), at TEXT NOT NULL, author TEXT NOT NULL
);

CREATE TABLE second_label (
    id INTEGER PRIMARY KEY,
    image INTEGER NOT NULL REFERENCES image (id),
    top INTEGER NOT NULL, left INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    author TEXT NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL, cells BLOB NOT NULL
);

CREATE TABLE round (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL, model TEXT NOT NULL, run TEXT NOT NULL,
    labelled_pixels INTEGER NOT NULL, seconds REAL NOT NULL, scores TEXT NOT NULL  -- JSON
);
"""

_FROM_1 = """
BEGIN;
ALTER TABLE entry ADD COLUMN key TEXT;
CREATE UNIQUE INDEX entry_key ON entry (key) WHERE key IS NOT NULL;
PRAGMA user_version = 2;
COMMIT;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the database of a project, ready for changes.

    Raises
    ------
    ProjectError
        It is another program's database, a newer Maskwright's, or damaged.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        with explained(path):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                connection.executescript(
                    f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
                )
            elif application != APPLICATION:
                raise ProjectError(
                    f"{path} is not the database of a labelling project.",
                    expected="Expected a file that Maskwright made.",
                    remedy="Move it elsewhere if another program made it.",
                    file=path,
                )
            elif version > VERSION:
                raise ProjectError(
                    f"{path} has schema version {version}, and this Maskwright knows {VERSION}.",
                    remedy="Install a newer one: pip install --upgrade maskwright",
                    file=path,
                )
            elif version == 1:
                connection.executescript(_FROM_1)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Commit what the block does, all of it or nothing; when this ends well, it is on disk."""
    with explained(path):
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the operating system say of a full or failing disk into a ProjectError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # Beside "full", a limit on the file's size and a failing disk both show as an I/O error.
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise not_written(path, str(error)) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise ProjectError(
                f"{path} is damaged: {error}.",
                remedy="Restore it from a copy, or from the newest file in backups/.",
                file=path,
            ) from error
        raise
    except OSError as error:
        raise not_written(path, error.strerror or str(error)) from error


def not_written(path: Path, reason: str) -> ProjectError:
    """The error for a file that the disk did not take."""
    return ProjectError(
        f"{path} could not be written: {reason}.",
        expected="Everything that was acknowledged before is kept; this change is not.",
        remedy="Make room on the disk, then repeat it.",
        file=path,
    )
