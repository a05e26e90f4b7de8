"""Where and under which limits a run computes."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import os
from collections.abc import Iterator

import torch
from torch import nn

from snellen.core.errors import EnvironmentProblem, UsageError, nearest
from snellen.core.run import Progress
from snellen.core.spec import Preprocessing, Scenic, Spec
from snellen.data.image_size import read_shape
from snellen.nn.flops import Operations

SMALL = 2_000_000  # operations for one input, below which one thread serves a network


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and under which limits a run computes.

    Args:
        device: "auto", "cpu", "cuda", "mps".
        threads: of the CPU; None: chosen by the size of the network.
        save_every: seconds between saves; 0: after every step.
        seconds: how long learning may take; None: as long as the settings say.
        least: the share of its steps that must fit into `seconds`; else it is not begun (TooLittleTime).
        progress: who is told of progress.
        open_test: whether the test split is judged at the end; a ladder opens it once for all.
        report: whether the page is written at the end.
    """

    device: str = "auto"
    threads: int | None = None
    save_every: float = 30.0
    seconds: float | None = None
    least: float = 0.0
    progress: Progress | None = None
    evaluate_test: bool = True
    report: bool = True

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads cannot compute", "Give a whole number of at least 1.")


def find_device(name: str) -> str:
    """Raises EnvironmentProblem when the device is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    base = name.split(":")[0]
    if base not in there:
        raise UsageError(f"No device is called {name!r}", nearest(name, ["auto", *there]))
    if not there[base]:
        raise EnvironmentProblem(f"There is no {name} on this machine", "Take --device auto.")
    return name


def suited(model: nn.Module | None, spec: Spec, preprocessing: Preprocessing) -> int:
    """How many threads serve a model; one for a small network, where handing work over costs more than the work.

    Two threads save a small network a third of its time at best, and cost it fifteen times as much where another
    process wants one of the cores: each of its many short waits then lasts a time slice.

    Args:
        model: planned, on the meta device; None where it cannot be planned.
    """
    shape = read_shape(spec, preprocessing)
    if isinstance(spec.target, Scenic):  # a truth in every place is work for every core
        return torch.get_num_threads()
    if model is None or any(hasattr(module, "grows") for module in model.modules()):
        return torch.get_num_threads()
    small = sum(p.numel() for p in model.parameters()) < SMALL // 2  # each is multiplied once, or more often
    if small:  # in real memory, of which it takes little: on the meta device torch would load its compiler
        tried = copy.deepcopy(model)._apply(lambda t: torch.empty(t.shape, dtype=t.dtype)).eval()  # type: ignore[no-untyped-call]
        with contextlib.suppress(Exception), torch.no_grad(), Operations() as counted:  # it may have no forward pass
            tried(torch.empty(1, *shape))
        small = counted.count < SMALL
    return 1 if small else torch.get_num_threads()


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads while computing, at most those that there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, most_threads()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def same_bits(device: str) -> Iterator[None]:
    """On a GPU, only kernels that add in one order: the same seed gives the same bits, as it does on a processor.

    torch warns where it has none; a model made of its common layers needs no other.
    """
    if not device.startswith("cuda"):
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS may choose another kernel each time
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    # What it also does by itself, writing into all memory that is taken, serves those who read what they never wrote.
    filling = importlib.import_module("torch.utils.deterministic")
    filled, filling.fill_uninitialized_memory = filling.fill_uninitialized_memory, False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        filling.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def most_threads() -> int:
    return os.cpu_count() or 1


def physical_memory() -> int:
    """Bytes of memory of this machine; where it does not say, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 1 << 60
