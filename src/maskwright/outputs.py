"""What a verb may write over: what Maskwright wrote itself, as it wrote it, and nothing else.

A folder of outputs holds a record, `.maskwright.jsonl`: a line for each command with what it was asked, then a line for
each file that it wrote, with its size and SHA-256. (A single file, a contact sheet say, is recorded in
`.maskwright-files.jsonl` beside it: that folder is not one of outputs.) While `guarded` holds, every file that
`runs.replacing` puts there is looked up: one that is not in the record, or has changed since, is a user's, and refused.
The line is written before the file is put in its place, and all of a file's lines count, so that a kill between the two
harms nothing.

Readers pass over folders of outputs, and refuse as truth what a record lists and nobody has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from maskwright import runs
from maskwright.errors import DataError, OutputError

RECORD = runs.OUTPUTS
RECORD_OF_FILES = ".maskwright-files.jsonl"
UNFINISHED = ".unfinished.json"
"""In a folder that is being written as a data set: what was asked."""
DEPTH = 2
"""Folders above a file in which its record may lie: `OUT/pictures/a.png` is in that of `OUT`."""

Written = dict[str, set[tuple[int, str]]]
"""Size and SHA-256 of all that was written under a name, relative to the record's folder."""


@dataclass
class Guard:
    """The record of a folder that is being written into."""

    folder: Path
    asked: Mapping[str, Any]
    overwrite: bool = False
    record_name: str = RECORD
    own: bool = False
    """The folder is a run's: what its record does not know was written before there were records."""
    _known: Written = field(default_factory=dict)
    _begun: bool = False

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self._known = read_record(self.folder / self.record_name)

    def covers(self, path: Path) -> bool:
        """Whether a file belongs to this folder."""
        return _absolute(path).is_relative_to(self.folder)

    def check(self, path: Path) -> None:
        """Raise OutputError if a file stands there that Maskwright did not write, or that was changed since."""
        if self.overwrite or not os.path.lexists(path):
            return
        known = self._known.get(self._name(path))
        if not (known and path.is_file() and _identity(path) in known):
            self._known = read_record(self.folder / self.record_name)  # another process may have written it meanwhile
            known = self._known.get(self._name(path))
        if known and (path.is_file() and _identity(path) in known):
            return
        if self.own and not known:
            return
        raise OutputError(
            f"{path} was changed since Maskwright wrote it." if known else f"{path} was not written by Maskwright.",
            expected="Expected a place where nothing of yours is lost.",
            remedy="Choose another place with --out, or move the file; --overwrite replaces it.",
            file=path,
        )

    def record(self, path: Path, content: Path) -> None:
        """Write down that `path` is about to hold what `content` holds."""
        size, digest = _identity(content)
        lines = [] if self._begun else [dict(self.asked)]
        lines.append({"file": self._name(path), "size": size, "sha256": digest})
        target = self.folder / self.record_name
        self.folder.mkdir(parents=True, exist_ok=True)
        with runs.naming(target), target.open("ab+") as file:
            # A killed process may have left half a line.
            half = file.tell() > 0 and not _ends_with_newline(target)
            file.write("".join(["\n" if half else "", *(json.dumps(line) + "\n" for line in lines)]).encode())
        self._begun = True
        self._known.setdefault(self._name(path), set()).add((size, digest))
        _read.cache_clear()

    def _name(self, path: Path) -> str:
        return _absolute(path).relative_to(self.folder).as_posix()


@contextmanager
def guarded(*folders: Path, asked: Mapping[str, Any], overwrite: bool = False, own: bool = False) -> Iterator[None]:
    """Let nothing in folders of outputs be written over but what Maskwright wrote; `asked` is kept in the record.

    `overwrite` gives leave to replace everything; `own` folders, those of a run, may hold what older versions wrote
    without a record. Raises OutputError where a file of the user's stands in the way.
    """
    for folder in folders:
        runs.sweep(folder)
    with _holding([Guard(folder, asked, overwrite, own=own) for folder in folders]):
        yield


@contextmanager
def guarded_file(path: Path, *, asked: Mapping[str, Any], overwrite: bool = False, own: bool = False) -> Iterator[None]:
    """Let a single output be written over only if Maskwright wrote it; raises OutputError as `guarded`, at once."""
    guard = Guard(path.parent, asked, overwrite, RECORD_OF_FILES, own)
    guard.check(path)
    runs.sweep(path.parent)
    with _holding([guard]):
        yield


@contextmanager
def _holding(guards: list[Guard]) -> Iterator[None]:
    runs.GUARDS.extend(guards)
    try:
        yield
    finally:
        for guard in guards:
            runs.GUARDS.remove(guard)


def require_free(paths: Iterable[Path]) -> None:
    """Raise OutputError, before any work, if a guard that holds will refuse one of these files."""
    for path in paths:
        for guard in runs.GUARDS:
            if guard.covers(path):
                guard.check(path)


def read_record(record: Path) -> Written:
    """What a record lists; nothing if there is none. Lines that make no sense are passed over."""
    found: Written = {}
    try:
        lines = record.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            entry = json.loads(line)
            name, size, digest = entry["file"], int(entry["size"]), str(entry["sha256"])
        except (ValueError, TypeError, KeyError):
            continue
        found.setdefault(str(name), set()).add((size, digest))
    return found


def is_own(path: Path) -> bool:
    """Whether a file is an output of Maskwright that nobody has changed since."""
    place = _absolute(path)
    for folder in list(place.parents)[:DEPTH]:
        for record in (RECORD, RECORD_OF_FILES):
            known = _read(str(folder / record)).get(place.relative_to(folder).as_posix())
            if known and place.is_file() and _identity(place) in known:
                return True
    return False


def refuse_unfinished(place: Path) -> None:
    """Raise DataError if a place is, or lies in, a data set that somebody is writing, or was killed while writing."""
    for folder in (place, *_absolute(place).parents[:DEPTH]):
        if (folder / UNFINISHED).exists():
            raise DataError(
                f"{folder} is not finished: the command that writes it still runs, or was stopped.",
                expected=f"Expected a complete data set; {folder / UNFINISHED} says what was asked.",
                remedy="Give that command again, which completes it.",
                file=folder / UNFINISHED,
            )


def holds_outputs(folder: Path) -> bool:
    """Whether a folder is one of outputs, which readers pass over."""
    return (folder / RECORD).exists()


@lru_cache(4096)
def _read(record: str) -> Written:
    return read_record(Path(record))


def _absolute(path: Path) -> Path:
    """The place itself, links of its folder followed and not its own."""
    return path.parent.resolve() / path.name


def _identity(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
