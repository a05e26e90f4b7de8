"""Allocator settings: glibc keeps freed memory after `tune`, and only then."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGES = """
import ctypes, resource, sys
from snellen.core.memory_allocator import tune
if sys.argv[1] == "tuned" and not tune():
    print(-1)
    sys.exit()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def step():
    block = libc.malloc(40 << 20)
    ctypes.memset(block, 1, 40 << 20)
    libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    """Page faults of three allocations in a new process."""
    done = subprocess.run([sys.executable, "-c", PAGES, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has mallopt")
def test_freed_memory_is_reused_without_page_faults() -> None:
    tuned = page_faults("tuned")
    if tuned < 0:
        pytest.skip("this C library has no mallopt")
    assert tuned < 100 < page_faults("plain")
