"""The C library is told to keep memory where training begins, and only there."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGES = """
import resource, sys, torch
torch.set_num_threads(1)
from snellen.core.allocator import tune
if sys.argv[1] == "tuned" and not tune():
    print(-1)
    sys.exit()
for _ in range(10):  # until the heap has found its size
    torch.empty(40 << 20, dtype=torch.uint8).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.empty(40 << 20, dtype=torch.uint8).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PAGES, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has mallopt")
def test_freed_memory_is_used_again_without_the_kernel_mapping_it_anew() -> None:
    tuned = faults("tuned")
    if tuned < 0:
        pytest.skip("this C library has no mallopt")
    assert tuned < 100 < faults("plain")
