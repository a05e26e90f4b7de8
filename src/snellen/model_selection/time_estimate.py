"""How long a training will take, from a short trial of it in a temporary folder."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.api import RunOptions, prepare, resume
from snellen.api.lookup import is_ours
from snellen.core import files
from snellen.core.errors import Stopped
from snellen.core.learner import Learner
from snellen.data.dataset import Dataset, Labelled

TRIAL = 2.0  # seconds of a trial


def trial_seconds(
    data: Dataset[Labelled],
    learner: Learner[Any, Any, Any],
    settings: Mapping[str, Any],
    options: RunOptions,
    trial: float = TRIAL,
) -> float | None:
    """Seconds of a whole training, by one that is cut short; None where it cannot be cut short, or fails.

    Learning is taken to be as long as its steps are many; what surrounds it is counted as it was. The first trial of a
    process pays for what is loaded once, and says too much.

    Args:
        trial: seconds it may take.
    """
    if not learner.stoppable:
        return None
    limits = dataclasses.replace(options, seconds=trial, evaluate_test=False, report=False, progress=None)
    with tempfile.TemporaryDirectory(prefix="snellen-trial-") as temporary:
        place = Path(temporary, "run")
        started = time.monotonic()
        try:
            prepare(data, learner, settings, out=place, options=limits)
            resume(place, learner=None if is_ours(learner) else learner, data=data, options=limits)
        except Stopped:
            raise
        except Exception:  # whatever is wrong, the training itself will say
            return None
        took = time.monotonic() - started
        plain = files.read_json(place / "metrics.json")
    cut = plain["notes"].get("fitted") or plain["notes"].get("cut")
    if not cut:
        return took
    learning, steps = float(plain["cost"]["seconds_learning"]), int(cut.get("steps", cut.get("step")))
    return took + learning * (int(cut["of"]) / max(1, steps) - 1)
