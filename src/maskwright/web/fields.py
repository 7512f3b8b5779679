"""What a request gives, as the values that it should be; a ProjectError where it is not."""

from __future__ import annotations

import re
from typing import Any

from maskwright.errors import ProjectError
from maskwright.imaging.decoders import Window


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ProjectError(f"Expected numbers, and {text[:40]!r} was given.") from None


def box_of(text: str) -> Window:
    """A box: top, left, height, width."""
    parts = text.split(",")
    try:
        top, left, height, width = (int(part) for part in parts)
    except ValueError:
        raise ProjectError("Expected a box: top, left, height, width.") from None
    return Window(top, left, height, width)


def integer(content: dict[str, Any], name: str) -> int:
    """A whole number of a JSON object."""
    value = content.get(name)
    if not isinstance(value, int):
        raise ProjectError(f"Expected a whole number as {name}.")
    return value


def class_name(text: str) -> str:
    """The name of a class."""
    if not text.strip():
        raise ProjectError("The class has no name.", remedy="Give it one.")
    return text.strip()[:60]


def color(content: dict[str, Any]) -> str:
    """The colour of a JSON object, "#rrggbb"."""
    found = str(content.get("color")).lower()
    if not re.fullmatch("#[0-9a-f]{6}", found):
        raise ProjectError(f"{found[:40]!r} is no colour.", expected='Expected one such as "#0072b2".')
    return found
