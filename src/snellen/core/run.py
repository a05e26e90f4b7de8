"""A run: passed to `fit`, it counts steps, keeps state, logs, saves, resumes and honours signals.

Exact resume rests on three things: randomness is a function of (seed, loop, step), everything that changes is kept
(`keep`, `once`), and the history is cut at the length that the saved state remembers.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import random
import signal as signals
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core import files
from snellen.core.errors import DataError, Diverged, EnvironmentProblem, Stopped
from snellen.core.random import key

T = TypeVar("T")

_word = functools.lru_cache(json.dumps)  # names of loops and scalars: few, and written at every step
_BLOCK = 256  # log rows read back from the device at once


class Stateful(Protocol):
    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


class Watch(Protocol):
    """Who is told of progress: the command line, a notebook, no one."""

    def progress(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...
    def say(self, message: str) -> None: ...


class Run:
    """What `fit` is given.

    Args:
        folder: where state and history go.
        seed, rank, device: as they sound.
        resume: take up `folder`'s state where it is.
        save_every: seconds between saves inside a loop; 0 saves after every step.
        seconds: how long `fit` may take in all; loops end early when it is over.
        loss: a loss the caller brought (`snellen.train(..., loss=callable)`); learners with a loss use it.
        watch: who is told of progress.
    """

    def __init__(
        self, folder: Path, *, seed: int = 0, device: str = "cpu", resume: bool = False, save_every: float = 30.0,
        seconds: float | None = None, watch: Watch | None = None, rank: int = 0,
        loss: Callable[..., Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.seed = seed
        self.rank = rank
        self.device = torch.device(device)
        self.loss = loss
        self.watch = watch
        self.save_every = save_every
        self.seconds = seconds
        self.started = time.monotonic()
        self.signal: int | None = None
        self.notes: dict[str, Any] = {}
        self._kept: dict[str, Stateful] = {}
        self._made: dict[str, Any] = {}
        self._done: dict[str, int] = {}  # loop -> steps done; once ended, the loop is in `_ended`
        self._ended: set[str] = set()
        self._enough = False
        self._loop, self._step = "", 0
        self._about: Callable[[int], str] | None = None
        self._pending: list[tuple[str, int, dict[str, Tensor | float]]] = []
        self._latest: dict[str, float] = {}
        self._history_length = 0
        self._generation = 0
        self._saved_at = time.monotonic()
        self._restored: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self._restore()
        else:
            with contextlib.suppress(FileNotFoundError):
                (folder / "history.jsonl").unlink()

    # -- what fit calls ---------------------------------------------------------------------------------------------

    def steps(self, total: int, name: str = "train", about: Callable[[int], str] | None = None) -> Iterator[int]:
        """Counts from where the loop stands to `total`, reseeding before each step and saving in between.

        `enough()` ends the loop after the current step; do not `break`, or a resumed run would repeat the step.

        Args:
            about: names the samples of a step, for the error when its numbers are not finite.
        """
        start = self._done.get(name, 0)
        if name in self._ended or start >= total:
            return
        self._loop, self._enough, self._about = name, False, about
        seed = torch.default_generator.manual_seed
        base = key(self.seed, name, self.rank)
        if start == 0:
            np.random.seed(base & 0xFFFFFFFF)
            random.seed(base)
        else:
            self._restore_generators(name)
        # A key by hashing costs more than the reseed itself; steps of one loop are told apart by a full-period step.
        watched = time.monotonic()
        limit = None if self.seconds is None else self.started + self.seconds
        for step in range(start, total):
            self._step = step
            seed((base + step * 0x9E3779B97F4A7C15) & 0x7FFFFFFFFFFFFFFF)
            yield step
            self._done[name] = step + 1
            now = time.monotonic()
            if limit is not None and now > limit and not self._enough and step + 1 < total:
                self.notes["cut"] = {"loop": name, "step": step + 1, "of": total}
                self._enough = True
            if self._enough:
                break
            if self.signal is not None:
                self._stop()
            if now - self._saved_at >= self.save_every:
                self.save()
            if self.watch is not None and now - watched > 0.25:
                watched = now
                self.flush()
                self.watch.progress(name, step + 1, total, self._latest)
        self._ended.add(name)
        self.save()
        if self.watch is not None:
            self.watch.progress(name, self._done.get(name, 0), total, self._latest)
        if self.signal is not None:
            self._stop()

    def enough(self) -> None:
        """Ends the current loop after this step."""
        self._enough = True

    def keep(self, **stateful: Stateful) -> None:
        """Restores each now if the run is resumed, and saves it from now on."""
        for name, entry in stateful.items():
            if name in self._restored.get("kept", {}):
                entry.load_state_dict(self._restored["kept"][name])
            self._kept[name] = entry

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What is computed one time in the run's life: tensors and plain values. A resumed run reads it back."""
        if name not in self._made:
            self._made[name] = make()
        value: T = self._made[name]
        return value

    def log(self, **scalars: Tensor | float) -> None:
        """Remembers scalars of the current step. Tensors are read back in blocks, so this never waits."""
        self._pending.append((self._loop, self._step, scalars))
        if len(self._pending) >= _BLOCK:
            self.flush()

    def say(self, message: str) -> None:
        """Tells the user something worth a line."""
        if self.watch is not None:
            self.watch.say(message)

    @property
    def left(self) -> float | None:
        """Seconds left of the time given, or None where there is no limit."""
        return None if self.seconds is None else self.started + self.seconds - time.monotonic()

    # -- saving -----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Reads pending scalars back and appends them to the history.

        Raises:
            Diverged: when one is not finite, with the step and what `about` says of it.
        """
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        read = iter(_read_back([v for _, _, row in pending for v in row.values() if isinstance(v, Tensor)]))
        lines = []
        bad: tuple[str, int, str, float] | None = None
        for loop, step, row in pending:
            numbers = {name: next(read) if isinstance(v, Tensor) else float(v) for name, v in row.items()}
            if not all(map(math.isfinite, numbers.values())):
                wrong = next(name for name, value in numbers.items() if not math.isfinite(value))
                bad = (loop, step, wrong, numbers[wrong])
                break
            self._latest.update(numbers)
            # All are finite floats, so these are the words of json.dumps, in a third of its time.
            told = "".join([f", {_word(name)}: {value!r}" for name, value in numbers.items()])
            lines.append(f'{{"loop": {_word(loop)}, "step": {step}{told}}}\n')
        self._append("".join(lines).encode())
        if bad is not None:
            loop, step, name, value = bad
            about = f"; its batch: {self._about(step)}" if self._about is not None else ""
            raise Diverged(
                f"{name} became {value} at step {step} of {loop!r}{about}",
                "Try a smaller --lr, --clip 1, or --precision float32; the last good state is kept.",
            )

    def _append(self, content: bytes) -> None:
        if not content:
            return
        path = self.folder / "history.jsonl"
        try:
            with open(path, "ab") as file:
                file.write(content)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(path, self._history_length)
            raise EnvironmentProblem(
                f"Cannot write {path}: {os.strerror(error.errno or 0)} ({len(content):,} bytes)",
                "Make room on that disk, or give another folder with --out; the last good state is kept.",
            ) from error
        self._history_length += len(content)

    def save(self) -> None:
        """Writes everything kept. The history comes first, so no state follows a value that is not finite."""
        self.flush()
        history = self.folder / "history.jsonl"
        try:
            if history.exists():
                with open(history, "rb") as file:
                    os.fsync(file.fileno())
        except OSError as error:
            raise EnvironmentProblem(f"Cannot write {history}: {error.strerror}", "Check the disk.") from error
        state = {
            "kept": {name: entry.state_dict() for name, entry in self._kept.items()},
            "made": self._made,
            "done": self._done,
            "ended": sorted(self._ended),
            "loop": self._loop,
            "history": self._history_length,
            "notes": self.notes,
            "numpy": _numpy_state(),
            "python": random.getstate(),
        }
        tensors, tree = files.pack(state)
        folder = self.folder / "state"
        self._generation += 1
        path = folder / f"{self._generation:08d}.safetensors"
        digest = files.write_tensors(path, tensors, tree)
        entry = {"file": path.name, "sha256": digest}
        before = _manifest(folder)[:1]
        files.write_json(folder / "manifest.json", [entry, *before])
        wanted = {entry["file"], *(e["file"] for e in before)}
        for old in folder.glob("*.safetensors"):
            if old.name not in wanted:
                old.unlink(missing_ok=True)
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        folder = self.folder / "state"
        problems = []
        for entry in _manifest(folder):
            path = folder / entry["file"]
            try:
                if files.sha256(path) != entry["sha256"]:
                    raise DataError(f"{path} is damaged")
                state = files.unpack(files.read_tensors(path))
                break
            except (DataError, OSError) as error:
                problems.append(str(error).splitlines()[0])
        else:
            if problems:
                raise DataError(f"No saved state of {self.folder} can be read: {'; '.join(problems)}",
                                "Train again without --resume.")
            # Killed before the first save: the run starts over, which is where it stood.
            with contextlib.suppress(FileNotFoundError):
                (self.folder / "history.jsonl").unlink()
            return
        self._restored = state
        self._generation = max(int(p.stem) for p in folder.glob("*.safetensors"))
        self._made = state["made"]
        self._done = state["done"]
        self._ended = set(state["ended"])
        self._history_length = state["history"]
        self.notes = state["notes"]
        history = self.folder / "history.jsonl"
        if self._history_length and (not history.exists() or history.stat().st_size < self._history_length):
            raise DataError(f"{history} is shorter than its state remembers", "Train again without --resume.")
        if history.exists():
            os.truncate(history, self._history_length)

    def _restore_generators(self, name: str) -> None:
        if self._restored.get("loop") == name:
            np.random.set_state(_from_numpy_state(self._restored["numpy"]))
            random.setstate(self._restored["python"])

    def _stop(self) -> None:
        self.save()
        assert self.signal is not None
        name = signals.Signals(self.signal).name
        raise Stopped(f"Stopped by {name} at step {self._done.get(self._loop, 0)} of {self._loop!r}; the run is saved.",
                      f"Go on with: snellen train --resume {self.folder}", signal=self.signal)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, the first Ctrl-C or SIGTERM saves and stops between two steps; the second acts at once."""

        def heard(number: int, frame: FrameType | None) -> None:
            self.signal = number
            for which, handler in before.items():
                signals.signal(which, handler)
            if not self._loop or self._loop in self._ended:
                # Not inside a loop: nothing to finish first.
                raise Stopped(f"Stopped by {signals.Signals(number).name} between two loops.",
                              f"Go on with: snellen train --resume {self.folder}", signal=number)

        before: dict[int, Any] = {}
        with contextlib.suppress(ValueError):  # only the main thread may listen
            for which in (int(signals.SIGINT), int(signals.SIGTERM)):
                before[which] = signals.getsignal(which)
                signals.signal(which, heard)
        try:
            yield
        finally:
            for which, handler in before.items():
                signals.signal(which, handler)


def _read_back(scalars: list[Tensor]) -> list[float]:
    """The numbers of scalars with one wait for the device, exact in double precision."""
    if not scalars:
        return []
    alike = all(s.dtype == scalars[0].dtype and s.ndim == 0 for s in scalars)
    together = torch.stack(scalars if alike else [s.double().reshape(()) for s in scalars])
    numbers: list[float] = together.detach().double().tolist()
    return numbers


def _manifest(folder: Path) -> list[dict[str, str]]:
    if not (folder / "manifest.json").exists():
        return []
    entries = files.read_json(folder / "manifest.json")
    right = isinstance(entries, list) and all(
        isinstance(e, dict) and isinstance(e.get("file"), str) and Path(e["file"]).name == e["file"] for e in entries
    )
    if not right:
        raise DataError(f"{folder / 'manifest.json'} is damaged", "Train again without --resume.")
    return list(entries)


def _numpy_state() -> Any:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest]


def _from_numpy_state(state: Any) -> Any:
    kind, keys, *rest = state
    return (kind, keys.numpy().astype(np.uint32), *rest)
