"""Decoding TIFF: any number of bands, chunky or planar, integers and floats, pages, palettes, nodata."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import tifffile

from maskwright.data.decoders import Header, Raster

_WHITE_IS_ZERO, _PALETTE = 0, 3
_ALPHA = (1, 2)  # ExtraSamples: associated and unassociated alpha
_ORIENTATION = 274
_NODATA = 42113  # GDAL_NODATA

_SMALL = 16
"""A last axis this short is bands, where a file written without a declared layout has one."""


class LayoutError(ValueError):
    """A readable TIFF that is not one picture."""


def tiff_header(path: Path, page: int | None) -> Header:
    """Read the size, orientation and opacity of a TIFF, or of one of its pages, without its pixels.

    Raises LayoutError if it has several pages and none is asked for, and what tifffile raises if it is damaged.
    """
    with tifffile.TiffFile(path) as tif:
        first, axes, shape = _layout(tif, page)
        sizes = dict(zip(axes, shape, strict=True))
        return Header(
            height=sizes["Y"],
            width=sizes["X"],
            orientation=_orientation(first),
            alpha=_has_alpha(first),
        )


def decode_tiff(path: Path, page: int | None, *, indices: bool) -> Raster:
    """Decode a TIFF, or one of its pages.

    With `indices`, a palette image gives its indices, else its colours (uint8). One-bit images give 0 and 255. Where
    the file says that zero is white, unsigned values are turned round, as every viewer does; not so in files that
    tifffile wrote, which says it of boolean arrays without meaning it.
    Raises LayoutError if it is not one picture, and what tifffile raises if it is damaged or truncated.
    """
    with tifffile.TiffFile(path) as tif:
        first, axes, shape = _layout(tif, page)
        pixels = (tif.series[0] if page is None else first).asarray().reshape(shape)
        for place, axis in enumerate("YX"):
            pixels, axes = np.moveaxis(pixels, axes.index(axis), place), _moved(axes, axis, place)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        if first.photometric == _WHITE_IS_ZERO and pixels.dtype.kind == "u" and not tif.is_shaped:
            pixels = np.array(2 ** max(8, first.bitspersample) - 1, pixels.dtype) - pixels
        if first.photometric == _PALETTE and first.colormap is not None and not indices:
            pixels = (first.colormap >> 8).astype(np.uint8).T[pixels[..., 0]]
        alpha = None
        if _has_alpha(first) and pixels.shape[2] > 1:
            pixels, alpha = pixels[..., :-1], pixels[..., -1]
        return Raster(pixels=pixels, orientation=_orientation(first), alpha=alpha, valid=_valid(first, pixels))


def _layout(tif: tifffile.TiffFile, page: int | None) -> tuple[tifffile.TiffPage, str, tuple[int, ...]]:
    """The page that describes the picture, the picture's axes (of Y, X, S, C) and their lengths."""
    pages = len(tif.pages)
    if page is not None:
        if not 0 <= page < pages:
            raise LayoutError(f"it has {pages} pages, counted from 0, and page {page} was asked for")
        first = tif.pages[page].aspage()
        axes, shape = first.axes, first.shape
    else:
        if len(tif.series) > 1:
            sizes = ", ".join(sorted({"x".join(map(str, series.shape)) for series in tif.series}))
            raise LayoutError(f"it has {pages} pages of different sizes ({sizes}). {_ONE_PICTURE}")
        series = tif.series[0]
        first, axes, shape = series.keyframe, series.axes, series.shape
        if axes == "QYX" and shape[2] <= _SMALL < min(shape[:2]):
            axes = "YXS"  # tifffile.imwrite of H x W x C without a layout: H thin pages
    kept = [(axis, size) for axis, size in zip(axes, shape, strict=True) if size > 1 or axis in "YX"]
    axes, shape = "".join(axis for axis, _ in kept), tuple(size for _, size in kept)
    if not {"Y", "X"} <= set(axes) <= set("YXSC"):
        raise LayoutError(f"it has {pages} pages (axes {axes}, {'x'.join(map(str, shape))}). {_ONE_PICTURE}")
    return first, axes, shape


_ONE_PICTURE = (
    "Expected one picture. Save each page as a file of its own; or, if the pages are bands, save the file with its "
    "bands declared: tifffile.imwrite(path, image_HWC, photometric='minisblack', planarconfig='contig')"
)


def _moved(axes: str, axis: str, place: int) -> str:
    rest = axes.replace(axis, "")
    return rest[:place] + axis + rest[place:]


def _orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get(_ORIENTATION)
    value = int(tag.value) if tag is not None else 1
    return value if 1 <= value <= 8 else 1


def _has_alpha(page: tifffile.TiffPage) -> bool:
    return bool(page.extrasamples) and int(page.extrasamples[-1]) in _ALPHA


def _valid(page: tifffile.TiffPage, pixels: np.ndarray) -> np.ndarray | None:
    """Where not all bands equal GDAL's nodata value; None if the file declares none, or NaN, which is seen anyway."""
    tag = page.tags.get(_NODATA)
    try:
        nodata = float(str(tag.value).strip().strip("\0")) if tag is not None else math.nan
    except ValueError:
        nodata = math.nan
    return None if math.isnan(nodata) else (pixels != nodata).any(axis=2)
