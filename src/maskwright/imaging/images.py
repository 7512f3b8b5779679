"""Reading images and masks in their native values, and writing masks and pictures.

Layout: H height, W width, C channels, rows first. PNG, JPEG, TIFF, BMP, WebP, JPEG 2000 and DICOM; the content decides,
not the suffix. EXIF orientation is applied everywhere, to masks too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from maskwright.errors import MaskwrightError, UnreadableFileError
from maskwright.imaging.decoders import Header, LayoutError, Raster, Window, check_window, decode, read_header, sniff
from maskwright.imaging.memory import named, require_room

ARRAY_SUFFIXES = frozenset({".npy", ".npz", ".mat", ".h5", ".hdf5", ".nii", ".nii.gz", ".nrrd", ".seg.nrrd"})
"""Suffixes of files that hold arrays, and may hold several pictures (`arrays`)."""
IMAGE_SUFFIXES = ARRAY_SUFFIXES | frozenset(
    {
        ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".ome.tif", ".ome.tiff", ".bmp", ".webp", ".jp2", ".j2k", ".dcm",
        ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".ppm.gz", ".pgm.gz",
    }
)  # fmt: skip
"""Suffixes of image files, in lower case."""

_PACKED = (".ppm.gz", ".pgm.gz")
_DOUBLE = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix.count(".") > 1)


def split_suffix(name: str) -> tuple[str, str]:
    """A file name's stem and its suffix in lower case; `.ome.tif`, `.nii.gz` and the like are one suffix."""
    if name.count(".") > 1:
        lower = name.lower()
        double = next((suffix for suffix in _DOUBLE if lower.endswith(suffix) and len(name) > len(suffix)), None)
        if double is not None:
            return name[: -len(double)], double
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix.lower()}") if dot and stem else (name, "")


NO_LABEL = -(2**31)
"""What `read_mask` gives where a mask of floating point numbers holds NaN: unlabelled, in every class table."""

ARRAYS = ("npy", "npz", "mat", "hdf5", "nifti", "nrrd")
"""Kinds of files that hold arrays, some with several pictures."""

EXTREME = 1e30
"""Floating point numbers from here on are no measurements: nodata, often written with other digits than declared."""

_START = 132
"""Bytes that show the format."""


@dataclass(frozen=True)
class Image:
    """An image in its native values."""

    pixels: np.ndarray
    """H x W x C: uint8, uint16 or float32."""
    valid: np.ndarray | None = None
    """H x W bool, False where the source has no data; None where all pixels are valid."""
    nodata: float | None = None
    """The value that the file declares to mean "no data", in native values, whether or not a pixel has it."""


def read_image(path: Path, page: int | None = None, window: Window | None = None) -> Image:
    """Read an image, or a window of it: of a TIFF only the tiles or strips that the window touches are decoded.

    Integers of 8 and 16 unsigned bits stay what they are; other types become float32; one-bit images give 0 and 255.
    Palette images give their colours. Opacity is not a channel: pixels with alpha 0 are invalid, and an alpha that is
    the same everywhere is taken for absent. Invalid are also pixels where a band is not finite or beyond `EXTREME`, or
    where all bands have the nodata value that GDAL wrote; both are 0 in the result.

    Raises
    ------
    UnreadableFileError
        The file is missing, no image, damaged or truncated; or a TIFF of several pages, without `page`.
    """
    raster = _decoded(path, page, window, indices=False)
    pixels, valid = raster.pixels, raster.valid
    if pixels.dtype.kind not in "uif":
        raise _unreadable(
            path, f"its values are of type {pixels.dtype}", "Expected integers or floating point numbers."
        )
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32)
        finite = (np.abs(pixels) < EXTREME).all(axis=2)  # NaN is not
        if not finite.all():
            valid = finite if valid is None else valid & finite
    if valid is not None and not valid.all():
        pixels = np.where(valid[..., None], pixels, pixels.dtype.type(0))
    # A whole image without opacity says nothing by it; a window without opacity lies where its image has no data.
    if raster.alpha is not None and (raster.alpha.min() != raster.alpha.max() or window is not None):
        opaque = raster.alpha != 0
        valid = opaque if valid is None else valid & opaque
    if valid is not None:
        valid = None if valid.all() else np.ascontiguousarray(valid)
    return Image(np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("=")), valid, raster.nodata)


