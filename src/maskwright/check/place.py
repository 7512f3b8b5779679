"""Where the report of a data set lies: a folder of its own, which says whose it is."""

from __future__ import annotations

from pathlib import Path

from maskwright import runs
from maskwright.errors import OutputError

OWNER = ".data"
"""A file in the folder of a report with the place of the data set."""


def report_folder(data: Path, name: str, within: Path = Path("checks")) -> Path:
    """`within/name`, or with a number behind it where that holds the report of another data set."""
    number = 1
    while True:
        folder = within / (name if number == 1 else f"{name}-{number}")
        if owner(folder) in (None, str(data.resolve())):
            return folder
        number += 1


def owner(folder: Path) -> str | None:
    """The place of the data set whose report a folder holds; None if it holds none."""
    try:
        return (folder / OWNER).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def claim(folder: Path, data: Path, *, overwrite: bool = False) -> None:
    """Write down whose report a folder holds; raises OutputError if it is that of another data set."""
    before = owner(folder)
    if before not in (None, str(data.resolve())) and not overwrite:
        raise OutputError(
            f"{folder} holds the report of {before}.",
            expected="Expected a folder of its own for each data set.",
            remedy="Choose another folder with --out; --overwrite replaces the report.",
            file=folder,
        )
    if before != str(data.resolve()):
        runs.write_text(folder / OWNER, str(data.resolve()))
