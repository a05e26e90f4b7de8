"""Plan of a ladder before it is trained: the time of each model, measured by a few steps in a temporary folder."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from snellen.api import RunOptions
from snellen.core import file_io
from snellen.core.experience import Experience
from snellen.data.experience import with_deferred_findings
from snellen.model_selection import ladder_plan
from snellen.model_selection.ladder_training import MARGIN, LadderTraining, count_stoppable, reserve
from snellen.model_selection.rung_training import MIN_SECONDS, AnyLearner, why_unsupported


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """What a ladder would do with one model.

    Args:
        training: "complete"; "pilot": a shortened training, and a final one with more time if it is among the best;
            "none": not begun.
        seconds: of the first training.
        needed: seconds of the complete training; None: not known before it is tried.
        image_size: pixels a side to which images are reduced; 0: as suggested by the data.
        reason: why the model is not trained.
        suggested: setting: value and reason, of those that the data or the time suggest.
    """

    name: str
    training: Literal["complete", "pilot", "none"]
    seconds: float = 0.0
    needed: float | None = None
    image_size: int = 0
    reason: str = ""
    suggested: Mapping[str, tuple[Any, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LadderPlan:
    """The planned models, in the order of the ladder, and the seconds left for final trainings of the best pilots."""

    models: tuple[PlannedModel, ...]
    seconds_final: float


def plan_ladder(
    data: Experience,
    candidates: Sequence[AnyLearner],
    *,
    budget: float,
    seed: int = 0,
    options: RunOptions = RunOptions(),
) -> LadderPlan:
    """Measure the models and plan their trainings; nothing is kept.

    A model whose complete training takes at most MIN_SECONDS is trained completely to measure it.

    Args:
        budget: seconds for the whole ladder, as in `ladder`.
    """
    data, _ = with_deferred_findings(data)
    slot = max(MIN_SECONDS, ladder_plan.CHEAP * budget)
    left = budget - reserve(budget, data)
    models: dict[str, PlannedModel] = {}
    learners = {learner.name: learner for learner in candidates}
    costly: dict[str, AnyLearner] = {}
    with tempfile.TemporaryDirectory(prefix="snellen-plan-") as temporary:
        file_io.write_json(Path(temporary, "ladder.json"), {})
        training = LadderTraining(data, Path(temporary), seed, budget, math.inf, options)

        def completely_or_not_at_all(name: str, needed: float, size: int, seconds: float) -> float:
            """Plan a model that is not a pilot; the seconds that it takes."""
            fits = MARGIN * needed <= seconds
            training.suggest_size(learners[name], size)
            models[name] = PlannedModel(
                name=name,
                training="complete" if fits else "none",
                seconds=needed if fits else 0.0,
                needed=needed,
                image_size=size,
                reason="" if fits else "not enough time",
            )
            return models[name].seconds

        for learner in training.in_order(candidates):
            name, reason = learner.name, why_unsupported(learner, data.spec)
            if reason is not None:
                models[name] = PlannedModel(name=name, training="none", reason=reason)
                continue
            started = time.monotonic()
            needed = training.measure(learner)
            took = time.monotonic() - started
            models[name] = PlannedModel(name=name, training="complete", seconds=needed or slot, needed=needed)
            if training.rungs[name].seconds_needed is None or needed is None or needed <= slot:  # or it was trained
                left -= needed or took
                continue
            left -= took
            costly[name] = learner
            if training.is_first(learner):
                training.end = time.monotonic() + left
                spent = completely_or_not_at_all(
                    name, *training.reduced(learner), training.max_fraction(learner) * left
                )
                if spent:
                    left -= spent
                    del costly[name]
                training.end = math.inf
        training.is_single = count_stoppable(costly.values()) == 1
        reduced = {}
        for name, learner in costly.items():
            training.end = time.monotonic() + left
            reduced[name] = training.reduced(learner)
    for name in sorted(costly, key=lambda name: reduced[name][0]):
        stoppable = costly[name].stoppable
        limit = 0.0 if stoppable else training.max_fraction(costly[name]) * left
        left -= completely_or_not_at_all(name, *reduced[name], limit)
    pilots = training.plan_pilots(costly, {name: seconds for name, (seconds, _) in reduced.items()}, left)
    for name, seconds in pilots.items():
        models[name] = dataclasses.replace(
            models[name],
            training="complete" if seconds >= reduced[name][0] else "pilot",
            seconds=seconds,
            reason="",
        )
    ordered = tuple(
        models[learner.name]
        if models[learner.name].training == "none"
        else dataclasses.replace(models[learner.name], suggested=training.explain(learner))
        for learner in candidates
    )
    return LadderPlan(models=ordered, seconds_final=max(0.0, left - sum(pilots.values())))
