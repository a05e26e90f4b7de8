"""Settings of glibc's memory allocator: keep freed blocks in the process instead of returning them to the system."""

from __future__ import annotations

import ctypes
import sys

KEEP = 1 << 30  # bytes: smaller blocks come from the heap, and this much free memory stays in the process
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def tune() -> bool:
    """Make glibc keep freed blocks. Called at the start of training; importing the module changes nothing.

    Otherwise glibc maps every tensor above 128 KiB (32 MiB once the process has been running) anew at each step, and
    the kernel zeroes each of its pages at the first access: a third of a training step of a small network.

    Returns:
        Whether the C library accepted the settings; False on other systems, where nothing changes.
    Source: mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    return bool(mallopt(_MMAP_THRESHOLD, KEEP)) and bool(mallopt(_TRIM_THRESHOLD, KEEP))
