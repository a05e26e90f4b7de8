"""Number of CPU threads that torch uses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Context manager that sets the number of CPU threads, at most the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, max_threads()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def max_threads() -> int:
    """Number of CPU cores."""
    return os.cpu_count() or 1
