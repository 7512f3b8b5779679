"""Decoding TIFF: any number of bands, chunky or planar, integers and floats, pages, palettes, nodata."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from maskwright.imaging.decoders import Header, LayoutError, Raster, Window, check_window
from maskwright.imaging.memory import require_room

_WHITE_IS_ZERO, _PALETTE = 0, 3
_ALPHA = (1, 2)  # ExtraSamples: associated and unassociated alpha
_WIDTH, _LENGTH, _DESCRIPTION = 256, 257, 270
_WIDTHS = {3: "H", 4: "I", 16: "Q"}
"""Types of a tag's value, for `struct`."""
_MOST_TAGS = 500
_JPEG = (6, 7, 33007, 34892)
_ORIENTATION = 274
_NODATA = 42113  # GDAL_NODATA

_SMALL = 16
"""A last axis this short is bands, where a file written without a declared layout has one."""


class FirstPage(NamedTuple):
    """What a TIFF says first."""

    height: int
    width: int
    alone: bool
    """Whether it is certainly the only page."""


def first_page(path: Path) -> FirstPage | None:
    """The first page of a TIFF or BigTIFF as stored, without parsing all its tags; None if it is none, or damaged.

    TIFF 6.0, section 2: a header, then directories of 12-byte entries (20 in BigTIFF) that each name the next.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            order = {b"II": "<", b"MM": ">"}[start[:2]]
            big = struct.unpack_from(order + "H", start, 2)[0] == 43
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)
            head, entry, link = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
            file.seek(place)
            (count,) = struct.unpack(order + head, file.read(struct.calcsize(order + head)))
            size = struct.calcsize(order + entry)
            table = file.read(min(count, _MOST_TAGS) * size + struct.calcsize(order + link))
            found: dict[int, int] = {}
            for at in range(0, min(count, _MOST_TAGS) * size, size):
                tag, kind, _, value = struct.unpack_from(order + entry, table, at)
                found[tag] = struct.unpack_from(order + _WIDTHS.get(kind, "I"), value)[0]
            (following,) = struct.unpack_from(order + link, table, count * size)
            file.seek(found.get(_DESCRIPTION, 0))
            alone = following == 0 and file.read(7) != b"ImageJ="
        return FirstPage(found[_LENGTH], found[_WIDTH], alone)
    except (OSError, KeyError, struct.error):
        return None


def count_pages(path: Path) -> int:
    """How many pictures of one size a TIFF stack has; 0 for what is one picture, or several of different kinds."""
    with tifffile.TiffFile(path, _multifile=False) as tif:
        pictures = _pictures(tif)
        if len(pictures) != 1:
            return 0
        series = pictures[0]
        others = [size for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YXSC" and size > 1]
        try:
            _layout(tif, None)
        except LayoutError:
            return others[0] if len(others) == 1 and others[0] == len(series.pages) else 0
        return 0


def segment_pixels(path: Path, page: int | None) -> int:
    """Pixels that have to be decoded for one of them: those of a tile or strip; 0 where the file can be mapped."""
    with tifffile.TiffFile(path, _multifile=False) as tif:
        first, _, _ = _layout(tif, page)
        if first.is_memmappable:
            return 0
        return (first.tilelength * first.tilewidth) if first.is_tiled else first.rowsperstrip * first.imagewidth


def tiff_header(path: Path, page: int | None) -> Header:
    """Read the size, orientation and opacity of a TIFF, or of one of its pages, without its pixels.

    Raises LayoutError if it has several pages and none is asked for, and what tifffile raises if it is damaged.
    """
    with tifffile.TiffFile(path, _multifile=False) as tif:
        first, axes, shape = _layout(tif, page)
        sizes = dict(zip(axes, shape, strict=True))
        return Header(
            height=sizes["Y"],
            width=sizes["X"],
            orientation=_orientation(first),
            alpha=_has_alpha(first) and not _band_marked_alpha(tif, first),
            remark=_BAND_KEPT if _has_alpha(first) and _band_marked_alpha(tif, first) else "",
            nodata=_nodata(first),
        )


def decode_tiff(path: Path, page: int | None, window: Window | None = None, *, indices: bool) -> Raster:
    """Decode a TIFF, one of its pages, or a window of either, as seen: after its orientation.

    Of a window, only the tiles and strips that it touches are read (all of them where the file has an orientation, or
    its bands lie in several pages of an unusual order).
    With `indices`, a palette image gives its indices, else its colours (uint8). One-bit images give 0 and 255. Where
    the file says that zero is white, unsigned values are turned round, as every viewer does; not so in files that
    tifffile wrote, which says it of boolean arrays without meaning it: True stays True.
    Raises LayoutError if it is not one picture or the window reaches beyond it, and what tifffile raises if it is
    damaged or truncated.
    """
    asked = window
    with tifffile.TiffFile(path, _multifile=False) as tif:
        first, axes, shape = _layout(tif, page)
        orientation = _orientation(first)
        asked = window if orientation == 1 else None
        if window is not None and orientation == 1:
            check_window(window, (shape[axes.index("Y")], shape[axes.index("X")]))
        pages = _pages(tif, page, first, axes)
        if window is not None and orientation == 1 and pages:
            pixels = np.concatenate([_read_window(part, window) for part in pages], axis=2)
            window = None
        else:
            require_room(math.prod(shape), first.dtype.itemsize if first.dtype is not None else 1)
            for part in [first] if page is not None else _pictures(tif)[0].pages:
                _check_segments(part)
            pixels = (_pictures(tif)[0] if page is None else first).asarray().reshape(shape)
            for place, axis in enumerate("YX"):
                pixels, axes = np.moveaxis(pixels, axes.index(axis), place), _moved(axes, axis, place)
            pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        if first.photometric == _WHITE_IS_ZERO and pixels.dtype.kind == "u" and not _by_tifffile(tif, first):
            pixels = np.array(2 ** max(8, first.bitspersample) - 1, pixels.dtype) - pixels
        if first.photometric == _PALETTE and first.colormap is not None and not indices:
            pixels = (first.colormap >> 8).astype(np.uint8).T[pixels[..., 0]]
        alpha = None
        if pixels.shape[2] > 1 and _has_alpha(first) and not _band_marked_alpha(tif, first):
            pixels, alpha = pixels[..., :-1], pixels[..., -1]
        nodata = _nodata(first)
        valid = None if nodata is None or math.isnan(nodata) else (pixels != nodata).any(axis=2)
        inside = _internal_mask(tif, first, asked if page is None else None)
        if inside is not None and inside.shape == pixels.shape[:2]:
            valid = inside if valid is None else valid & inside
        raster = Raster(pixels=pixels, orientation=orientation, alpha=alpha, valid=valid, nodata=nodata).oriented()
        return raster if window is None else raster.cut(window)


def _pages(
    tif: tifffile.TiffFile, page: int | None, first: tifffile.TiffPage, axes: str
) -> list[tifffile.TiffPage | tifffile.TiffFrame]:
    """The pages whose samples, one after the other, are the picture's bands; none where it is not made so."""
    if first.imagedepth > 1:
        return []
    series = _pictures(tif)[0]
    if page is not None or (len(series.pages) == 1 and axes in ("YX", "YXS", "SYX")):
        return [first]
    pages = [part for part in series.pages if part is not None]
    whole = len(pages) == len(series.pages) and first.shape == series.shape[-2:]
    return pages if whole and axes in ("SYX", "CYX") else []


