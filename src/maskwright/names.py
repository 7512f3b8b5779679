"""Names of files and samples: their natural order, and short lists of them for messages."""

from __future__ import annotations

import re
from collections.abc import Sequence


def natural(name: str) -> tuple[tuple[int | str, ...], str]:
    """A sorting key under which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)), name


def listed(names: Sequence[str], shown: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
