"""Checkpoints of a run: the saved state in two generations, each with its SHA-256 in a manifest.

A state is written under a new name, then added to the manifest, then the state before the last is removed. So the
manifest always names a complete state, once one has been written.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from snellen.core import file_io, model_state
from snellen.core.errors import DataError, first_line

_REMEDY = "Train again, or restore the folder."


class Stateful(Protocol):
    """Object with a state dict: a module, an optimizer, a scheduler."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


@dataclass(kw_only=True)
class State:
    """State of a run, as a checkpoint stores it.

    Args:
        kept: state dicts of the objects given to `keep`, by name.
        made: results of `once`, by name.
        done, ended: steps done of each loop, and the finished loops.
        loop, step: the last loop, and its last step.
        history, digest: bytes of the history, and their SHA-256.
        between: number of rows logged outside loops.
        notes: plain data about the run.
        numpy, python: states of these random generators.
    """

    kept: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    loop: str = ""
    step: int = 0
    history: int = 0
    digest: str = ""
    between: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    numpy: Any = None
    python: Any = None


def write_state(folder: Path, generation: int, state: State) -> None:
    """Write a generation; it and the one before are retained.

    Raises:
        EnvironmentProblem: when it cannot be written; the last generation is then still intact.
    """
    tensors, tree = model_state.pack(vars(state))
    path = folder / f"{generation:08d}.safetensors"
    entry = {"file": path.name, "sha256": file_io.write_tensors(path, tensors, tree)}
    previous = _manifest(folder)[:1]
    file_io.write_json(folder / "manifest.json", [entry, *previous])
    retained = {entry["file"], *(e["file"] for e in previous)}
    for path in folder.glob("*.safetensors"):
        if path.name not in retained:
            with contextlib.suppress(OSError):  # a leftover file is harmless, and the next save tries again
                path.unlink()


def read_state(folder: Path) -> tuple[int, State] | None:
    """Read the newest intact state, with the highest generation number in use; None where none has been written.

    Raises:
        DataError: when no state in the manifest can be read.
    """
    problems = []
    entries = _manifest(folder)
    for entry in entries:
        path = folder / entry["file"]
        try:
            if file_io.sha256(path) != entry["sha256"]:
                raise DataError(f"{path} has changed since it was written: its SHA-256 differs")
            newest = max(int(Path(e["file"]).stem) for e in entries)
            return newest, _validated(model_state.unpack(file_io.read_tensors(path)), path)
        except DataError as error:
            problems.append(error.cause)
    if problems:
        raise DataError(f"No checkpoint can be read: {'; '.join(problems)}", _REMEDY)
    return None


def _manifest(folder: Path) -> list[dict[str, str]]:
    """Entries of the manifest, newest first."""
    path = folder / "manifest.json"
    if not path.exists():
        return []
    entries = file_io.read_json(path)
    is_valid = isinstance(entries, list) and all(
        isinstance(e, dict)
        and set(e) == {"file", "sha256"}
        and all(isinstance(v, str) for v in e.values())
        and Path(e["file"]).name == e["file"]
        and Path(e["file"]).stem.isdecimal()
        and len(e["file"]) < 40
        for e in entries
    )
    if not is_valid:
        raise DataError(f"{path} is damaged", _REMEDY)
    return list(entries)


def _validated(plain: Any, path: Path) -> State:
    """State after a type check of every field: the content of a file is not trusted."""

    def is_count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62

    is_valid = (
        isinstance(plain, dict)
        and set(plain) == {f.name for f in fields(State)}
        and all(
            isinstance(plain[name], dict) and all(isinstance(key, str) for key in plain[name])
            for name in ("kept", "made", "done", "notes")
        )
        and all(is_count(steps) for steps in plain["done"].values())
        and isinstance(plain["ended"], list)
        and all(isinstance(name, str) for name in plain["ended"])
        and isinstance(plain["loop"], str)
        and isinstance(plain["digest"], str)
        and isinstance(plain["step"], int)
        and is_count(plain["history"])
        and is_count(plain["between"])
    )
    if not is_valid:
        raise DataError(f"{path} is not a checkpoint of a run", "It was written by another version of Snellen.")
    return State(**plain)


def restore(name: str, target: Stateful, saved: Any, folder: Path) -> None:
    """Load the state saved under `name` into `target`.

    Raises:
        DataError: when it does not fit.
    """
    before = _setting_types(target) if isinstance(target, torch.optim.Optimizer) else []
    try:
        target.load_state_dict(saved)
        if isinstance(target, torch.optim.Optimizer):
            after = _setting_types(target)
            pairs = zip(before, after, strict=True)
            if any(new.get(key) != kind for old, new in pairs for key, kind in old.items()):
                raise ValueError("its settings are of other types")
            _match_strides(target)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        raise DataError(
            f"The checkpoint of {name} in {folder} does not fit: {first_line(error)}",
            "If the model or its code has changed, train again.",
        ) from error


def _setting_types(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Names and types of the settings of each parameter group."""

    def kind(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [kind(v) for v in value]
        return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)

    return [{key: kind(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def _match_strides(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the strides of their weights: fused kernels iterate over both in memory order."""
    for group in optimizer.param_groups:
        for weight in group["params"] if group.get("fused") else ():
            state = optimizer.state.get(weight, {})
            for name, value in state.items():
                if not isinstance(value, torch.Tensor) or not value.ndim:
                    continue
                if value.shape != weight.shape or value.dtype != weight.dtype:
                    raise ValueError(f"{name} is {tuple(value.shape)}, its weights are {tuple(weight.shape)}")
                if value.stride() != weight.stride():  # also where only that of a length-1 dimension differs
                    state[name] = torch.empty_like(weight).copy_(value)


def numpy_state() -> Any:
    """State of NumPy's default generator as plain values and a tensor."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest]


def from_numpy_state(state: Any) -> Any:
    """Inverse of `numpy_state`."""
    kind, keys, *rest = state
    return (kind, keys.numpy().astype(np.uint32), *rest)
