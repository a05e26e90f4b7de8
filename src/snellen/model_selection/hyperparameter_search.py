"""The next cell of a search, by optuna's tree-structured Parzen estimator; needs the extra `search`.

A suggestion follows from the cells before it and their figures alone, so that a search gone on with after a kill takes
the same way.

Source: Bergstra et al. 2011; Akiba et al. 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snellen.core.errors import EnvironmentProblem
from snellen.core.random import key
from snellen.core.spec import Spec
from snellen.model_selection.search_space import AnyLearner, Axis, Between, Cell, cell, text, varying

Told = Sequence[tuple[Cell, float]]
"""Cells with their figures, more being better."""


def suggested(told: Told, number: int, learners: Sequence[AnyLearner], given: Sequence[Axis], spec: Spec) -> Cell:
    """The cell to try after those told of.

    Args:
        number: its own; those before it that failed are not told of.
    """
    optuna = _optuna()
    spaces = _spaces(optuna, learners, given)
    study = _study(optuna, told, spaces, number)
    found = study.ask(spaces).params
    by_name = {learner.name: learner for learner in learners}
    learner = by_name[found.get("model", learners[0].name)]
    settings = {}
    for axis in given:
        if isinstance(axis, Between):
            settings[axis.name] = found[axis.name]
        else:
            words = {text(value): value for value in axis.values}
            settings[axis.name] = words[found[axis.name]] if axis.name in found else axis.values[0]
    return cell(number, learner, settings, varying(learners, given), spec)


def importance(told: Told, learners: Sequence[AnyLearner], given: Sequence[Axis]) -> dict[str, float] | None:
    """How much each setting matters by optuna's estimate, adding up to one; None where that is not known."""
    optuna = _optuna()
    spaces = _spaces(optuna, learners, given)
    if len(told) < 4 or len({figure for _, figure in told}) < 2:
        return None
    study = _study(optuna, told, spaces, 0)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found: Mapping[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(found[name]) for name in spaces if name in found}


def need() -> None:
    """Raises EnvironmentProblem where optuna is missing."""
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise EnvironmentProblem(
            "A search over a range needs optuna, which is not installed",
            'Type: pip install "snellen[search]", or list the values: --vary lr=0.001,0.01',
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _spaces(optuna: Any, learners: Sequence[AnyLearner], given: Sequence[Axis]) -> dict[str, Any]:
    spaces: dict[str, Any] = {}
    if len(learners) > 1:
        spaces["model"] = optuna.distributions.CategoricalDistribution([learner.name for learner in learners])
    for axis in given:
        if isinstance(axis, Between):
            kind = optuna.distributions.IntDistribution if axis.whole else optuna.distributions.FloatDistribution
            spaces[axis.name] = kind(axis.low, axis.high, log=axis.log)
        elif len(axis.values) > 1:
            spaces[axis.name] = optuna.distributions.CategoricalDistribution([text(value) for value in axis.values])
    return spaces


def _study(optuna: Any, told: Told, spaces: Mapping[str, Any], seed: int) -> Any:
    sampler = optuna.samplers.TPESampler(seed=key(seed, "trial") & 0xFFFFFFFF)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for tried, figure in told:
        params = {
            name: tried.values[name]
            if isinstance(tried.values[name], int | float)
            and not isinstance(space, optuna.distributions.CategoricalDistribution)
            else text(tried.values[name])
            for name, space in spaces.items()
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(spaces), value=figure))
    return study


def middle(given: Sequence[Axis]) -> dict[str, Any]:
    """Settings in the middle of their ranges, for a trial of how long one training takes."""
    found: dict[str, Any] = {}
    for axis in given:
        if isinstance(axis, Between):
            value = (axis.low * axis.high) ** 0.5 if axis.log else (axis.low + axis.high) / 2
            found[axis.name] = round(value) if axis.whole else value
        else:
            found[axis.name] = axis.values[0]
    return found
