"""How much memory is free, and the one guard before pixels are decoded or painted.

A picture of 60,000 x 60,000 pixels may be a file of a few megabytes. Every reader asks `require_room` with what a
header declares, before it makes an array, and `require_room_inflated` where a header can lie. `within` sets a limit of
pixels for what strangers send; `MASKWRIGHT_MAX_IMAGE_GIB` one of memory for all that is read.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from maskwright.errors import SettingError, TooLargeError

GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory")
"""Where a container's own limit and use are told, in versions 2 and 1 of Linux's control groups."""


FRACTION = 0.25
"""Of the free memory, that one decoded picture may take: others are held beside it, and it is worked with."""
SMALL = 2**26
"""Bytes that are never refused by the free memory, so that usual pictures cost no look at it."""
OPTION = "MASKWRIGHT_MAX_IMAGE_GIB"
"""Environment variable: the memory, in GiB, that one decoded picture may take, in place of the fraction."""
NETWORK = 100_000_000
"""Pixels of a picture that comes over a network, at most."""
ZLIB_RATIO = 1032
"""Bytes that one byte can stand for in what zlib compressed, at most (RFC 1951: 258 of them in two bits)."""
_PART = 2**20

_MOST_PIXELS: ContextVar[int | None] = ContextVar("most_pixels", default=None)


@contextmanager
def within(pixels: int = NETWORK) -> Iterator[None]:
    """Refuse pictures of more pixels while the block runs, in this thread."""
    token = _MOST_PIXELS.set(pixels)
    try:
        yield
    finally:
        _MOST_PIXELS.reset(token)


def require_room(pixels: int, bytes_each: int = 1) -> None:
    """Raise TooLargeError where so many pixels need more memory than there is for one picture.

    That is `FRACTION` of the free memory, or what `OPTION` says; a limit of `within` holds beside it.

    Parameters
    ----------
    pixels : height times width, as a header or an annotation declares them, or as they are about to be made.
    bytes_each : of a pixel, all channels.
    """
    most = _MOST_PIXELS.get()
    if most is not None and pixels > most:
        raise TooLargeError(
            f"{pixels:,} pixels are more than the {most:,} that are taken from a network.",
            expected="Expected a smaller picture.",
            remedy="Divide it, or use the command line on the machine itself.",
        )
    needed = pixels * max(1, bytes_each)
    if needed <= SMALL and OPTION not in os.environ:
        return
    room, why = _room()
    if needed > room:
        raise TooLargeError(
            f"{pixels:,} pixels of {bytes_each} bytes need {needed / 2**30:.1f} GiB of memory, and there is room for "
            f"{room / 2**30:.1f} GiB, {why}.",
            expected="Expected pictures that fit.",
            remedy="Divide it into smaller ones if it is sound; a tiled TIFF is read in windows. "
            f"The environment variable {OPTION} sets the limit.",
        )


def require_room_inflated(content: bytes, wbits: int = zlib.MAX_WBITS, *, most: int) -> None:
    """Raise TooLargeError where zlib yields more than `most` bytes, or than there is room for; none of it is kept.

    Damaged content passes: whoever reads it says what is wrong.
    """
    if len(content) * ZLIB_RATIO <= min(SMALL, most):
        return
    stream, total, size, room = zlib.decompressobj(wbits), 0, len(content), min(most, _room()[0])
    try:
        while content and not stream.eof and total <= room:
            total += len(stream.decompress(content, _PART))
            content = stream.unconsumed_tail
    except zlib.error:
        return
    if total > room:
        raise TooLargeError(
            f"{size:,} bytes that zlib compressed yield more than {room:,}.",
            expected="Expected no more than the file declares, or a picture needs.",
            remedy="Save it without compression if it is sound.",
        )


def _room() -> tuple[int, str]:
    """Bytes that there are for one decoded picture, and where that comes from."""
    asked = os.environ.get(OPTION)
    if asked is None:
        return int(FRACTION * free_memory()), "a quarter of what is free"
    try:
        gib = float(asked)
    except ValueError:
        gib = -1.0
    if not 0 < gib < 2**20:
        raise SettingError(f"{OPTION} = {asked!r}: expected GiB of memory for one picture, such as 4 or 0.5.")
    return int(gib * 2**30), f"as {OPTION} says"


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let a TooLargeError of the block name the file."""
    try:
        yield
    except TooLargeError as error:
        if error.file is not None:
            raise
        raise TooLargeError(
            f"{path} is too large: {error.what}", expected=error.expected, remedy=error.remedy, file=path
        ) from None


def free_memory() -> int:
    """Bytes that this process could still take: of the machine, or of the container if that is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        for group in GROUPS:
            try:
                left = int(Path(group, limit).read_text()) - int(Path(group, used).read_text())
            except (OSError, ValueError):
                continue
            free = min(free, max(left, 0))
    return free
