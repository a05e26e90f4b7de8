"""A run: passed to `fit`, it counts steps, keeps state, logs, saves, resumes and honours signals.

Exact resume rests on three things: randomness is a function of (seed, loop, step), everything that changes is kept
(`keep`, `once`), and the history is cut at the length that the saved state remembers.
"""

from __future__ import annotations

import contextlib
import random
import shlex
import signal as signals
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core import files
from snellen.core.checkpoint import State, Stateful, from_numpy_state, numpy_state, read_state, restore, write_state
from snellen.core.errors import DataError, Diverged, Stopped, first_line
from snellen.core.history import History
from snellen.core.random import drawing, key, reseed, seeders

T = TypeVar("T")


class Progress(Protocol):
    """Who is told of progress: the command line, a notebook, no one."""

    def begin(self, name: str, place: int, of: int) -> None: ...
    def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...
    def say(self, message: str) -> None: ...


class Run:
    """What `fit` is given.

    Args:
        folder: where state and history go.
        seed, rank, device: as they sound.
        resume: take up `folder`'s state where it is; False: begin anew; None: only look, `folder` stays as it is.
        save_every: seconds between saves inside a loop; 0 saves after every step.
        seconds: how long `fit` may take in all; loops end early when it is over.
        loss: a loss the caller brought (`snellen.train(..., loss=callable)`); learners with a loss use it.
        progress: who is told of progress.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 0,
        device: str = "cpu",
        resume: bool | None = False,
        save_every: float = 30.0,
        seconds: float | None = None,
        progress: Progress | None = None,
        rank: int = 0,
        loss: Callable[..., Tensor] | None = None,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.rank = rank
        self.device = torch.device(device)
        self.loss = loss
        self.progress = progress
        self.aftermath = 0.0  # what follows `fit` within `seconds`, in passes over the validation split
        self.least = 0.0  # the share of its steps below which learning is not worth the time that is left
        self.save_every = save_every
        self.seconds = seconds
        self.started = time.monotonic()
        self.signal: int | None = None
        self.notes: dict[str, Any] = {}
        self.history = History(folder / "history.jsonl")
        self._kept: dict[str, Stateful] = {}
        self._made: dict[str, Any] = {}
        self._done: dict[str, int] = {}  # loop -> steps done; once over, the loop is in `_ended`
        self._ended: set[str] = set()
        self._inside = self._enough = False
        self._loop, self._step = "", 0
        self._about: Callable[[int], str] | None = None
        self._between = 0  # rows logged outside loops
        self._restored = State()
        self._generation = 0
        self._saved_at = time.monotonic()
        if resume is None:
            return
        files.make_folder(folder)
        for place in (folder, folder / "state", folder / "predictions"):
            _refuse_links(place)
            files.sweep(place)
        if resume:
            self._restore()
        else:
            self.history.clear()
            files.remove(folder / "state" / "manifest.json")

    # -- what fit calls ---------------------------------------------------------------------------------------------

    def steps(self, total: int, name: str = "train", about: Callable[[int], str] | None = None) -> Iterator[int]:
        """Counts from where the loop stands to `total`, reseeding before each step and saving in between.

        `enough()` ends the loop after the current step; do not `break`, or a resumed run would repeat the step.

        Args:
            about: names the samples of a step, for the error when its numbers are not finite.
        """
        if self._inside:
            raise RuntimeError(f"loop {name!r} begins inside {self._loop!r}: the loops of a run do not nest")
        start = self._done.get(name, 0)
        base = key(self.seed, name, self.rank)
        self._loop, self._step, self._about = name, start - 1, about
        if name in self._ended or start >= total:
            self._ended.add(name)
            reseed(base)
            return
        if start == 0:
            np.random.seed(base & 0xFFFFFFFF)
            random.seed(base)
        else:
            self._restore_generators(name)
        self._inside, self._enough = True, False
        seeds = seeders(self.device)
        watched = time.monotonic()
        limit = None if self.seconds is None else self.started + self.seconds
        for step in range(start, total):
            self._step = step
            # A key by hashing costs more than the reseed itself; a full period tells the steps of a loop apart.
            value = (base + step * 0x9E3779B97F4A7C15) & 0x7FFFFFFFFFFFFFFF
            for seed in seeds:
                seed(value)
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
            if self.progress is not None and now - watched > 0.25:
                watched = now
                self.flush()
                self.progress.update(name, step + 1, total, self.history.latest)
        self._ended.add(name)
        self.save()
        if self.progress is not None:
            self.progress.update(name, self._done[name], total, self.history.latest)
        self._inside = False
        if self.signal is not None:
            self._stop()
        reseed(base)  # what follows draws the same numbers whether or not the loop has just run

    def enough(self) -> None:
        """Ends the current loop after this step."""
        self._enough = True

    def keep(self, **stateful: Stateful) -> None:
        """Restores each now if the run is resumed, and saves it from now on.

        Raises:
            DataError: when what was saved does not fit.
        """
        for name, entry in stateful.items():
            if name in self._restored.kept:
                restore(name, entry, self._restored.kept[name], self.folder)
            self._kept[name] = entry

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What is computed one time in the run's life: tensors and plain values. A resumed run reads it back."""
        if name not in self._made:
            with drawing(self.seed, "once", name):
                self._made[name] = make()
        value: T = self._made[name]
        return value

    def log(self, **scalars: Tensor | float) -> None:
        """Remembers scalars of the current step. Tensors are read back in blocks, so this never waits."""
        if not self._inside:
            self._between += 1
            if self._between <= self._restored.between:
                return  # `fit` came past here before it was killed, and the row is there
        if self.history.add(self._loop, self._step, scalars):
            self.flush()

    def say(self, message: str) -> None:
        """Tells the user something worth a line."""
        if self.progress is not None:
            self.progress.say(message)

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
        bad = self.history.flush()
        if bad is not None:
            raise self._diverged(f"{bad.name} became {bad.value}", bad.loop, bad.step)

    def _diverged(self, what: str, loop: str, step: int) -> Diverged:
        batch = f"; its batch: {self._about(step)}" if self._about is not None else ""
        kept = f"the last good state is kept in {self.folder / 'state'}" if self._generation else "none was saved yet"
        return Diverged(
            f"{what} at step {step} of {loop!r}{batch}",
            f"Try a smaller --lr, --clip 1, or --precision float32; {kept}.",
        )

    def save(self) -> None:
        """Writes everything kept. No state follows a value that is not finite, in the history or in the weights."""
        self.flush()
        for name, entry in self._kept.items():
            if isinstance(entry, nn.Module) and not all(bool(torch.isfinite(p).all()) for p in entry.parameters()):
                raise self._diverged(f"A weight of {name!r} became NaN or infinite", self._loop, self._step)
        self.history.sync()
        state = State(
            kept={name: entry.state_dict() for name, entry in self._kept.items()},
            made=self._made,
            done=self._done,
            ended=sorted(self._ended),
            loop=self._loop,
            step=self._step,
            history=self.history.length,
            digest=self.history.digest,
            between=max(self._between, self._restored.between),
            notes=self.notes,
            numpy=numpy_state(),
            python=random.getstate(),
        )
        write_state(self.folder / "state", self._generation + 1, state)
        self._generation += 1
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        found = read_state(self.folder / "state")
        if found is None:  # killed before the first save: the run starts over, which is where it stood
            self.history.clear()
            return
        self._generation, state = found
        self._restored = state
        self._made, self._done, self._ended, self.notes = state.made, state.done, set(state.ended), state.notes
        self.history.cut(state.history, state.digest)

    def _restore_generators(self, name: str) -> None:
        if self._restored.loop != name:
            return
        try:
            np.random.set_state(from_numpy_state(self._restored.numpy))
            random.setstate(self._restored.python)
        except (ValueError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
            raise DataError(
                f"The saved generators of {self.folder} are damaged: {first_line(error)}", "Train anew."
            ) from error

    # -- signals ----------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self.save()
        assert self.signal is not None
        name = signals.Signals(self.signal).name
        raise Stopped(
            f"Stopped by {name} at step {self._done.get(self._loop, 0)} of {self._loop!r}; the run is saved.",
            self._how_to_go_on(),
            signal=self.signal,
        )

    def _how_to_go_on(self) -> str:
        return f"Go on with: snellen train --resume {shlex.quote(str(self.folder))}"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, the first Ctrl-C or SIGTERM saves and stops between two steps; the second acts at once."""

        def heard(number: int, frame: FrameType | None) -> None:
            self.signal = number
            for which, handler in before.items():
                signals.signal(which, handler)
            if not self._inside:  # nothing to finish first
                raise Stopped(
                    f"Stopped by {signals.Signals(number).name} outside the steps of learning.",
                    self._how_to_go_on(),
                    signal=number,
                )

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


def _refuse_links(folder: Path) -> None:
    """What a run writes, cuts and removes lies in its own folder: a link would lead elsewhere."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_symlink():
            raise DataError(
                f"{entry} is a link: a run writes into its own folder only", "Put the files themselves there."
            )
