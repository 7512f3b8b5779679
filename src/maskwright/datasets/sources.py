"""Where the pixels of an image or a mask come from: a file, one page of it, or a window of it.

A source is a small frozen record: opening a data set makes thousands of them and decodes nothing. Formats whose pixels
do not lie in one image file (a file for each band, polygons in JSON, one picture for each object) subclass it and
override `files`, `header`, `read_image` or `read_mask`, each of which keeps to the window (`images.windowed` and
`images.crop` help); everybody reads through these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from maskwright.imaging import images
from maskwright.imaging.decoders import Header, Window

__all__ = ["THREADS", "Source", "Window", "declared_nodata", "natural"]

THREADS = 8
"""Files read at once: decoding releases the interpreter, and a network drive answers slowly."""


def natural(name: str) -> tuple[tuple[int | str, ...], str]:
    """A sorting key for file names under which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if index % 2 else part.casefold() for index, part in enumerate(parts)), name


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file, one page of it, or a window of either."""

    path: Path
    """The file; of several, the one that messages name."""
    page: int | None = None
    window: Window | None = None
    """What part of the picture; None for all of it."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the pixels depend on."""
        return (self.path,)

    def header(self) -> Header:
        """Size and opacity, without decoding pixels; raises UnreadableFileError if a file is missing or no image."""
        return images.header_of(self.path, self.page, self.window)

    def read_image(self) -> images.Image:
        """The pixels, as `images.read_image` gives them, and raises what it raises."""
        return images.read_image(self.path, self.page, self.window)

    def read_mask(self) -> np.ndarray:
        """Raw values (integers `H x W`, or colours `H x W x 3` uint8), as `images.read_mask` gives and raises."""
        return images.read_mask(self.path, self.page, self.window)

    def cut(self, window: Window) -> Self:
        """The same, restricted to a window that is counted from this source's own top left corner."""
        if self.window is not None:
            window = window._replace(top=window.top + self.window.top, left=window.left + self.window.left)
        return replace(self, window=window)

    def identity(self) -> str:
        """What tells this source from others of the same files, wherever these lie; part of a fingerprint."""
        own = [getattr(self, field.name) for field in fields(self) if field.name not in ("path", "page", "window")]
        parts = [str(self.page), *([str(tuple(self.window))] if self.window else [])]
        return "/".join(parts + [repr(value) for value in own if not _is_paths(value)])


def _is_paths(value: Any) -> bool:
    return isinstance(value, Path) or (
        isinstance(value, tuple) and len(value) > 0 and all(isinstance(item, Path) for item in value)
    )


def declared_nodata(masks: Sequence[Source]) -> tuple[int, ...]:
    """Whole values that mask files declare to mean "no data" (GDAL's tag)."""
    found: set[int] = set()
    for mask in masks:
        if mask.path.suffix.lower() in (".tif", ".tiff") and type(mask) is Source:
            nodata = mask.header().nodata
            if nodata is not None and float(nodata).is_integer():
                found.add(int(nodata))
    return tuple(sorted(found))
