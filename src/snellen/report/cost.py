"""What a model costs: weights, multiply-adds, time, memory."""

from __future__ import annotations

import contextlib
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.flops import Operations
from snellen.report.reference_metrics import device_of


class Cost:
    """Seconds and memory of learning."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak = 0  # bytes the process held at most

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        with contextlib.suppress(OSError):  # Linux alone can forget an earlier peak
            Path("/proc/self/clear_refs").write_text("5")
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds = time.monotonic() - started
            self.peak = _peak()


def _peak() -> int:
    """Bytes of memory the process held at most since the peak was last forgotten, else in its whole life."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def cost_of(
    model: nn.Module, task: Task[Any, Any], data: Dataset[Labelled], spec: Spec, learning: Cost
) -> dict[str, Any]:
    """Plain figures: parameters, multiply-adds a sample, seconds of learning, milliseconds a prediction, bytes."""
    split = "val" if len(data.splits["val"]) else "train"
    x = data.example(split, device_of(model))
    with Operations() as counted:
        task.answer(model, x, spec)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        task.answer(model, x, spec)
        times.append(time.perf_counter() - started)
    weights = sum(p.numel() for p in model.parameters())
    if not weights:
        weights = sum(b.numel() for name, b in model.named_buffers() if "standardize" not in name)
    return {
        "parameters": weights,
        "multiply_adds": counted.count // 2,
        "seconds_learning": round(learning.seconds, 3),
        "milliseconds_a_prediction": round(1000 * statistics.median(times), 3),
        "peak_memory_bytes": learning.peak,
    }
