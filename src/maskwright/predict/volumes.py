"""Masks of array files and volumes, written as one file each once all of their pictures or slices are predicted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.sources import Source
from maskwright.imaging.array_masks import mask_suffix, write_array_masks

__all__ = ["Volumes"]


class Volumes:
    """Gathers the masks of array files, and writes each file with its last picture.

    Parameters
    ----------
    images
        Name and source of every image that will be predicted, those of other files too.
    folder
        Where masks are written.
    """

    def __init__(self, images: Sequence[tuple[str, Source]], folder: Path) -> None:
        self._folder = folder
        self._left = Counter(source.path for _, source in images if mask_suffix(source.path) and not source.window)
        self._masks: defaultdict[Path, dict[int, np.ndarray | None]] = defaultdict(dict)

    def holds(self, source: Source) -> bool:
        """Whether a source is a picture of such a file."""
        return source.path in self._left

    def place(self, name: str, source: Source) -> Path:
        """Where the masks of a source's file are written; `name` is that of the picture, its number at the end."""
        stem = name if source.page is None else name.rpartition("-")[0]
        return self._folder / f"{stem}{mask_suffix(source.path)}"

    def add(self, name: str, source: Source, mask: np.ndarray | None) -> Path:
        """Take the mask (uint8 H x W) of a picture, None if it could not be predicted; gives the file that it is for.

        A picture without a mask is unlabelled in a file of several. With the last one the file is written, unless none
        of its pictures was predicted.
        """
        path, masks = self.place(name, source), self._masks[source.path]
        masks[source.page or 0] = mask
        if len(masks) == self._left[source.path]:
            known = next((one for one in masks.values() if one is not None), None)
            if known is not None:
                empty = np.full_like(known, UNLABELLED)
                ordered = [empty if (one := masks[page]) is None else one for page in sorted(masks)]
                write_array_masks(path, ordered, source.path)
            del self._masks[source.path]
        return path
