from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

from maskwright.errors import SettingError
from maskwright.imaging import memory
from maskwright.training.machine import refuse_beyond_memory

PROGRAM = """
import resource, sys
import numpy as np
from maskwright.training.machine import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_blocks_are_used_again() -> None:
    faults = {}
    for mode in ("plain", "keep"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True, text=True)
        faults[mode] = int(done.stdout)
    pages = 80_000_000 // resource.getpagesize()
    assert faults["keep"] < pages, "at most one array's pages are touched for the first time"
    # By default every array is mapped anew; huge pages may make the faults few, so only the order is certain.
    assert faults["keep"] <= faults["plain"]


def test_views_beyond_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.free_memory() > 0
    monkeypatch.setattr(memory, "free_memory", lambda: 2**30)
    # 1024 x 1024 pixels: 10 views of (4 x 3 + 8) bytes, and 2 x 4 x 5 bytes of logits and their gradients: 240 MiB.
    refuse_beyond_memory((1024, 1024), 10, 1.0, 3, 5)
    with pytest.raises(SettingError, match=r"50 view\(s\) of 1024 x 1024 pixels need 1.0 GiB .* and 1.0 GiB are free"):
        refuse_beyond_memory((1024, 1024), 50, 1.0, 3, 5)
    refuse_beyond_memory((1024, 1024), 50, 0.5, 3, 5)
