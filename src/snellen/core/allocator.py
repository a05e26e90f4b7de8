"""Memory that was freed is kept for the next step, where the C library would hand it back to the system."""

from __future__ import annotations

import ctypes
import sys

KEEP = 1 << 30  # bytes; blocks below it come from the heap, and so much free memory stays in the process
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def tune() -> bool:
    """Tells glibc to keep freed blocks. Called where training begins; importing changes nothing.

    Every tensor above 128 KiB (32 MiB once the process has been running) is otherwise mapped anew at each step, and
    every page of it is zeroed by the kernel at the first touch: a third of a training step of a small network.

    Returns:
        Whether the C library took it; False on other systems, where nothing is changed.
    Source: mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(_MMAP_THRESHOLD, KEEP)) and bool(mallopt(_TRIM_THRESHOLD, KEEP))
