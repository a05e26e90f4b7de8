"""Predictions of a sequence step by step, as its steps arrive."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.task import PredictionDict
from snellen.modalities import modality_of
from snellen.nn.streaming import forget, with_carried_state

if TYPE_CHECKING:
    from snellen.api.trained_run import TrainedRun


class Stream:
    """Predictions of one sequence after another, a step at a time; each is that of the steps so far.

    A recurrent network carries its state, and an MLP with an output at every step the last steps, so a step takes the
    same time and memory however many there were before. A model of windows, such as one that forecasts, reads the last
    window again at each step, and has no prediction before the first window is complete. Other models of sequences of
    several lengths read all steps again.

    Raises:
        UsageError: for inputs that are no sequences; for a model with an output at every step that reads later steps.
    """

    def __init__(self, run: TrainedRun) -> None:
        if modality_of(run.spec).read_steps is None:
            raise UsageError(
                f"{run.record.learner} reads {modality_of(run.spec).noun}, which do not arrive step by step",
                "Give files.",
            )
        display = run.task.display
        at_every_step = display.class_map is not None or display.number_maps is not None
        window = run.spec.input.shape[0]
        carried = with_carried_state(run.model) if at_every_step or window is None else None
        if at_every_step and carried is None:
            raise UsageError(
                f"{run.record.learner} reads the steps after each step too: its predictions are those of a whole "
                "sequence",
                "Give files, or train a network with --causal: snellen train DATA --model gru --causal",
            )
        self._run = run
        self._carried = carried
        self._steps: deque[Tensor] = deque(maxlen=None if carried is None else 1)
        if carried is None and window is not None:
            self._steps = deque(maxlen=window)
        self._needed = window if carried is None and window is not None else 1
        self.count = 0

    def step(self, x: Tensor) -> PredictionDict | None:
        """The prediction after a further step (D,); None where more steps are needed."""
        self._steps.append(x)
        self.count += 1
        if len(self._steps) < self._needed:
            return None
        batch = torch.stack(list(self._steps))[None]
        model = self._run.model if self._carried is None else self._carried
        (prediction,) = self._run.task.predict_batch(model, batch.to(self._run.record.device), self._run.spec)
        return prediction

    def check_length(self, sequence: int) -> None:
        """Raise DataError for a sequence of fewer steps than a prediction needs. sequence: its number."""
        if self.count < self._needed:
            raise DataError(
                f"Sequence {sequence:,} on standard input has {self.count:,} steps, a prediction needs "
                f"{self._needed:,}",
                "Give more steps.",
            )

    def restart(self) -> None:
        """Begin a new sequence."""
        self._steps.clear()
        self.count = 0
        if self._carried is not None:
            forget(self._carried)


def predict_lines(run: TrainedRun, lines: Iterable[str]) -> Iterator[PredictionDict]:
    """Predictions after each line of numbers, with the numbers of its sequence and its step, beginning at 1.

    An empty line begins a new sequence.

    Raises:
        DataError: a line that holds no step, naming it; a sequence with fewer steps than a prediction needs.
        UsageError: see `Stream`.
    """
    stream = Stream(run)
    read_steps = modality_of(run.spec).read_steps
    assert read_steps is not None
    sequence = 1
    for x in read_steps(lines, run.spec):
        if x is None:
            if stream.count:
                stream.check_length(sequence)
                stream.restart()
                sequence += 1
            continue
        prediction = stream.step(x)
        if prediction is not None:
            yield {"sequence": sequence, "step": stream.count, **prediction}
    if stream.count:
        stream.check_length(sequence)
