"""Hyperparameter search by optuna's tree-structured Parzen estimator (TPE); needs the extra `search`.

A suggestion depends only on the earlier cells and their results: a resumed search suggests the same cells.

Source: Bergstra et al. 2011; Akiba et al. 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snellen.core.errors import EnvironmentProblem
from snellen.core.random import key
from snellen.core.spec import Spec
from snellen.model_selection.search_space import (
    AnyLearner,
    Axis,
    RangeAxis,
    StudyCell,
    make_cell,
    setting_text,
    varying_names,
)

Observations = Sequence[tuple[StudyCell, float]]
"""Cells with their scores; higher is better."""


def suggest_cell(
    observations: Observations, number: int, learners: Sequence[AnyLearner], axes: Sequence[Axis], spec: Spec
) -> StudyCell:
    """Suggest the next cell.

    Args:
        observations: results of earlier cells, without failed ones; without any, the cell is drawn at random.
        number: of the new cell.
    """
    optuna = _optuna()
    spaces = _spaces(optuna, learners, axes)
    study = _study(optuna, observations, spaces, number)
    suggestion = study.ask(spaces).params
    by_name = {learner.name: learner for learner in learners}
    learner = by_name[suggestion.get("model", learners[0].name)]
    settings = {}
    for axis in axes:
        if isinstance(axis, RangeAxis):
            settings[axis.name] = suggestion[axis.name]
        else:
            choices = {setting_text(value): value for value in axis.values}
            settings[axis.name] = choices[suggestion[axis.name]] if axis.name in suggestion else axis.values[0]
    return make_cell(number, learner, settings, varying_names(learners, axes), spec)


def require_optuna() -> None:
    """Raise EnvironmentProblem if optuna is not installed."""
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise EnvironmentProblem(
            "A search over a range needs optuna, which is not installed",
            'Install it: pip install "snellen[search]". Or list the values: --vary lr=0.001,0.01',
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _spaces(optuna: Any, learners: Sequence[AnyLearner], axes: Sequence[Axis]) -> dict[str, Any]:
    spaces: dict[str, Any] = {}
    if len(learners) > 1:
        spaces["model"] = optuna.distributions.CategoricalDistribution([learner.name for learner in learners])
    for axis in axes:
        if isinstance(axis, RangeAxis):
            kind = optuna.distributions.IntDistribution if axis.is_integer else optuna.distributions.FloatDistribution
            spaces[axis.name] = kind(axis.low, axis.high, log=axis.log)
        elif len(axis.values) > 1:
            spaces[axis.name] = optuna.distributions.CategoricalDistribution(
                [setting_text(value) for value in axis.values]
            )
    return spaces


def _study(optuna: Any, observations: Observations, spaces: Mapping[str, Any], seed: int) -> Any:
    sampler = optuna.samplers.TPESampler(seed=key(seed, "trial") & 0xFFFFFFFF)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for cell, figure in observations:
        params = {
            name: cell.values[name]
            if isinstance(cell.values[name], int | float)
            and not isinstance(space, optuna.distributions.CategoricalDistribution)
            else setting_text(cell.values[name])
            for name, space in spaces.items()
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(spaces), value=figure))
    return study


def middle_settings(axes: Sequence[Axis]) -> dict[str, Any]:
    """Settings at the middle of their ranges, for the estimate of the training time."""
    settings: dict[str, Any] = {}
    for axis in axes:
        if isinstance(axis, RangeAxis):
            value = (axis.low * axis.high) ** 0.5 if axis.log else (axis.low + axis.high) / 2
            settings[axis.name] = round(value) if axis.is_integer else value
        else:
            settings[axis.name] = axis.values[0]
    return settings
