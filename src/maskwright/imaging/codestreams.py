"""Pictures within files: a JPEG in a tile of a TIFF, say, or in a frame of DICOM, has a size of its own."""

from __future__ import annotations

import io
import struct

from maskwright.imaging.decoders import read_header, sniff
from maskwright.imaging.jpeg2000 import jpeg2000_header
from maskwright.imaging.memory import require_room

_JPEG_XL, _JPEG_XL_BOX = b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_JPEG_LS = 0xF7
"""The start of frame of a JPEG-LS stream."""
_SIZES = (9, 13, 18, 30)
"""Bits of a side of a JPEG XL picture, by the two bits before it."""


def require_room_for(content: bytes, bytes_each: int) -> None:
    """Raise TooLargeError where a picture within a file declares more pixels than there is room for.

    What is damaged, or of another kind, passes: its decoder says what is wrong.
    """
    try:
        if content.startswith((_JPEG_XL, _JPEG_XL_BOX)):
            height, width = _jpeg_xl_size(content)
        elif content.startswith(b"\xff\xd8"):
            height, width = _frame_size(content)
        else:
            kind = sniff(content[:16])
            if kind is None:
                return
            header = (jpeg2000_header if kind == "jpeg2000" else lambda file: read_header(file, kind))(
                io.BytesIO(content)
            )
            height, width = header.height, header.width
    except (ValueError, OSError, SyntaxError, struct.error, EOFError, LookupError):
        return
    require_room(height * width, bytes_each)


def _frame_size(content: bytes) -> tuple[int, int]:
    """ITU T.81, annex B: marker segments up to the start of frame, of JPEG-LS too, which has the size."""
    place = 2
    while True:
        place = content.index(b"\xff", place)
        marker = content[place + 1]
        if marker == 0xFF or marker <= 0x01 or 0xD0 <= marker <= 0xD9:  # fill bytes, and markers without a segment
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        if marker == _JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack_from(">HH", content, place + 5)
            return height, width
        place += 2 + length


def _jpeg_xl_size(content: bytes) -> tuple[int, int]:
    """ISO/IEC 18181-1, annex D.2: height, then width, which may be a ratio of it; the largest of ratios is taken."""
    if content.startswith(_JPEG_XL_BOX):
        content = content[content.index(b"jxlc") + 4 :] if b"jxlc" in content else content[content.index(b"jxlp") + 8 :]
    bits = int.from_bytes(content[2:14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if small else take(_SIZES[take(2)]) + 1

    height = side()
    return (height, 2 * height) if take(3) else (height, side())
