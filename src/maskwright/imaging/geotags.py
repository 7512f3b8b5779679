"""The tags that lay a GeoTIFF on the map, copied from an image to the mask of its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from maskwright.runs import replacing

GRID_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""Pixel scale, tie points, transformation, and the three tags of keys: OGC GeoTIFF 1.1, section 7."""
NODATA_TAG = 42113

Tag = tuple[int, int, int, object, bool]
"""Code, type, count, value, and whether it is written once: as tifffile writes extra tags."""


def grid_of(image: Path) -> list[Tag]:
    """The tags that lay a GeoTIFF on the map, as tifffile writes them; none for other files."""
    if image.suffix.lower() not in (".tif", ".tiff"):
        return []
    with tifffile.TiffFile(image, _multifile=False) as tif:
        tags = tif.pages.first.tags
        found = [tags[code] for code in GRID_TAGS if code in tags]
        return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in found]


def nodata_tag(value: int) -> Tag:
    """GDAL's tag for the value that means "no data"."""
    text = f"{value}"
    return (NODATA_TAG, 2, len(text) + 1, text, True)


def colormap(palette: bytes) -> np.ndarray:
    """A PNG palette (768 bytes) as a TIFF's: uint16, 3 x 256."""
    colors: np.ndarray = np.frombuffer(palette, np.uint8).reshape(256, 3).T.astype(np.uint16) * 257
    return colors


def write_tiff_masks(path: Path, masks: np.ndarray, palette: bytes, image: Path) -> None:
    """Write class indices (uint8, H x W, or pages x H x W) as a palette TIFF on the grid of an image, atomically.

    255 is declared as "no data" where the image lies on the map.
    """
    grid = grid_of(image)
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            masks,
            photometric="palette",
            colormap=colormap(palette),
            compression="zlib",
            metadata=None,
            extratags=[*grid, nodata_tag(255)] if grid else [],
        )
