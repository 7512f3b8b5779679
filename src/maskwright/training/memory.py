"""How the process keeps memory between steps."""

from __future__ import annotations

import ctypes
import sys

from maskwright.augment.loader import working_size
from maskwright.errors import SettingError
from maskwright.imaging.memory import free_memory

GIB = 2**30
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`, from malloc.h."""


def refuse_beyond_memory(crop: tuple[int, int], batch: int, scale: float, channels: int, classes: int) -> None:
    """Raise SettingError if the views of a step alone, and the logits of one of them, need more memory than is free.

    A bound from below: networks need many times as much, which only running them tells.
    """
    height, width = working_size(crop, scale)
    needed = height * width * (batch * (4 * channels + 8) + 2 * 4 * classes)
    free = free_memory()
    if needed > free:
        raise SettingError(
            f"{batch} view(s) of {crop[0]} x {crop[1]} pixels need {needed / GIB:.1f} GiB of memory at the least, and "
            f"{free / GIB:.1f} GiB are free.",
            expected="Expected views that fit into the memory; larger ones than the images are of no use.",
            remedy="Give a smaller --crop or --batch.",
        )


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next step, instead of giving them back to the system and asking again.

    A training step allocates the same large tensors over and over; by default each one is mapped anew and its pages are
    zeroed on first touch. Keeping them made training steps 1.15 times as fast on two cores (EXPERIMENTS.md). Returns
    False, and does nothing, where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
    except (OSError, AttributeError):
        return False
