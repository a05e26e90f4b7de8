"""Cost of a model: parameters, multiply-adds, training and prediction time, peak memory."""

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

from snellen.core.experience import Experience
from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.nn.flops import FlopCounter
from snellen.report.reference_metrics import device_of


class TrainingCost:
    """Wall-clock time and peak memory of training."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak = 0  # peak resident memory of the process, bytes

    @contextlib.contextmanager
    def measure(self) -> Iterator[None]:
        with contextlib.suppress(OSError):  # only Linux can reset the peak
            Path("/proc/self/clear_refs").write_text("5")
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds = time.monotonic() - started
            self.peak = _peak_memory()


def _peak_memory() -> int:
    """Peak resident memory of the process in bytes since the last reset, or since its start."""
    with contextlib.suppress(OSError):
        match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if match:
            return int(match[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def model_cost(
    model: nn.Module, task: Task[Any, Any], data: Experience, spec: Spec, learning: TrainingCost
) -> dict[str, Any]:
    """Cost as plain numbers: parameters, multiply-adds per sample, training and prediction time, peak memory.

    Decision trees multiply nothing: their comparisons are counted instead.
    """
    split = "val" if len(data.splits["val"]) else "train"
    x = data.example(split, device_of(model))
    with FlopCounter() as counted:
        task.predict_batch(model, x, spec)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        task.predict_batch(model, x, spec)
        times.append(time.perf_counter() - started)
    weights = sum(p.numel() for p in model.parameters())
    if not weights:
        excluded = (
            "standardize",
            "measuring",
            "intervals",
        )  # `measuring` holds what the report needs and a prediction does not
        weights = sum(b.numel() for name, b in model.named_buffers() if not any(part in name for part in excluded))
    return {
        "parameters": weights,
        "multiply_adds": counted.count // 2 + sum(getattr(m, "comparisons", 0) for m in model.modules()),
        "seconds_learning": round(learning.seconds, 3),
        "milliseconds_a_prediction": round(1000 * statistics.median(times), 3),
        "peak_memory_bytes": learning.peak,
    }
