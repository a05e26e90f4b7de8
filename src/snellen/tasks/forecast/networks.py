"""Forecasters from the architectures that read sequences, and from modules of a user: H · D outputs."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from snellen.architectures import ARCHITECTURES, learners
from snellen.architectures.architecture import Architecture
from snellen.architectures.network_task import NetworkTask
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, flatten
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.forecast.calibration import with_intervals
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.mirror import with_reflections
from snellen.tasks.forecast.objective import (
    ForecastNetwork,
    ForecastObjective,
    ForecastSettings,
    check_forecast,
    fit_scale,
    levels_of_network,
    numbers_per_output,
    output_count,
    suggest_base,
)
from snellen.tasks.forecast.task import TASK
from snellen.training.supervised import SupervisedObjective

MANY_OUTPUTS = 256  # beyond, a state of few units limits the forecast


def _suggest(architecture: Architecture[Any], spec: Spec) -> dict[str, Suggestion]:
    """Fewer epochs, as overlapping windows repeat each step; a larger state for many outputs."""
    defaults = {setting.name: setting.default for setting in flatten(architecture.settings, help=False)}
    epochs = {"epochs": defaults["epochs"], **{n: s.value for n, s in architecture.suggestions(spec).items()}}["epochs"]
    window, count = spec.input.shape[0] or 1, output_count(spec)
    suggested = {}
    if window > 2:
        reason = f"windows of {window:,} steps overlap: an epoch shows each step several times"
        suggested["epochs"] = Suggestion(value=max(1, epochs // 2), reason=reason)
    if count > MANY_OUTPUTS and defaults.get("hidden_size", count) < 128:
        suggested["hidden_size"] = Suggestion(value=128, reason=f"{count:,} outputs: a larger state")
    if suggest_base(spec) and {"dropout", "weight_decay", "hidden_size"} <= defaults.keys():
        reason = "motion: the correction of the linear forecast overfits few recordings"
        chosen: dict[str, Any] = {"dropout": 0.5, "optimizer": "adamw", "weight_decay": 0.1, "hidden_size": 64}
        chosen |= {"epochs": 6, "lr": 0.003}
        suggested |= {name: Suggestion(value=value, reason=reason) for name, value in chosen.items()}
    skeleton = future(spec).skeleton
    if skeleton is not None and skeleton.has_positions:
        suggested["loss"] = Suggestion(value="positions", reason="motion is measured by the positions of the joints")
    return {**suggested, **suggest_base(spec)}


NETWORK_TASK = NetworkTask[ForecastNetwork, SupervisedObjective[ForecastNetwork]](
    task=TASK,
    settings=ForecastSettings,
    outputs=output_count,
    numbers_per_output=numbers_per_output,
    model=lambda network, spec, c: ForecastNetwork(network, spec, c.reference, c.base, levels_of_network(c)),
    objective=lambda spec, c, run: ForecastObjective(c, run),
    prepare=fit_scale,
    suggest=_suggest,
    check_requirements=check_forecast,
)


def _of_architecture(architecture: Architecture[Any]) -> Learner[Any, Any, ForecastNetwork]:
    """The learner of an architecture, which also trains on reflected motion."""
    learner = learners.from_architecture(NETWORK_TASK, architecture)

    def fit(c: Any, data: Dataset[Labelled], model: ForecastNetwork, run: Run) -> None:
        learner.fit(c, with_reflections(data, c.task.mirror), model, run)

    return dataclasses.replace(learner, accepts=architecture.accepts, fit=fit)


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(
    _of_architecture(architecture) for architecture in ARCHITECTURES.values() if architecture.accepts == {"sequence"}
)


def from_module(module: nn.Module) -> Learner[Any, Any, ForecastNetwork]:
    """Learner around a module that takes (B, T, D) float inputs and returns (B, H · D) numbers.

    The inputs are changes since the last step, the numbers the changes of the next H steps, D for each, both in units
    of the typical change of each feature; the learner converts them to the user's units. With the quantile loss it
    returns 1 + 2 L times as many numbers for L intervals, see `ForecastNetwork`.
    """
    return with_intervals(learners.from_module(NETWORK_TASK, module))
