"""What the values of an annotation file may be, whoever wrote it."""

from __future__ import annotations

from typing import Any, TypeGuard

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
