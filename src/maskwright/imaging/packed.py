"""Array files whose parts are compressed: what they yield is measured before a library unpacks it."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskwright.imaging.decoders import LayoutError
from maskwright.imaging.memory import require_room, require_room_inflated

_COMPRESSED = 15
"""Type of a compressed element in a MATLAB file."""
_UNPACKED: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(31),
    "gzip": lambda: zlib.decompressobj(31),
    "bz2": bz2.BZ2Decompressor,
    "bzip2": bz2.BZ2Decompressor,
}
"""How NRRD's encodings are unpacked."""
_PART = 2**20


def check_elements(path: Path) -> None:
    """Raise TooLargeError where a compressed element of a MATLAB file yields more than there is room for.

    MAT-File format, level 5: after 128 bytes, elements of a type and a length; type 15 is compressed by zlib.
    """
    require_room(path.stat().st_size)
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:128] == b"IM" else ">"
        while len(start := file.read(8)) == 8:
            kind, length = struct.unpack(order + "II", start)
            if kind == _COMPRESSED:
                content = file.read(length)
                inner = zlib.decompressobj().decompress(content, 8)
                declared = struct.unpack_from(order + "I", inner, 4)[0]
                require_room(declared)
                require_room_inflated(content, most=declared + 64)
            else:
                file.seek(length, io.SEEK_CUR)


def check_offset(path: Path) -> None:
    """Raise TooLargeError where too much lies before the pixels of NIfTI: nibabel reads it with the header."""
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
        start = file.read(176)
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", start)
        if size == 348:
            require_room(int(struct.unpack_from(order + "f", start, 108)[0]))
        elif size == 540:
            require_room(struct.unpack_from(order + "q", start, 168)[0])


def check_values(path: Path, encoding: str, most: int) -> None:
    """Raise LayoutError where the values of an NRRD file unpack to more bytes than they can have: pynrrd keeps all."""
    require_room(path.stat().st_size)
    if encoding not in _UNPACKED:
        return
    stream, content = _UNPACKED[encoding](), path.read_bytes()
    content = content[content.index(b"\n\n") + 2 :]
    total = 0
    while not stream.eof and total <= most:
        part = stream.decompress(content, _PART)
        total += len(part)
        content = getattr(stream, "unconsumed_tail", b"")  # bzip2's keeps what it has not used
        if not part and not content:
            return  # cut off: pynrrd says so
    if total > most:
        raise LayoutError(f"its values unpack to more than the {most} bytes that they can have")
