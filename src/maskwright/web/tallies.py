"""What the labelling page counts: which tabs are open, and pixels of each class."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.label.journal import bands
from maskwright.label.store import ImageState, Project

PRESENT = 6.0
"""Seconds after which a tab that has not asked is taken for closed."""


class Tabs:
    """Which tabs look at which image."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, str, float]] = {}

    def see(self, tab: str, image: int | None, person: str) -> list[str]:
        """Note that a tab shows an image; returns who else has it open, once for each tab."""
        now = time.monotonic()
        self._seen[tab] = (image, person, now)
        self._seen = {one: seen for one, seen in self._seen.items() if now - seen[2] < PRESENT}
        return sorted(
            seen[1] for one, seen in self._seen.items() if one != tab and image is not None and seen[0] == image
        )


class Counts:
    """Pixels of each class in each image; counted again where an image has changed."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[int, tuple[int, dict[int, int]]] = {}

    def __call__(self) -> dict[str, Any]:
        """Pixels by image and value (no 255), both as text."""
        for state in self._project.images():
            known = self._known.get(state.id)
            if known is None or known[0] != state.revision:
                self._known[state.id] = (state.revision, self._count(state))
        return {str(number): {str(v): n for v, n in found.items()} for number, (_, found) in self._known.items()}

    def _count(self, state: ImageState) -> dict[int, int]:
        found: Counter[int] = Counter()
        if state.revision:
            for band in bands(state.shape):
                each = np.bincount(self._project.read(state.name, band).values.ravel(), minlength=256)
                found.update({int(value): int(each[value]) for value in np.flatnonzero(each) if value != UNLABELLED})
        return dict(found)
