"""Lists and tables as text, in whatever encoding they were written, and the paths in them."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from pathlib import Path

from maskwright.errors import DataError

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LONGEST_LINE = 10_000
_LONGEST_NAME, _LONGEST_PATH = 255, 4095
"""Bytes of a file's name and of a path, on any system."""


def read_text(path: Path) -> str:
    """The text of a file: by its byte order mark, else UTF-8, else Latin-1, as older programs write names.

    Line ends are those of Unix. Raises OSError if the file cannot be read.
    """
    return _decoded(path.read_bytes(), final=True)


def first_line(path: Path) -> str:
    """The first line of a file, as `read_text` reads it, or the beginning of a very long one."""
    with path.open("rb") as file:
        return _decoded(file.read(_LONGEST_LINE), final=False).split("\n", 1)[0]


def read_rows(path: Path, separator: str = ",") -> list[tuple[int, list[str]]]:
    """The rows of a CSV file below its header, without blank ones, with their line numbers; cells of any length.

    Raises DataError if it cannot be read as one.
    """
    before = csv.field_size_limit(sys.maxsize)
    try:
        with io.StringIO(read_text(path), newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            next(reader, None)
            return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {error}.",
            expected="Expected a CSV file.",
            remedy="Save it anew.",
            file=path,
        ) from None
    finally:
        csv.field_size_limit(before)


def may_be_path(text: str) -> bool:
    """Whether text can name a file at all: systems raise errors of their own for what is too long."""
    if "\0" in text or len(text) > _LONGEST_PATH:
        return False
    parts = text.replace("\\", "/").split("/")
    return all(len(part.encode(errors="replace")) <= _LONGEST_NAME for part in parts)


def _decoded(content: bytes, *, final: bool) -> str:
    coding = next((coding for mark, coding in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = codecs.getincrementaldecoder(coding)().decode(content, final)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")
