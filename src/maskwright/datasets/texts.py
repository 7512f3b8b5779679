"""Lists and tables as text, in whatever encoding they were written, and the paths in them."""

from __future__ import annotations

import codecs
from pathlib import Path

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
