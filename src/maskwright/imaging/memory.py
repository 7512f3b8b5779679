"""How much memory is free, for guards that refuse what no memory holds before anything is made."""

from __future__ import annotations

from pathlib import Path

GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory")
"""Where a container's own limit and use are told, in versions 2 and 1 of Linux's control groups."""


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
