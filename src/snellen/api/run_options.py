"""Options of a run: device, threads, time limit, determinism."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import os
from collections.abc import Iterator

import torch
from torch import nn

from snellen.core.errors import EnvironmentProblem, UsageError, suggest_name
from snellen.core.run import Progress
from snellen.core.spec import Preprocessing, Scenic, Spec
from snellen.data.image_size import input_shape
from snellen.nn.flops import FlopCounter

SMALL_NETWORK = 2_000_000  # operations per input, below which a network runs on one thread


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run that do not affect its result: device, threads, time limit, checkpoints, evaluation.

    Args:
        device: "auto", "cpu", "cuda", "mps".
        threads: number of CPU threads; None: chosen by the size of the network.
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


def suitable_threads(model: nn.Module | None, spec: Spec, preprocessing: Preprocessing) -> int:
    """Number of threads for a model: one for a small network, where distributing work takes longer than the work.

    Two threads reduce the time of a small network by a third at best. Where another process uses one of the cores, they
    increase it fifteenfold: each of the many short waits then lasts a time slice.

    Args:
        model: on the meta device; None where it cannot be built there.
    """
    shape = input_shape(spec, preprocessing)
    if isinstance(spec.target, Scenic):  # dense targets use all cores
        return torch.get_num_threads()
    if model is None or any(hasattr(module, "variable_length") for module in model.modules()):
        return torch.get_num_threads()
    is_small = sum(p.numel() for p in model.parameters()) < SMALL_NETWORK // 2  # each is multiplied
    if is_small:  # in real memory: on the meta device torch would load its compiler
        probe = copy.deepcopy(model)._apply(lambda t: torch.empty(t.shape, dtype=t.dtype)).eval()  # type: ignore[no-untyped-call]
        with contextlib.suppress(Exception), torch.no_grad(), FlopCounter() as counter:  # it may have no forward pass
            probe(torch.empty(1, *shape))
        is_small = counter.count < SMALL_NETWORK
    return 1 if is_small else torch.get_num_threads()


@contextlib.contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Context manager that sets the number of CPU threads, at most the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, max_threads()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def max_threads() -> int:
    """Number of CPU cores."""
    return os.cpu_count() or 1


def physical_memory() -> int:
    """Bytes of physical memory; 2^60 where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 1 << 60
