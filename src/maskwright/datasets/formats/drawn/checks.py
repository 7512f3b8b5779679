"""What the values of an annotation file may be, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from maskwright.errors import DataError, MaskwrightError

LONGEST = 1000
"""Letters of a name; of files and classes, none is longer."""


def is_text(value: Any) -> TypeGuard[str]:
    """Whether a value is a name: text that can be shown, and stand in a path."""
    return isinstance(value, str) and len(value) <= LONGEST and "\0" not in value


def is_id(value: Any) -> bool:
    """Whether a value can be what entries refer to each other by."""
    return type(value) in (int, float, str)


def is_size(*values: Any) -> bool:
    """Whether values are lengths in pixels."""
    return all(type(value) is int and 0 < value < 2**31 for value in values)


@contextmanager
def understood(path: Path, expected: str, entry: str = "") -> Iterator[None]:
    """Raise DataError, naming the file and the entry, where the block comes upon a value of another type or size.

    What is checked one by one says more; this is for the values that nobody has thought of.
    """
    try:
        yield
    except MaskwrightError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        found = f"{entry}{type(error).__name__}: {str(error)[:200]}"
        raise DataError(
            f"{path} cannot be read: {found}.",
            expected=f"Expected {expected}.",
            remedy="Export it again, or correct it.",
            file=path,
        ) from error