def read_mask(path: Path, page: int | None = None, window: Window | None = None) -> np.ndarray:
    """Read the raw values of a mask, or of a window of it.

    Returns
    -------
    np.ndarray
        Integers `H x W`, or colours `H x W x 3` uint8 (RGB). A palette image gives its indices, never its colours. A
        colour image that is grey everywhere gives its grey values. One-bit images give 0 and 255, and grey PNG of 2 or
        4 bits is scaled to 0..255, as the format defines it. Opacity is dropped. Floats must be whole numbers; NaN
        gives `NO_LABEL`.

    Raises
    ------
    UnreadableFileError
        As `read_image`; or the values cannot be class values.
    """
    raw = _decoded(path, page, window, indices=True).pixels
    if raw.dtype.kind == "f":
        # Extreme numbers are "no data" that was written with other digits than declared, as in images.
        known = ~(np.isnan(raw) | (np.isfinite(raw) & (np.abs(raw) >= EXTREME)))
        inside = raw[known]
        whole = np.isfinite(inside).all() and (inside == np.rint(inside)).all()
        whole = bool(whole) and bool(np.abs(inside, dtype=np.float64).max(initial=0) < 2**31)
        raw = np.where(known, raw, NO_LABEL)
        if not whole:
            raise _unreadable(
                path, "its values are not whole numbers", "Expected a mask: a class value for each pixel."
            )
        raw = raw.astype(np.int32)
    if raw.dtype.kind not in "ui":
        raise _unreadable(path, f"its values are of type {raw.dtype}", "Expected integers.")
    if raw.shape[2] == 3 and (raw[..., 0] == raw[..., 1]).all() and (raw[..., 0] == raw[..., 2]).all():
        raw = raw[..., :1]
    if raw.shape[2] == 1:
        raw = raw[..., 0]
    elif raw.shape[2] != 3 or raw.dtype != np.uint8:
        raise _unreadable(
            path,
            f"it has {raw.shape[2]} channels of type {raw.dtype}",
            "Expected a mask: one channel of integers, or RGB colours of 8 bits.",
        )
    return np.ascontiguousarray(raw, dtype=raw.dtype.newbyteorder("="))


def read_shape(path: Path, page: int | None = None) -> tuple[int, int]:
    """Height and width of an image or mask, after EXIF orientation, without decoding pixels.

    Raises UnreadableFileError if the file is missing or no image.
    """
    return header_of(path, page).shape


def header_of(path: Path, page: int | None = None, window: Window | None = None) -> Header:
    """What a file (or a page, or a window) says of itself before its pixels.

    Raises UnreadableFileError if the file is missing or no image, or the window reaches beyond it.
    """
    header = _header(path, page)
    return header if window is None else windowed(header, path, window)


def pictures_in(path: Path, *, mask: bool = False) -> int:
    """Pictures in an array file or volume: 1 where it is of another kind, or one picture; 0 if it cannot be read."""
    try:
        with path.open("rb") as file:
            kind = _array_kind(path, file.read(_START))
        if kind is None:
            return 1
        from maskwright.imaging.arrays import count_pictures

        return count_pictures(path, kind, mask=mask)
    except Exception:  # checking headers says what is wrong with it
        return 0


def image_and_mask_in(path: Path) -> tuple[str, str] | None:
    """Names of the arrays that an array file holds as image and as mask; None where it does not hold both."""
    try:
        with path.open("rb") as file:
            kind = _array_kind(path, file.read(_START))
        if kind is None:
            return None
        from maskwright.imaging.arrays import image_and_mask

        return image_and_mask(path, kind)
    except Exception:  # reading it as an image says what is wrong with it
        return None


def windowed(header: Header, path: Path, window: Window) -> Header:
    """The header of a window of a picture; raises UnreadableFileError if it reaches beyond."""
    with _explained(path):
        check_window(window, header.shape)
    return replace(header, height=window.height, width=window.width, orientation=1)


def crop(pixels: np.ndarray, path: Path, window: Window) -> np.ndarray:
    """A window (contiguous) of a whole picture (`H x W ...`); raises UnreadableFileError if it reaches beyond."""
    with _explained(path):
        check_window(window, pixels.shape)
    return np.ascontiguousarray(pixels[window.slices])


def _header(path: Path, page: int | None) -> Header:
    with _explained(path), _opened(path) as file:
        kind = _kind(path, file.read(_START))
        # Decoders of the rarer formats are imported when a file is of them: most data sets never need theirs.
        if kind == "tiff":
            from maskwright.imaging.tiffs import tiff_header

            return tiff_header(path, page)
        if kind == "dicom":
            from maskwright.imaging.dicom import dicom_header

            return dicom_header(path, page)
        if kind in ARRAYS:
            from maskwright.imaging.arrays import array_header

            return array_header(path, kind, page)
        _refuse_page(path, page)
        file.seek(0)
        if kind == "jpeg2000":
            from maskwright.imaging.jpeg2000 import jpeg2000_header

            return jpeg2000_header(file)
        return read_header(file, kind)


def display(pixels: np.ndarray) -> np.ndarray:
    """Show native values (`H x W x C`) to human eyes: uint8 `H x W x 3`, RGB.

    One channel is grey, two are magenta and green, of more the first three are red, green and blue. 8 bits stay as they
    are; of other types, the range between the 0.5 and 99.5 percentiles is shown: of three channels together (which
    keeps their colour), of any other number each by itself.
    """
    channels = pixels.shape[2]
    order = {1: [0, 0, 0], 2: [0, 1, 0]}.get(channels, [0, 1, 2])
    shown = pixels[..., : max(order) + 1]
    if shown.dtype != np.uint8:
        axes = None if channels == 3 else (0, 1)
        low, high = np.percentile(shown, (0.5, 99.5), axis=axes).astype(np.float32)
        spread = np.maximum(high - low, np.finfo(np.float32).tiny)
        shown = np.rint(((shown - low) / spread).clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(shown[..., order])


def _decoded(path: Path, page: int | None, window: Window | None, *, indices: bool) -> Raster:
    """Pixels as seen: after EXIF orientation, and cut to the window."""
    with _explained(path):
        with _opened(path) as file:
            kind = _kind(path, file.read(_START))
            file.seek(0)
            if kind not in ("tiff", "dicom", *ARRAYS):
                require_room(path.stat().st_size)
            content = file.read() if kind not in ("tiff", "dicom", *ARRAYS) else b""
        if kind == "tiff":
            from maskwright.imaging.tiffs import decode_tiff

            return decode_tiff(path, page, window, indices=indices)
        if kind == "dicom":
            from maskwright.imaging.dicom import decode_dicom

            raster = decode_dicom(path, page, indices=indices)
        elif kind in ARRAYS:
            from maskwright.imaging.arrays import decode_array

            raster = decode_array(path, kind, page, indices=indices)
        elif kind == "jpeg2000":
            from maskwright.imaging.jpeg2000 import decode_jpeg2000

            _refuse_page(path, page)
            raster = decode_jpeg2000(content)
        else:
            _refuse_page(path, page)
            raster = decode(content, kind, indices=indices)
        raster = raster.oriented()
        return raster if window is None else raster.cut(window)


def _opened(path: Path) -> BinaryIO:
    """A file to read from; a packed picture (`.ppm.gz`) is unpacked, as far as there is room."""
    if not path.name.lower().endswith(_PACKED):
        return path.open("rb")
    import gzip

    content = bytearray()
    with gzip.open(path) as packed:
        while part := packed.read(2**22):
            content += part
            require_room(len(content))
    return io.BytesIO(bytes(content))


def _kind(path: Path, start: bytes) -> str:
    kind = sniff(start) or _array_kind(path, start)
    if kind is None:
        found = f"it starts with the bytes {start[:8].hex(' ')}" if start else "it is empty"
        raise _unreadable(path, found, "Expected an image, such as PNG, JPEG, TIFF or DICOM.")
    return kind


def _array_kind(path: Path, start: bytes) -> str | None:
    """The kind of array file that first bytes and name show, or None."""
    name = path.name.lower()
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"PK\x03\x04") and name.endswith(".npz"):
        return "npz"
    if start.startswith(b"MATLAB 5.0"):
        return "mat"
    if start.startswith((b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3")):
        return "hdf5"
    if start.startswith(b"NRRD"):
        return "nrrd"
    return "nifti" if name.endswith((".nii", ".nii.gz")) else None


def _refuse_page(path: Path, page: int | None) -> None:
    if page:
        raise _unreadable(path, f"page {page} was asked for", "Only TIFF and DICOM files have pages.")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises (each has its own kinds) into an UnreadableFileError that names the file."""
    try:
        with named(path):
            yield
    except MaskwrightError:
        raise
    except MemoryError:
        raise _unreadable(
            path, "it does not fit into memory", "Divide it into smaller images if it is sound."
        ) from None
    except LayoutError as error:
        raise UnreadableFileError(f"{path} cannot be read: {error}.", file=path) from None
    except FileNotFoundError:
        raise UnreadableFileError(
            f"{path} does not exist.", expected="Expected an image file; check the path.", file=path
        ) from None
    except Exception as error:
        found = " ".join((str(error) or type(error).__name__).split())
        raise _unreadable(path, found[:200].rstrip("."), "The file is damaged, truncated or locked.") from error


def _unreadable(path: Path, found: str, expected: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"{path} cannot be read: {found}.",
        expected=expected,
        remedy="Export or copy it again, or remove it.",
        file=path,
    )
