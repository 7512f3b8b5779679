"""Values that masks hold for "no data" without declaring it."""

from __future__ import annotations

from collections.abc import Sequence

from maskwright.datasets.classes import UNLABELLED, Value

_HIGHEST = (32767, 65535, 2**31 - 1)
"""The largest numbers of their types."""


def fill_values(values: Sequence[Value]) -> tuple[int, ...]:
    """Those of a set's values that are hardly classes, where two others are left: -9999, -1, 65535, ..."""
    numbers = [value for value in values if isinstance(value, int)]
    fill = tuple(value for value in numbers if value < 0 or value in _HIGHEST)
    others = [value for value in numbers if value not in fill]
    return fill if len(others) >= 2 and max(others) <= UNLABELLED and len(numbers) == len(values) else ()
