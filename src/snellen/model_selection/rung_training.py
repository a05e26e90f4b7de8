"""Training of one model of a ladder within a time limit; a failure ends this model only."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.api import RunOptions, TrainedRun, load, prepare, resume, unsupported_reason
from snellen.api.lookup import resolve_available
from snellen.architectures.pretrained import MissingWeights
from snellen.core.errors import CannotWrite, SnellenError, Stopped, TooLittleTime
from snellen.core.experience import Experience
from snellen.core.learner import Learner
from snellen.core.record import read_metrics
from snellen.core.serialization import from_plain
from snellen.core.settings import Suggestion
from snellen.core.spec import Spec
from snellen.core.views import Metric
from snellen.model_selection.forked import run_forked
from snellen.report.pages.ladder import Rung
from snellen.tasks import LEARNERS

AnyLearner = Learner[Any, Any, Any]

MIN_SECONDS = 2.0  # with less time a model is not trained


def train_rung(
    learner: AnyLearner,
    data: Experience,
    folder: Path,
    seed: int,
    options: RunOptions,
    suggested: Mapping[str, Suggestion],
) -> tuple[Rung, TrainedRun | None]:
    """Train one model within `options.seconds`, or load it from its folder.

    Args:
        suggested: settings that the time suggests, besides those that the data suggests.
    Returns:
        The rung, with its reason if there is no run; the run.
    """
    name = learner.name
    custom = None if learner is LEARNERS[learner.task.name].get(name) else learner
    try:
        if (folder / "metrics.json").exists():
            run = load(folder, learner=custom, device=options.device, data=data)
            return finished_rung(run), run
        if options.seconds is not None and options.seconds < MIN_SECONDS:
            return Rung(name=name, status="no time", reason="not trained: the budget was spent"), None
        in_child = not learner.stoppable and not options.device.startswith("cuda") and options.seconds is not None
        if in_child:
            options = dataclasses.replace(options, threads=1)
        remark = ""
        if not (folder / "run.json").exists():
            remark = _prepare(data, learner, folder, seed, options, suggested)
        if in_child:
            assert options.seconds is not None
            run_forked(lambda: resume(folder, learner=custom, data=data, options=options), options.seconds)
            run = load(folder, learner=custom, device=options.device, data=data)
        else:
            run = resume(folder, learner=custom, data=data, options=options)
        rung = finished_rung(run)
        return dataclasses.replace(rung, reason="; ".join(filter(None, [rung.reason, remark]))), run
    except (Stopped, KeyboardInterrupt):
        raise
    except TooLittleTime as error:
        if not (folder / "metrics.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # nothing was trained
        needed, needs_more = error.needed, error.at_least
        return Rung(name=name, status="no time", reason=error.cause, seconds_needed=needed, needs_more=needs_more), None
    except CannotWrite:  # no other model could write its results either
        raise
    except SnellenError as error:
        return Rung(name=name, status="failed", reason=error.cause, folder=str(folder)), None
    except Exception as error:  # a learner may raise any exception; the others continue
        return Rung(name=name, status="failed", reason=f"{type(error).__name__}: {error}", folder=str(folder)), None


def why_unsupported(learner: AnyLearner, spec: Spec) -> str | None:
    """Why a learner cannot be trained, or None. Without published weights it is trained from scratch, if possible."""
    reason = unsupported_reason(learner, spec)
    if reason is not None:
        return reason
    try:
        learner.check_requirements(resolve_available(learner, {}, spec)[0], spec)
    except MissingWeights as missing:
        return f"needs published weights: {missing.remedy.split(';')[0].partition(': ')[2]}"
    return None


def _prepare(
    data: Experience,
    learner: AnyLearner,
    folder: Path,
    seed: int,
    options: RunOptions,
    suggested: Mapping[str, Suggestion],
) -> str:
    """Prepare a run, without published weights from scratch. Returns a remark on the latter."""
    missing = resolve_available(learner, {}, data.spec)[2]
    given = {} if missing is None else {"from_scratch": True}
    prepare(data, learner, given, out=folder, seed=seed, options=options, suggested=suggested)
    return "" if missing is None else f"from scratch: {missing.cause}"


def finished_rung(run: TrainedRun) -> Rung:
    """The rung of a finished run, from its metrics."""
    stored = read_metrics(run.folder / "metrics.json")
    validation = from_plain(Metric, stored["splits"]["val"][run.headline])
    shortened = stored["notes"].get("fitted") or stored["notes"].get("cut")
    rung = Rung(name=run.record.learner, folder=str(run.folder), validation=validation, **stored["cost"])
    if not shortened:
        return rung
    steps, of = shortened.get("steps", shortened.get("step")), shortened["of"]
    return dataclasses.replace(
        rung,
        reason=f"trained {steps:,} of {of:,} steps (time limit)",
        seconds_needed=(rung.seconds_learning or 0.0) * of / max(steps, 1),
    )


def prediction_seconds(run: TrainedRun, count: int) -> float:
    """Expected seconds of predicting `count` samples, from the time of the validation split."""
    seconds = read_metrics(run.folder / "metrics.json")["cost"].get("seconds_judging", 0.0)
    return float(seconds) * count / max(run.spec.sizes["val"], 1)
