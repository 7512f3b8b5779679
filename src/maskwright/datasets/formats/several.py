"""Several mask files for one image: one for each class, or one for each object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.datasets.sources import Source
from maskwright.errors import SizeMismatchError
from maskwright.imaging import images
from maskwright.imaging.decoders import Header


@dataclass(frozen=True, kw_only=True)
class Layered(Source):
    """Masks of one class each, one over the other: 0 where all are 0, else the number of the last that is not.

    `path` is the first of them. Objects of one class are several paths with one number.
    """

    paths: tuple[Path, ...]
    numbers: tuple[int, ...]
    """The value that each path paints, from 1."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All masks."""
        return self.paths

    def header(self) -> Header:
        """As `Source.header`, of the first mask."""
        return images.header_of(self.path, self.page, self.window)

    def read_image(self) -> images.Image:
        """Masks are no image."""
        raise AssertionError("layers are read as a mask")

    def layers(self) -> list[tuple[int, np.ndarray]]:
        """The number of each mask, and where it is not 0 (H x W bool).

        Raises SizeMismatchError if masks differ in size, and what reading them raises.
        """
        found: list[tuple[int, np.ndarray]] = []
        for path, number in zip(self.paths, self.numbers, strict=True):
            inside = foreground(images.read_mask(path, self.page, self.window))
            if found and inside.shape != found[0][1].shape:
                height, width = found[0][1].shape
                raise SizeMismatchError(
                    f"{path} is {inside.shape[1]} x {inside.shape[0]} pixels, and {self.paths[0]} is {width} x "
                    f"{height}.",
                    expected="Expected one size for all masks of an image.",
                    remedy="Export it again.",
                    file=path,
                )
            found.append((number, inside))
        return found

    def read_mask(self) -> np.ndarray:
        """The layers painted one over the other, uint8 or uint16."""
        layers = self.layers()
        painted = np.zeros(layers[0][1].shape, np.uint8 if max(self.numbers) < 256 else np.uint16)
        for number, inside in layers:
            painted[inside] = number
        return painted


def foreground(raw: np.ndarray) -> np.ndarray:
    """Where a mask of one class is not 0 (H x W bool), whether its object is 1, 255 or a colour.

    Of soft edges (more than two values), what is above half of the largest counts.
    """
    grey = raw.max(axis=2) if raw.ndim == 3 else raw
    top = int(grey.max(initial=0))
    inside: np.ndarray = grey > (top // 2 if top > 3 else 0)
    return inside
