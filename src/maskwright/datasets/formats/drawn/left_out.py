"""What a reader of drawn shapes draws and what it leaves out, counted, so that no object is lost in silence."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from maskwright.datasets.formats.drawn.shapes import Polygon, Shape
from maskwright.datasets.formats.layout import counted
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.sources import Window
from maskwright.errors import DataError

OUTSIDE = "it lies outside of its image"
WITHIN_ONE = "it lies within the first pixel, as places in fractions of width and height do"
NO_PIXEL = "it covers no pixel"

Size = tuple[int, int]
"""Height and width of an image."""


@dataclass
class LeftOut:
    """Counts the objects of a data set, and says once what became of them."""

    reasons: Counter[str] = field(default_factory=Counter)
    """What is passed over as it should be, and parts of objects that have others."""
    first: dict[str, str] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    """Objects of which nothing can be drawn, by reason."""
    drawn: int = 0
    boxes: int = 0
    """Drawn objects that are rectangles along the axes."""

    def add(self, reason: str, where: str) -> None:
        """One more thing that is passed over as it should be, or a part of an object that has others."""
        self.reasons[reason] += 1
        self.first.setdefault(reason, where)

    def lose(self, reason: str, where: str) -> None:
        """One more object of which nothing can be drawn."""
        self.lost[reason] += 1
        self.first.setdefault(reason, where)

    def draw(self, shapes: tuple[Shape, ...], size: Size | None, where: str) -> bool:
        """One more object that is drawn as these shapes, if one of them covers a pixel; whether it does."""
        missing = [why_nothing(shape, size) for shape in shapes]
        if all(missing):
            self.lose(missing[0], where)
            return False
        self.drawn += 1
        self.boxes += all(isinstance(shape, Polygon) and shape.is_box for shape in shapes)
        return True

    def notes(self, root: Path, problems: list[Problem] | None = None) -> list[str]:
        """A sentence for each reason; warnings are noted in `problems`, if it is a list.

        Raises DataError if objects are lost, or passed over, and none is left.
        """
        notes = [f"{root}: left out: {n} {reason}, first in {self.first[reason]}" for reason, n in self.reasons.items()]
        found = [
            Problem(
                level="warning" if self.drawn else "error",
                kind="lost-objects",
                files=(root,),
                what=f"{root}: {counted(n, 'object')} of {n + self.drawn} cannot be drawn: {reason}, first in "
                f"{self.first[reason]}.",
                remedy="Draw them again, or remove them.",
            )
            for reason, n in self.lost.items()
        ]
        if self.reasons and not self.drawn and not self.lost:
            passed = "; ".join(f"{n} {reason}, first in {self.first[reason]}" for reason, n in self.reasons.items())
            found.append(
                Problem(
                    level="error",
                    kind="lost-objects",
                    files=(root,),
                    what=f"{root}: nothing can be drawn; there are only {passed}.",
                    remedy="Draw outlines: they say which pixels belong to an object.",
                )
            )
        if self.drawn == self.boxes > 0:
            found.append(
                Problem(
                    level="warning",
                    kind="boxes",
                    files=(root,),
                    what=f"{root}: all {counted(self.boxes, 'shape')} are rectangles (boxes): a model will learn "
                    "boxes, not outlines.",
                    remedy="Where objects are not rectangles, draw their outlines.",
                )
            )
        for problem in found:
            if problems is not None:
                problems.append(problem)
            elif problem.level == "error":
                report(None, problem, DataError)
            else:
                notes.append(f"warning: {problem.what} {problem.remedy}")
        return notes


def why_nothing(shape: Shape, size: Size | None) -> str:
    """Why a shape covers no pixel of an image of that size (of any size, if None); "" if it covers one."""
    left, top, right, bottom = shape.bounds
    if not math.isfinite(left + top + right + bottom):
        return NO_PIXEL
    if size is not None and (left >= size[1] or top >= size[0] or right <= 0 or bottom <= 0):
        return OUTSIDE
    if isinstance(shape, Polygon) and min(left, top) >= 0 and max(right, bottom) <= 1 and size != (1, 1):
        return WITHIN_ONE
    thick = shape.area >= _THICK * (right - left + bottom - top)
    inside = size is None or (left >= 0 and top >= 0 and right <= size[1] and bottom <= size[0])
    if thick and inside:
        return ""
    height, width = size or (math.ceil(bottom) + 1, math.ceil(right) + 1)
    patch = shape.patch(Window(0, 0, height, width))
    return "" if patch is not None and bool(patch.inside.any()) else NO_PIXEL


_THICK = 2
"""A shape of this mean thickness, at least, covers pixels without a doubt: for others, they are counted."""
