"""Decoding JPEG 2000 (.jp2, .j2k) into arrays of native values: any number of components of 8 or 16 bits."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import imagecodecs

from maskwright.imaging.decoders import Header, Raster
from maskwright.imaging.memory import require_room

_CODESTREAM = b"\xff\x4f\xff\x51"
_OPACITY = (1, 2)  # Typ of a channel definition: opacity, premultiplied opacity


def jpeg2000_header(file: BinaryIO) -> Header:
    """Read the size, components and opacity of a JPEG 2000 file or bare codestream, without its pixels.

    ITU-T T.800, annexes A.5.1 (SIZ) and I.5 (boxes). Raises EOFError or ValueError if it is damaged.
    """
    file.seek(0)
    start = file.read(4)
    if start == _CODESTREAM:
        return _codestream_header(file)
    file.seek(0)
    boxes = _boxes(file)
    if b"ihdr" not in boxes:
        raise ValueError("it has no image header")
    height, width, components = struct.unpack(">IIH", boxes[b"ihdr"][:10])
    if file.read(4) == _CODESTREAM:
        inside = _codestream_header(file)
        if (inside.height, inside.width) != (height, width):
            raise ValueError(
                f"its image header says {width} x {height} pixels, and its codestream {inside.width} x {inside.height}"
            )
    definitions = boxes.get(b"cdef", b"")[2:]
    kinds = {channel: kind for channel, kind, _ in struct.iter_unpack(">HHH", definitions[: len(definitions) // 6 * 6])}
    return Header(
        height=height,
        width=width,
        components=components,
        palette=b"pclr" in boxes,
        alpha=components > 1 and kinds.get(components - 1) in _OPACITY,
    )


def decode_jpeg2000(content: bytes) -> Raster:
    """Decode a JPEG 2000 file; a palette gives colours. Raises what the decoder raises if it is damaged."""
    header = jpeg2000_header(io.BytesIO(content))
    require_room(header.height * header.width, 2 * header.components)
    pixels = imagecodecs.jpeg2k_decode(content)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if header.alpha and pixels.shape[2] > 1:
        return Raster(pixels=pixels[..., :-1], alpha=pixels[..., -1])
    return Raster(pixels=pixels)


def _codestream_header(file: BinaryIO) -> Header:
    """Of a codestream, after its first marker and that of its sizes."""
    _, _, right, bottom, left, top = struct.unpack(">HHIIII", _exactly(file, 20))
    (components,) = struct.unpack(">H", _exactly(file, 18)[16:])
    return Header(height=bottom - top, width=right - left, components=components)


def _boxes(file: BinaryIO) -> dict[bytes, bytes]:
    """The boxes before the pixels, those in the header box among them."""
    boxes: dict[bytes, bytes] = {}
    while len(start := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name == b"jp2c":
            file.seek(8 if length == 1 else 0, io.SEEK_CUR)
            break
        if name == b"jp2h":  # a box of boxes
            continue
        if length == 1:
            length = struct.unpack(">Q", _exactly(file, 8))[0] - 8
        if length < 8:
            raise ValueError("it has a box of no length")
        boxes[name] = _exactly(file, length - 8)
    return boxes


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError("the file is truncated")
    return content
