"""How much memory is free, and the one guard before pixels are decoded or painted.

A picture of 60,000 x 60,000 pixels may be a file of a few megabytes. Every reader asks `require_room` with what a
header declares, before it makes an array.
"""

from __future__ import annotations

from pathlib import Path

from maskwright.errors import TooLargeError

GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory")
"""Where a container's own limit and use are told, in versions 2 and 1 of Linux's control groups."""


FRACTION = 0.25
"""Of the free memory, that one decoded picture may take: others are held beside it, and it is worked with."""
SMALL = 2**26
"""Bytes that are never refused, so that usual pictures cost no look at the memory."""


def require_room(pixels: int, bytes_each: int = 1) -> None:
    """Raise TooLargeError where so many pixels need more than `FRACTION` of the free memory.

    Parameters
    ----------
    pixels : height times width, as a header or an annotation declares them, or as they are about to be made.
    bytes_each : of a pixel, all channels.
    """
    needed = pixels * max(1, bytes_each)
    if needed <= SMALL:
        return
    room = int(FRACTION * free_memory())
    if needed > room:
        raise TooLargeError(
            f"{pixels:,} pixels of {bytes_each} bytes need {needed / 2**30:.1f} GiB of memory, and there is room for "
            f"{room / 2**30:.1f} GiB, a quarter of what is free.",
            expected="Expected pictures that fit.",
            remedy="Divide it into smaller ones if it is sound; a tiled TIFF is read in windows.",
        )


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
