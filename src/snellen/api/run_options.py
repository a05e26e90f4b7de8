"""Options of a run: device, threads, time limit, determinism."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Iterator

import torch

from snellen.core.errors import EnvironmentProblem, UsageError, suggest_name
from snellen.core.run import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run that do not affect its result: device, threads, time limit, checkpoints, evaluation.

    Args:
        device: "auto", "cpu", "cuda", "mps".
        threads: number of CPU threads; None: one for a small network, else the faster of one and all in a trial.
        save_every: seconds between checkpoints; 0: after every step.
        seconds: time limit of training; None: no limit.
        min_fraction: fraction of the steps that must fit into `seconds`, else training does not start (TooLittleTime).
        progress: receiver of progress messages.
        evaluate_test: whether to evaluate the test split at the end; a ladder evaluates it once for all models.
        report: whether to write the report at the end.
    """

    device: str = "auto"
    threads: int | None = None
    save_every: float = 30.0
    seconds: float | None = None
    min_fraction: float = 0.0
    progress: Progress | None = None
    evaluate_test: bool = True
    report: bool = True

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"The number of threads cannot be {self.threads}", "Give a whole number of at least 1.")


def find_device(name: str) -> str:
    """Resolve a device name, "auto" included. Raises EnvironmentProblem when the device is not available."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    base = name.split(":")[0]
    if base not in available:
        raise UsageError(f"Unknown device {name!r}", suggest_name(name, ["auto", *available]))
    if not available[base]:
        raise EnvironmentProblem(f"Device {name} is not available on this machine", "Use --device auto.")
    return name


@contextlib.contextmanager
def deterministic_kernels(device: str) -> Iterator[None]:
    """Context manager for deterministic kernels on a GPU: the same seed gives bit-identical results, as on a CPU.

    torch warns where an operation has no deterministic kernel; its common layers all have one.
    """
    if not device.startswith("cuda"):
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # otherwise cuBLAS may select different kernels
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Deterministic mode also fills all new memory; only code that reads uninitialised memory needs this.
    deterministic = importlib.import_module("torch.utils.deterministic")
    fill, deterministic.fill_uninitialized_memory = deterministic.fill_uninitialized_memory, False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def physical_memory() -> int:
    """Bytes of physical memory; 2^60 where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 1 << 60
