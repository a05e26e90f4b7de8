"""Estimate of the time of a training, from a short trial in a temporary folder."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.api import RunOptions, prepare, resume
from snellen.api.lookup import is_builtin
from snellen.core import file_io
from snellen.core.errors import Stopped
from snellen.core.experience import Experience
from snellen.core.learner import Learner

TRIAL = 2.0  # seconds of a trial


def trial_seconds(
    data: Experience,
    learner: Learner[Any, Any, Any],
    settings: Mapping[str, Any],
    options: RunOptions,
    trial: float = TRIAL,
) -> float | None:
    """Estimated seconds of a complete training; None if the learner cannot be stopped early, or fails.

    The training time of the trial is extrapolated to all steps; other costs are counted as measured. The first trial
    of a process includes start-up costs and overestimates.

    Args:
        trial: time limit of the trial, seconds.
    """
    if not learner.stoppable:
        return None
    limits = dataclasses.replace(options, seconds=trial, evaluate_test=False, report=False, progress=None)
    with tempfile.TemporaryDirectory(prefix="snellen-trial-") as temporary:
        folder = Path(temporary, "run")
        started = time.monotonic()
        try:
            prepare(data, learner, settings, out=folder, options=limits)
            resume(folder, learner=None if is_builtin(learner) else learner, data=data, options=limits)
        except Stopped:
            raise
        except Exception:  # the training itself will report the error
            return None
        took = time.monotonic() - started
        plain = file_io.read_json(folder / "metrics.json")
    cut = plain["notes"].get("fitted") or plain["notes"].get("cut")
    if not cut:
        return took
    learning, steps = float(plain["cost"]["seconds_learning"]), int(cut.get("steps", cut.get("step")))
    return took + learning * (int(cut["of"]) / max(1, steps) - 1)
