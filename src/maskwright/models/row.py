"""A row of a table of networks or encoders: the file, the class or function in it, and the numbers of the variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any


@dataclass(frozen=True, init=False)
class Row:
    """What builds one network. Its file is imported when the network is built, not when the table is read."""

    file: str
    """Below `maskwright.models`, without its suffix; a dot stands for a folder."""
    make: str
    """A class or function of that file."""
    numbers: Mapping[str, Any]
    """Arguments that the row fixes; they are no options of the network."""

    def __init__(self, file: str, make: str, **numbers: Any) -> None:
        for name, value in (("file", file), ("make", make), ("numbers", numbers)):
            object.__setattr__(self, name, value)

    @property
    def maker(self) -> Callable[..., Any]:
        """What the row names, with its numbers filled in."""
        return partial(getattr(import_module(f"maskwright.models.{self.file}"), self.make), **self.numbers)
