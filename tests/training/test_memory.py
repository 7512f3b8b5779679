from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from maskwright.training.memory import keep_freed_memory
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
