"""How the process keeps memory between steps."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`, from malloc.h."""


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
