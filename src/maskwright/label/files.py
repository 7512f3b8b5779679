"""Label files: what others read of a project. They are written whole, from the journal, and never an image file.

labels/<stem>.png           palette PNG: class values, 255 unlabelled
labels/<stem>.tif           instead, for stacks (a page for each page), images above 8192 pixels a side (tiles), and
                            GeoTIFF (on the image's grid)
labels/sources/<stem>.*     where each pixel's label came from: the values of `patches.Origin`
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as PillowImage

from maskwright.datasets.classes import UNLABELLED
from maskwright.imaging.decoders import Window
from maskwright.imaging.geotags import colormap, grid_of, nodata_tag
from maskwright.label.journal import EDGE, bands
from maskwright.runs import replacing

BACKUPS = "backups"
"""The folder of a project for what was replaced."""

LARGEST_PNG = 8192
"""An image with a longer side has labels in a tiled TIFF, of which programs read parts."""

_DEFLATE = "zlib"
_BIG = 2**31
"""Bytes of pixels from which a TIFF is written with 64-bit places."""

_ORIGIN_COLORS = ((224, 224, 224), (0, 114, 178), (230, 159, 0), (204, 121, 167))
ORIGIN_PALETTE = bytes(value for color in _ORIGIN_COLORS for value in color).ljust(768, b"\0")
"""Colours of the values of `patches.Origin`."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page to write: its size, and its values by bands of rows."""

    shape: tuple[int, int]
    band: Callable[[Window], np.ndarray]
    """Takes a band of the page (whole rows); returns its values, uint8."""


def place_of(labels: Path, image: Path, shape: tuple[int, int], *, stack: bool) -> Path:
    """The label file of an image (or stack)."""
    plain = not stack and max(shape) <= LARGEST_PNG and not grid_of(image)
    return labels / f"{image.stem}{'.png' if plain else '.tif'}"


def existing(labels: Path, name: str) -> list[Path]:
    """Files in the labels folder that are an image's, whatever their format."""
    return [path for suffix in (".png", ".tif", ".tiff", ".bmp") if (path := labels / f"{name}{suffix}").is_file()]


def write(
    path: Path, pages: Sequence[Page], palette: bytes, image: Path, announce: Callable[[str], None] = lambda mark: None
) -> str:
    """Write values (uint8) with a palette, atomically, and return the file's mark.

    `announce` gets the mark before the file takes its place: whoever is killed in between can tell it by that.
    Raises OSError, as on a full disk; the old file then stays.
    """
    with replacing(path) as temporary:
        if path.suffix == ".png":
            (page,) = pages
            picture = PillowImage.fromarray(np.concatenate([page.band(band) for band in bands(page.shape)]))
            picture.putpalette(palette)
            picture.save(temporary, format="PNG")
        else:
            _write_tiff(temporary, pages, palette, image)
        mark = mark_of(temporary)
        announce(mark)
    return mark


def mark_of(path: Path) -> str:
    """A hash of a file's content, which tells what the store wrote from what others did."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _write_tiff(path: Path, pages: Sequence[Page], palette: bytes, image: Path) -> None:
    height, width = pages[0].shape
    grid = grid_of(image)
    tifffile.imwrite(
        path,
        (tile for page in pages for tile in _tiles(page)),
        shape=(height, width) if len(pages) == 1 else (len(pages), height, width),
        dtype=np.uint8,
        tile=(EDGE, EDGE),
        photometric="palette",
        colormap=colormap(palette),
        compression=_DEFLATE,
        bigtiff=len(pages) * height * width > _BIG,
        metadata=None,
        extratags=[*grid, nodata_tag(UNLABELLED)] if grid else [],
    )


def _tiles(page: Page) -> Iterator[np.ndarray]:
    """The tiles of a page, in rows; those at the edge are filled up."""
    for band in bands(page.shape):
        rows = page.band(band)
        for left in range(0, band.width, EDGE):
            tile = np.full((EDGE, EDGE), UNLABELLED, np.uint8)
            part = rows[:, left : left + EDGE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile
