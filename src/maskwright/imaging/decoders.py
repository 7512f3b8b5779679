"""Decoding PNG, JPEG, BMP and WebP into arrays of native values, strictly: a truncated file is an error.

imagecodecs decodes PNG and JPEG (fast, releases the GIL, keeps 16 bits and grey with alpha as they are); Pillow decodes
palette images, whose indices masks need, CMYK, BMP and WebP. The content decides the format, not the suffix.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NamedTuple

import imagecodecs
import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from maskwright.imaging.memory import require_room


class Window(NamedTuple):
    """A rectangle of pixels, of a picture as it is seen (after EXIF orientation)."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class LayoutError(ValueError):
    """A readable file that does not hold the one picture that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself before its pixels; height and width as stored, before EXIF orientation."""

    height: int
    width: int
    orientation: int = 1
    """EXIF orientation, 1..8."""
    alpha: bool = False
    """Whether the last channel is opacity."""
    palette: bool = False
    components: int = 1
    """Channels of a JPEG, components of a JPEG 2000 file."""
    pixels_from: int = 0
    """Byte after which a JPEG's pixels lie."""
    nodata: float | None = None
    """The value that the file declares to mean "no data"."""
    channels: int = 0
    """Channels of the picture as it is read, without opacity; 0 where the header does not tell."""
    remark: str = ""
    """What reading does to the values, if it does something: for the user."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width as seen: after EXIF orientation."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Decoded pixels, as stored (before EXIF orientation)."""

    pixels: np.ndarray
    """H x W x C, the file's type."""
    orientation: int = 1
    alpha: np.ndarray | None = None
    """H x W, the file's type."""
    valid: np.ndarray | None = None
    """H x W bool, where the file marks pixels without data."""
    nodata: float | None = None
    """The value that the file declares to mean "no data"."""

    def oriented(self) -> Raster:
        """Turn and mirror as the EXIF orientation asks."""
        if self.orientation == 1:
            return self
        alpha, valid = (None if part is None else orient(part, self.orientation) for part in (self.alpha, self.valid))
        return replace(self, pixels=orient(self.pixels, self.orientation), orientation=1, alpha=alpha, valid=valid)

    def cut(self, window: Window) -> Raster:
        """The pixels of a window; raises LayoutError if it reaches beyond the picture."""
        check_window(window, self.pixels.shape)
        alpha, valid = (None if part is None else part[window.slices] for part in (self.alpha, self.valid))
        return replace(self, pixels=self.pixels[window.slices], alpha=alpha, valid=valid)


def check_window(window: Window, shape: tuple[int, ...]) -> None:
    """Raise LayoutError where a window reaches beyond a picture of a shape (height, width, ...)."""
    bottom, right = window.top + window.height, window.left + window.width
    if min(window) < 0 or bottom > shape[0] or right > shape[1]:
        raise LayoutError(
            f"it is {shape[1]} x {shape[0]} pixels (width x height), and the window from ({window.left}, {window.top}) "
            f"to ({right}, {bottom}) reaches beyond. Expected the file that was there when the data was opened"
        )


def orient(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror stored rows and columns (`H x W ...`) as an EXIF orientation 1..8 asks (a view)."""
    if orientation in (5, 6, 7, 8):
        stored = stored.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return stored


def sniff(start: bytes) -> str | None:
    """The format that a file's first 132 bytes show (for DICOM; 16 for the others), or None.

    One of "png", "jpeg", "tiff", "bmp", "webp", "gif", "pnm", "jpeg2000" and "dicom".
    """
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "webp"
    if start.startswith((b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "jpeg2000"
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace():
        return "pnm"
    return "bmp" if start.startswith(b"BM") else None


def read_header(file: BinaryIO, kind: str) -> Header:
    """Read the header of a PNG, JPEG, BMP or WebP file, without its pixels.

    Raises ValueError, OSError, SyntaxError, struct.error or EOFError if it is damaged.
    """
    if kind == "png":
        return _png_header(file)
    if kind == "jpeg":
        return _jpeg_header(file)
    image = _pillow(file, kind)
    orientation = exif_orientation(image.info.get("exif", b""))
    width, height = image.size
    return Header(height=height, width=width, orientation=orientation, alpha="A" in image.getbands())


def decode(content: bytes, kind: str, *, indices: bool) -> Raster:
    """Decode a PNG, JPEG, BMP or WebP file.

    With `indices`, a palette image gives its indices, else its colours. Grey of 1, 2 or 4 bits is scaled to 0..255.
    Raises what a decoder raises where the file is damaged or truncated.
    """
    file = io.BytesIO(content)
    header = read_header(file, kind)
    # A PNG may have four channels of 16 bits; the other formats have four of 8 at most.
    wide = kind == "png" and content[24:25] == b"\x10"
    require_room(header.height * header.width, ((header.channels or 3) + header.alpha) * (2 if wide else 1))
    if kind == "png" and not (header.palette and indices):
        pixels = _decode_png(content)
    elif kind == "jpeg" and header.components != 4:
        # The decoder fills what is missing with grey. Coded pixels never hold the end marker's bytes.
        if content.rfind(b"\xff\xd9", header.pixels_from) < 0:
            raise EOFError("the file is truncated")
        pixels = imagecodecs.jpeg8_decode(content)
    else:
        file.seek(0)
        pixels = _pillow_pixels(_pillow(file, kind), indices=indices)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    alpha = None
    if pixels.shape[2] in (2, 4):  # none of these formats has two or four channels without opacity
        pixels, alpha = pixels[..., :-1], pixels[..., -1]
    return Raster(pixels=pixels, orientation=header.orientation, alpha=alpha)


def _decode_png(content: bytes) -> np.ndarray:
    try:
        pixels: np.ndarray = imagecodecs.png_decode(content)
    except Exception:
        # imagecodecs 2026.3 gives back one reference to None too many for each PNG it refuses. Before Python 3.12 some
        # thousand damaged files in one process would so free None, and end the process.
        _REFERENCES.append(None)
        raise
    return pixels


_REFERENCES: list[None] = []


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1..8, in an EXIF block; 1 where it has none or is damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * entry)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError("the file is truncated")
    return content


def _png_header(file: BinaryIO) -> Header:
    """PNG specification, section 11.2: IHDR comes first; eXIf may stand before or after the pixels.

    Not by Pillow, which finds an eXIf after the pixels only by decoding them.
    """
    file.seek(8)
    length, name = struct.unpack(">I4s", _exactly(file, 8))
    if name != b"IHDR":
        raise ValueError("it does not start with a header")
    width, height, _, color = struct.unpack(">IIBB", _exactly(file, 10))
    file.seek(length - 10 + 4, io.SEEK_CUR)
    orientation, transparent = 1, False
    while len(start := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name == b"IEND":
            break
        if name == b"eXIf":
            orientation, length = exif_orientation(_exactly(file, length)), 0
        transparent |= name == b"tRNS"
        file.seek(length + 4, io.SEEK_CUR)
    return Header(
        height=height,
        width=width,
        orientation=orientation,
        alpha=color in (4, 6) or transparent,
        palette=color == 3,
        channels=1 if color in (0, 4) else 3,
    )


def _jpeg_header(file: BinaryIO) -> Header:
    image: Any = _pillow(file, "jpeg")
    components = image.layers
    return Header(
        height=image.height,
        width=image.width,
        orientation=exif_orientation(image.info.get("exif", b"")),
        components=components,
        channels=1 if components == 1 else 3,
        pixels_from=file.tell(),
    )


def _pillow(file: BinaryIO, kind: str) -> ImageFile.ImageFile:
    """Open with Pillow's class for the format: `Image.open` would refuse images above its own size limit."""
    classes: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
        "png": PngImagePlugin.PngImageFile,
        "jpeg": JpegImagePlugin.JpegImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "pnm": PpmImagePlugin.PpmImageFile,
    }
    image = classes[kind](file)
    frames = getattr(image, "n_frames", 1)
    if kind == "gif" and frames > 1:
        raise LayoutError(f"it is a GIF of {frames} frames. Expected one picture. Save each frame as a file of its own")
    return image


def _pillow_pixels(image: ImageFile.ImageFile, *, indices: bool) -> np.ndarray:
    image.load()
    if image.mode == "P" and indices:
        return np.asarray(image)
    if image.mode == "I;16" or (image.mode == "I" and image.format == "PPM"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("1", "L", "RGB", "RGBA"):
        return np.asarray(image.convert("L") if image.mode == "1" else image)
    return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