def _read_window(page: tifffile.TiffPage | tifffile.TiffFrame, window: Window) -> np.ndarray:
    """A window of one page (h x w x samples), from the tiles or strips that it touches."""
    keyframe = page.keyframe
    assert keyframe is not None, "a page of a series has a keyframe"
    planes, _, height, width, samples = keyframe.shaped
    if keyframe.is_memmappable:
        whole = page.asarray(out="memmap", squeeze=False)
        return np.concatenate([whole[(plane, 0, *window.slices)] for plane in range(planes)], axis=2)
    tile = (keyframe.tilelength, keyframe.tilewidth) if keyframe.is_tiled else (keyframe.rowsperstrip, width)
    down, across = math.ceil(height / tile[0]), math.ceil(width / tile[1])
    places = [
        plane * down * across + row * across + column
        for plane in range(planes)
        for row in range(window.top // tile[0], math.ceil((window.top + window.height) / tile[0]))
        for column in range(window.left // tile[1], math.ceil((window.left + window.width) / tile[1]))
    ]
    tables = {}
    if keyframe.compression in _JPEG:
        tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
    _check_segments(page, places)
    require_room(window.height * window.width, planes * samples * _itemsize(keyframe))
    pixels = np.empty((planes, window.height, window.width, samples), keyframe.dtype)
    segments = page.parent.filehandle.read_segments(
        [page.dataoffsets[place] for place in places], [page.databytecounts[place] for place in places], indices=places
    )
    for content, place in segments:
        segment, (plane, _, top, left, _), (_, rows, columns, _) = keyframe.decode(content, place, **tables)
        ys = slice(max(top, window.top), min(top + rows, height, window.top + window.height))
        xs = slice(max(left, window.left), min(left + columns, width, window.left + window.width))
        part = pixels[
            plane, ys.start - window.top : ys.stop - window.top, xs.start - window.left : xs.stop - window.left
        ]
        if segment is None:  # a sparse file leaves out what holds nothing
            part[...] = keyframe.nodata
        else:
            part[...] = segment[0, ys.start - top : ys.stop - top, xs.start - left : xs.stop - left]
    return np.moveaxis(pixels, 0, 2).reshape(window.height, window.width, planes * samples)


def _check_segments(page: tifffile.TiffPage | tifffile.TiffFrame | None, places: Sequence[int] | None = None) -> None:
    """Raise TooLargeError where a tile or strip of a page is too large, by the file's tags or by its own header."""
    keyframe = None if page is None else page.keyframe
    if page is None or keyframe is None or keyframe.is_memmappable:
        return
    rows, columns = min(keyframe.rowsperstrip, keyframe.imagelength), keyframe.imagewidth
    if keyframe.is_tiled:
        rows, columns = keyframe.tilelength * keyframe.tiledepth, keyframe.tilewidth
    each = (keyframe.samplesperpixel if keyframe.planarconfig == 1 else 1) * _itemsize(keyframe)
    require_room(rows * columns, each)
    if keyframe.compression in _PLAIN:
        return
    from maskwright.imaging.codestreams import require_room_for

    file = page.parent.filehandle
    for place in range(len(page.dataoffsets)) if places is None else places:
        file.seek(page.dataoffsets[place])
        require_room_for(file.read(page.databytecounts[place]), each)


def _itemsize(page: tifffile.TiffPage) -> int:
    return page.dtype.itemsize if page.dtype is not None else 1


_PLAIN = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000)
"""Compressions of bytes, of which tifffile takes no more than a segment has: the others hold pictures of their own."""


def _layout(tif: tifffile.TiffFile, page: int | None) -> tuple[tifffile.TiffPage, str, tuple[int, ...]]:
    """The page that describes the picture, the picture's axes (of Y, X, S, C) and their lengths."""
    pages = len(tif.pages)
    if page is not None:
        if not 0 <= page < pages:
            raise LayoutError(f"it has {pages} pages, counted from 0, and page {page} was asked for")
        first = tif.pages[page].aspage()
        axes, shape = first.axes, first.shape
    else:
        pictures = _pictures(tif)
        if len(pictures) > 1:
            sizes = ", ".join(sorted({"x".join(map(str, series.shape)) for series in pictures}))
            raise LayoutError(f"it has {pages} pages of different sizes ({sizes}). {_ONE_PICTURE}")
        series = pictures[0]
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


def _pictures(tif: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """The series of pages that are pictures: not those that say where another has data (NewSubfileType 4)."""
    kept = [series for series in tif.series if not series.keyframe.subfiletype & _MASK_PAGE]
    return kept or list(tif.series)


def _internal_mask(tif: tifffile.TiffFile, first: tifffile.TiffPage, window: Window | None) -> np.ndarray | None:
    """Where a picture has data (H x W bool, or of a window), as a page of its own in the file says (GDAL, COG)."""
    size = first.imagelength, first.imagewidth
    for page in tif.pages:
        own = page.aspage()
        if own.subfiletype & _MASK_PAGE and (own.imagelength, own.imagewidth) == size:
            _check_segments(own)
            require_room(size[0] * size[1])
            mask = own.asarray().reshape(size) if window is None else _read_window(own, window)[..., 0]
            return np.asarray(mask != 0)
    return None


def _by_tifffile(tif: tifffile.TiffFile, first: tifffile.TiffPage) -> bool:
    """Whether tifffile wrote the file, which says "zero is white" of every boolean array."""
    return bool(tif.is_shaped or (first.bitspersample == 1 and "tifffile" in str(first.tags.valueof(305, ""))))


_MASK_PAGE = 4
_OPAQUE = 0.9
"""Fraction of an alpha channel's pixels that are fully transparent or opaque, at least; soft edges are few."""
_BAND_KEPT = "kept with their last band, which the file marks as opacity but which holds many values"


def _band_marked_alpha(tif: tifffile.TiffFile, first: tifffile.TiffPage) -> bool:
    """Whether the last band is marked as opacity and is none: GDAL marks the fourth of any four 8-bit bands so."""
    if first.samplesperpixel < 4 or first.dtype is None or first.dtype.kind != "u":
        return False
    height, width = first.imagelength, first.imagewidth
    if height * width * first.samplesperpixel <= 4 * _SAMPLED:
        _check_segments(first)
        last = first.asarray()[..., -1] if first.planarconfig == 1 else first.asarray()[-1]
    else:  # a few windows over all of it: every window of a raster must be read alike
        edge = min(height, width, 256)
        corners = [(height * i // 4 - edge // 2, width * j // 4 - edge // 2) for i in (1, 2, 3) for j in (1, 2, 3)]
        parts = [
            _read_window(first, Window(min(max(0, top), height - edge), min(max(0, left), width - edge), edge, edge))
            for top, left in corners
        ]
        last = np.concatenate([part[..., -1].ravel() for part in parts])
    top = np.iinfo(first.dtype).max
    extreme = float(((last == 0) | (last == top)).mean())
    return extreme < _OPAQUE and len(np.unique(last)) > 16


_SAMPLED = 4_000_000


def _nodata(page: tifffile.TiffPage) -> float | None:
    """GDAL's nodata value (NaN if that is it); None if the file declares none, or no number."""
    tag = page.tags.get(_NODATA)
    try:
        return None if tag is None else float(str(tag.value).strip().strip("\0"))
    except ValueError:
        return None
