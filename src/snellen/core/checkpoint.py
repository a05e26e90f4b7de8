"""What a run needs to go on: its saved state, in two generations, each with its SHA-256 in a manifest.

A state is written under a new name, then the manifest takes it in, then the one before the last goes. So at every
instant the manifest names a whole state, or none has been written yet.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from snellen.core import files
from snellen.core.errors import DataError, first_line

_ANEW = "Train anew, or restore the folder."


class Stateful(Protocol):
    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


@dataclass(kw_only=True)
class State:
    """Everything that changes in a run.

    Args:
        kept: what was given to `keep`, by name.
        made: what `once` made, by name.
        done, ended: steps done of each loop, and the loops that are over.
        loop, step: the loop that ran last, and its last step.
        history, digest: bytes of the history, and their SHA-256.
        between: rows logged outside loops so far.
        notes: plain data about the run.
        numpy, python: the states of these generators.
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
    """Writes a generation; the last and this one stay.

    Raises:
        EnvironmentProblem: when it cannot be written; the last generation is still whole then.
    """
    tensors, tree = files.pack(vars(state))
    path = folder / f"{generation:08d}.safetensors"
    entry = {"file": path.name, "sha256": files.write_tensors(path, tensors, tree)}
    before = _manifest(folder)[:1]
    files.write_json(folder / "manifest.json", [entry, *before])
    wanted = {entry["file"], *(e["file"] for e in before)}
    for old in folder.glob("*.safetensors"):
        if old.name not in wanted:
            with contextlib.suppress(OSError):  # it does no harm, and the next save tries again
                old.unlink()


def read_state(folder: Path) -> tuple[int, State] | None:
    """The newest state that is whole, with the highest number in use; None where none was ever written.

    Raises:
        DataError: when none that the manifest names can be read.
    """
    problems = []
    entries = _manifest(folder)
    for entry in entries:
        path = folder / entry["file"]
        try:
            if files.sha256(path) != entry["sha256"]:
                raise DataError(f"{path} is not what was written: its SHA-256 differs")
            newest = max(int(Path(e["file"]).stem) for e in entries)
            return newest, _checked(files.unpack(files.read_tensors(path)), path)
        except DataError as error:
            problems.append(error.cause)
    if problems:
        raise DataError(f"No saved state can be read: {'; '.join(problems)}", _ANEW)
    return None


def _manifest(folder: Path) -> list[dict[str, str]]:
    path = folder / "manifest.json"
    if not path.exists():
        return []
    entries = files.read_json(path)
    right = isinstance(entries, list) and all(
        isinstance(e, dict)
        and set(e) == {"file", "sha256"}
        and all(isinstance(v, str) for v in e.values())
        and Path(e["file"]).name == e["file"]
        and Path(e["file"]).stem.isdecimal()
        and len(e["file"]) < 40
        for e in entries
    )
    if not right:
        raise DataError(f"{path} is damaged", _ANEW)
    return list(entries)


def _checked(plain: Any, path: Path) -> State:
    """A state whose every field is of its kind: what a file says is not trusted."""

    def count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62

    right = (
        isinstance(plain, dict)
        and set(plain) == {f.name for f in fields(State)}
        and all(
            isinstance(plain[name], dict) and all(isinstance(key, str) for key in plain[name])
            for name in ("kept", "made", "done", "notes")
        )
        and all(count(steps) for steps in plain["done"].values())
        and isinstance(plain["ended"], list)
        and all(isinstance(name, str) for name in plain["ended"])
        and isinstance(plain["loop"], str)
        and isinstance(plain["digest"], str)
        and isinstance(plain["step"], int)
        and count(plain["history"])
        and count(plain["between"])
    )
    if not right:
        raise DataError(f"{path} is no saved state of a run", "It was written by another version of Snellen.")
    return State(**plain)


def restore(name: str, entry: Stateful, saved: Any, folder: Path) -> None:
    """Puts what was saved under `name` back into `entry`.

    Raises:
        DataError: when it does not fit.
    """
    before = _signature(entry) if isinstance(entry, torch.optim.Optimizer) else []
    try:
        entry.load_state_dict(saved)
        if isinstance(entry, torch.optim.Optimizer):
            after = _signature(entry)
            if any(now.get(key) != kind for was, now in zip(before, after, strict=True) for key, kind in was.items()):
                raise ValueError("its settings are of other kinds")
            _lay_out(entry)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        raise DataError(
            f"The saved {name} of {folder} does not fit: {first_line(error)}",
            "Was the learner or its code changed? Then train anew.",
        ) from error


def _signature(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The names and kinds of an optimizer's settings."""

    def kind(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [kind(v) for v in value]
        return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)

    return [{key: kind(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Fused kernels walk weights and moments side by side through memory: size and strides must be the same."""
    for group in optimizer.param_groups:
        for weight in group["params"] if group.get("fused") else ():
            state = optimizer.state.get(weight, {})
            for name, value in state.items():
                if not isinstance(value, torch.Tensor) or not value.ndim:
                    continue
                if value.shape != weight.shape or value.dtype != weight.dtype:
                    raise ValueError(f"{name} is {tuple(value.shape)}, its weights {tuple(weight.shape)}")
                if value.stride() != weight.stride():  # a dimension of length one has any stride
                    state[name] = torch.empty_like(weight).copy_(value)


def numpy_state() -> Any:
    """The state of NumPy's default generator as plain values and a tensor."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest]


def from_numpy_state(state: Any) -> Any:
    kind, keys, *rest = state
    return (kind, keys.numpy().astype(np.uint32), *rest)
