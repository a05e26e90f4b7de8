"""Run: step loops, checkpoints, history, resuming and signals, for use in `fit`.

Resuming is bit-identical for three reasons: random numbers are a function of (seed, loop, step), checkpoints hold
everything that changes (`keep`, `once`), and the history is truncated to the length stored in the checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import shlex
import signal as signals
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core import file_io
from snellen.core.checkpoint import State, Stateful, from_numpy_state, numpy_state, read_state, restore, write_state
from snellen.core.errors import DataError, Diverged, Stopped, first_line
from snellen.core.history import History
from snellen.core.random import key, reseed, seeded, seeders
from snellen.core.record import read_record, write_record
from snellen.core.snapshots import Snapshots

T = TypeVar("T")


class Progress(Protocol):
    """Receiver of progress messages: the command line, a notebook."""

    def begin(self, name: str, index: int, total: int) -> None:
        """Model `index` of `total` starts."""

    def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None:
        """Step `step` of `total` of a loop is done."""

    def message(self, message: str) -> None:
        """Show a message of one line."""


class Run:
    """Context of a training run, passed to `fit`.

    Args:
        folder: folder of checkpoints and history.
        seed, rank: of the random numbers.
        device: a device of torch.
        resume: True: resume from the checkpoint in `folder`; False: start from the beginning; None: read only, `folder`
            stays unchanged.
        save_every: seconds between checkpoints inside a loop; 0 saves after every step.
        seconds: time limit of `fit`; loops end early when it is reached.
        loss: custom loss (`snellen.train(..., loss=callable)`); learners with a loss use it.
        progress: receiver of progress messages.
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
        self.evaluation_cost = 0.0  # of what follows `fit` within `seconds`, in passes over the validation split
        self.validation_fraction = 0.0  # validation samples, relative to training samples
        self.min_fraction = 0.0  # of the steps that must fit into `seconds`, else TooLittleTime
        self.max_threads = 1  # CPU threads from which a trial may choose; 1: the number is fixed
        self.save_every = save_every
        self.seconds = seconds
        self.started = time.monotonic()
        self.signal: int | None = None
        self.notes: dict[str, Any] = {}
        self.snapshots: Snapshots | None = None  # where the report shows the model in training
        self.training_predictions: dict[str, Tensor] | None = None  # where `fit` knows them: the diagnosis reads them
        self.validation_predictions: tuple[dict[str, Tensor], float] | None = None  # where `fit` knows them; seconds
        self.history = History(folder / "history.jsonl")
        self._stateful: dict[str, Stateful] = {}
        self._once_results: dict[str, Any] = {}
        self._steps_done: dict[str, int] = {}  # loop -> steps done; finished loops are in `_ended`
        self._ended: set[str] = set()
        self._inside = self._ending = False
        self._loop, self._step, self._total = "", 0, 1
        self._describe: Callable[[int], str] | None = None
        self._between = 0  # rows logged outside loops
        self._restored = State()
        self._generation = 0
        self._saved_at = time.monotonic()
        if resume is None:
            return
        file_io.make_folder(folder)
        file_io.reject_links(folder)
        for subfolder in (folder, folder / "state", folder / "predictions"):
            file_io.remove_partial_files(subfolder)
        if resume:
            self._restore()
        else:
            self.history.clear()
            file_io.remove(folder / "state" / "manifest.json")

    # -- called by fit ---------------------------------------------------------------------------------------------

    @property
    def fraction_done(self) -> float:
        """The fraction of the steps of the current loop that is done, in [0, 1); 0 outside loops."""
        return self._step / self._total if self._inside else 0.0

    def steps(self, total: int, name: str = "train", describe: Callable[[int], str] | None = None) -> Iterator[int]:
        """Iterate over steps, from the current step of the loop to `total`; reseeds before each and saves checkpoints.

        `end_loop()` ends the loop after the current step; do not `break`, or a resumed run would repeat the step.

        Args:
            describe: names the samples of a step, for the error message when its values are not finite.
        """
        if self._inside:
            raise RuntimeError(f"loop {name!r} starts inside {self._loop!r}: loops of a run cannot be nested")
        start = self._steps_done.get(name, 0)
        self._total = total
        base = key(self.seed, name, self.rank)
        self._loop, self._step, self._describe = name, start - 1, describe
        if name in self._ended or start >= total:
            self._ended.add(name)
            reseed(base)
            return
        if start == 0:
            np.random.seed(base & 0xFFFFFFFF)
            random.seed(base)
        else:
            self._restore_generators(name)
        self._inside, self._ending = True, False
        seeds = seeders(self.device)
        last_update = time.monotonic()
        limit = None if self.seconds is None else self.started + self.seconds
        for step in range(start, total):
            self._step = step
            # Hashing a key takes longer than reseeding; multiples of an odd constant are distinct seeds.
            value = (base + step * 0x9E3779B97F4A7C15) & 0x7FFFFFFFFFFFFFFF
            for seed in seeds:
                seed(value)
            yield step
            self._steps_done[name] = step + 1
            now = time.monotonic()
            if limit is not None and now > limit and not self._ending and step + 1 < total:
                self.notes["cut"] = {"loop": name, "step": step + 1, "of": total}
                self._ending = True
            if self._ending:
                break
            if self.signal is not None:
                self._stop()
            if now - self._saved_at >= self.save_every:
                self.save()
            if self.progress is not None and now - last_update > 0.25:
                last_update = now
                self.flush()
                self.progress.update(name, step + 1, total, self.history.latest)
        self._ended.add(name)
        self.save()
        if self.progress is not None:
            self.progress.update(name, self._steps_done[name], total, self.history.latest)
        self._inside = False
        if self.signal is not None:
            self._stop()
        reseed(base)  # later random numbers do not depend on whether the loop has just run

    def end_loop(self) -> None:
        """End the current loop after this step."""
        self._ending = True

    def keep(self, **stateful: Stateful) -> None:
        """Include objects in checkpoints; in a resumed run, first load their saved state.

        Raises:
            DataError: when the saved state does not fit.
        """
        for name, target in stateful.items():
            if name in self._restored.kept:
                restore(name, target, self._restored.kept[name], self.folder)
            self._stateful[name] = target

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Compute tensors or plain values once per run; a resumed run reads them from the checkpoint."""
        if name not in self._once_results:
            with seeded(self.seed, "once", name):
                self._once_results[name] = make()
        value: T = self._once_results[name]
        return value

    def set_threads(self, count: int) -> None:
        """Set the number of CPU threads of the rest of the training, and store it: a resumed run has no other trial."""
        torch.set_num_threads(count)
        self.max_threads = 1
        record = dataclasses.replace(read_record(self.folder), threads=count, threads_on_trial=False)
        write_record(self.folder, record)

    def log(self, **scalars: Tensor | float) -> None:
        """Log scalars of the current step. Tensors are read back in blocks, so that the call does not synchronise."""
        if not self._inside:
            self._between += 1
            if self._between <= self._restored.between:
                return  # logged before the run was killed: the row is in the history
        if self.history.add(self._loop, self._step, scalars):
            self.flush()

    def message(self, message: str) -> None:
        """Show the user a message of one line."""
        if self.progress is not None:
            self.progress.message(message)

    @property
    def seconds_left(self) -> float | None:
        """Seconds left of the time limit, or None without a limit."""
        return None if self.seconds is None else self.started + self.seconds - time.monotonic()

    # -- saving -----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Read pending scalars back and append them to the history.

        Raises:
            Diverged: when a value is not finite, with the step and its samples by `describe`.
        """
        non_finite = self.history.flush()
        if non_finite is not None:
            raise self._diverged(f"{non_finite.name} became {non_finite.value}", non_finite.loop, non_finite.step)

    def _diverged(self, what: str, loop: str, step: int) -> Diverged:
        batch = f"; its batch: {self._describe(step)}" if self._describe is not None else ""
        saved = f"the last checkpoint is in {self.folder / 'state'}" if self._generation else "no checkpoint was saved"
        return Diverged(
            f"{what} at step {step} of the training loop {loop!r}{batch}",
            f"Try a smaller --lr, --clip-grad 1, or --precision float32; {saved}.",
        )

    def save(self) -> None:
        """Write a checkpoint; raises Diverged instead where a logged value or a weight is not finite."""
        self.flush()
        for name, target in self._stateful.items():
            if isinstance(target, nn.Module) and not all(bool(torch.isfinite(p).all()) for p in target.parameters()):
                raise self._diverged(f"A weight of {name!r} became NaN or infinite", self._loop, self._step)
        self.history.sync()
        state = State(
            kept={name: target.state_dict() for name, target in self._stateful.items()},
            made=self._once_results,
            done=self._steps_done,
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
        checkpoint = read_state(self.folder / "state")
        if checkpoint is None:  # killed before the first checkpoint: start from the beginning
            self.history.clear()
            return
        self._generation, state = checkpoint
        self._restored = state
        self._once_results, self._steps_done = state.made, state.done
        self._ended, self.notes = set(state.ended), state.notes
        self.history.truncate(state.history, state.digest)

    def _restore_generators(self, name: str) -> None:
        if self._restored.loop != name:
            return
        try:
            np.random.set_state(from_numpy_state(self._restored.numpy))
            random.setstate(self._restored.python)
        except (ValueError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
            raise DataError(
                f"The random number generator states in the checkpoint of {self.folder} are damaged: "
                f"{first_line(error)}",
                "Train again.",
            ) from error

    # -- signals ----------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self.save()
        assert self.signal is not None
        name = signals.Signals(self.signal).name
        raise Stopped(
            f"Stopped by {name} at step {self._steps_done.get(self._loop, 0)} of the training loop "
            f"{self._loop!r}; the run is saved.",
            self._resume_hint(),
            signal=self.signal,
        )

    def _resume_hint(self) -> str:
        return f"Resume with: snellen train --resume {shlex.quote(str(self.folder))}"

    @contextlib.contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Context manager: the first Ctrl-C or SIGTERM saves and stops after the step, the second acts immediately."""

        def handle(number: int, frame: FrameType | None) -> None:
            self.signal = number
            for which, handler in before.items():
                signals.signal(which, handler)
            if not self._inside:  # no step to finish
                raise Stopped(
                    f"Stopped by {signals.Signals(number).name} outside the training steps.",
                    self._resume_hint(),
                    signal=number,
                )

        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other can set handlers
            for which in (int(signals.SIGINT), int(signals.SIGTERM)):
                previous = signals.signal(which, handle)
                before[which] = signals.SIG_DFL if previous is None else previous  # None: not set by Python
        try:
            yield
        finally:
            for which, handler in before.items():
                signals.signal(which, handler)
