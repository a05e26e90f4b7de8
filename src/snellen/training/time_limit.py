"""Time limit of learners that cannot be stopped: checked before the work begins."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor

from snellen.core.errors import TooLittleTime
from snellen.core.run import Run


def require_time(run: Run, seconds: float, work: str, remedy: str) -> None:
    """Check that `seconds` are left.

    Args:
        work: what takes the time, such as "300 iterations".
    Raises:
        TooLittleTime: if not, with the seconds that the run needs.
    """
    if run.seconds_left is None or seconds <= run.seconds_left:
        return
    raise TooLittleTime(
        f"{work} take {seconds:.0f} s, more than the time budget allows",
        remedy,
        needed=(run.seconds or 0.0) - run.seconds_left + seconds,
    )


def require_prediction_time(run: Run, predict: Callable[[Tensor], object], x: Tensor, count: int) -> None:
    """Check that the evaluation fits into the time limit, for a model that is slower in prediction than in training.

    Args:
        predict: a function of inputs (B, ...). x: (B, ...) inputs of the trial.
        count: size of the validation split; `run.evaluation_cost` adds the others.
    Raises:
        TooLittleTime: if not.
    """
    if run.seconds_left is None or not len(x):
        return
    predict(x[:1])  # the first one prepares what it searches
    started = time.monotonic()
    predict(x)
    total = count * max(1.0, run.evaluation_cost)
    seconds = (time.monotonic() - started) * total / len(x)
    require_time(run, seconds, f"{round(total):,} predictions", "Give more time.")
