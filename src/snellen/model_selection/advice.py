"""Advice of a ladder: the best model on validation, and the cheapest that is not significantly worse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor

from snellen.api import TrainedRun
from snellen.core import file_io
from snellen.core.spec import Labels
from snellen.metrics.intervals import LEVEL
from snellen.metrics.significance import SUFFICIENT, mcnemar, paired_t_test
from snellen.model_selection.paired_test import RunPredictions, exchange_p_value
from snellen.report.pages.ladder import Rung


def select_best_run(trained: dict[str, TrainedRun], headline: str) -> tuple[str | None, str | None, str]:
    """The best model on validation, the simplest one not significantly worse, and the advice as a sentence."""
    values: dict[str, float] = {}
    for name, run in trained.items():
        metric = file_io.read_json(run.folder / "metrics.json")["splits"]["val"][headline]
        if metric["value"] is not None:
            values[name] = metric["value"] if metric["higher_is_better"] else -metric["value"]
    predictions = {
        name: RunPredictions(name=name, learner=name, task=run.task, spec=run.spec, predictions=run.predictions("val"))
        for name, run in trained.items()
        if name in values
    }
    errors = {name: run.task.errors(run.predictions, run.spec) for name, run in predictions.items()}
    if not any(isinstance(run.spec.target, Labels) for run in predictions.values()):
        return select_best(values, errors)
    # The headline, a mean of average precisions, is no mean of errors of samples.
    draws = 40 * SUFFICIENT * len(values)
    return select_best(values, errors, lambda a, b: exchange_p_value(predictions[a], predictions[b], draws))


def select_best(
    values: Mapping[str, float], errors: Mapping[str, Tensor], p_value: Callable[[str, str], float] | None = None
) -> tuple[str | None, str | None, str]:
    """The best model on validation, the simplest one not significantly worse, and the advice as a sentence.

    Args:
        values: validation result of each model, higher is better, the simplest first.
        errors: (N,) of each model on the same validation samples.
        p_value: two-sided, of two models by name; None: a test of their errors.
    """
    if not values:
        return None, None, "No model has a validation result."
    names = list(values)
    best, *rest = sorted(names, key=lambda name: -values[name])  # of equal ones the simplest first
    if p_value is None:
        worse = significantly_worse(best, errors)
    else:
        worse = {name for name in rest if values[name] < values[best] and p_value(name, best) / 2 * len(rest) < LEVEL}
    simplest = next(name for name in names if name not in worse)
    if simplest == "baseline" and best != "baseline":
        advice = (
            f"No model is significantly better than the baseline on the validation split (best: {best}): the inputs do "
            "not predict the target, or there is too little data."
        )
    elif simplest == "baseline":
        advice = (
            "No model is better than the baseline on the validation split: the inputs do not predict the target, or "
            "there is too little data."
        )
    elif simplest == best and len(worse) == len(names) - 1 and names[-1] == best and rest:
        advice = f"Use {best}: it is significantly better than every simpler model on the validation split."
    elif simplest == best:
        simpler = ", and every simpler model is significantly worse" if names[0] != best else ""
        advice = f"Use {best}: it has the best result on the validation split{simpler}."
    else:
        advice = (
            f"Use {simplest}: {best} has the best result on the validation split, but is not significantly better than "
            f"the simpler {simplest}."
        )
    return best, simplest, f"{advice} {_runner_up(best, rest, values, worse)}".rstrip()


def _runner_up(best: str, rest: Sequence[str], values: Mapping[str, float], worse: Collection[str]) -> str:
    """The second-best model, and whether it differs from the best."""
    if not rest:
        return ""
    if values[rest[0]] == values[best]:
        equal = [name for name in rest if values[name] == values[best]]
        return f"{', '.join(equal)} and {best} have the same validation result."
    if rest[0] in worse:
        return f"The runner-up, {rest[0]}, is significantly worse than {best}."
    return f"The runner-up, {rest[0]}, does not differ significantly from {best}."


def significantly_worse(best: str, errors: Mapping[str, Tensor]) -> set[str]:
    """The models that are significantly worse than the best of these m; the others hold the truly best in 95 %.

    A model is falsely left out if any of the m − 1 others seems better, so each one-sided test has the level
    0.05 / (m − 1): the best was selected on the same samples.

    Args:
        errors: (N,) of each model on the same samples.
    Source: Gupta 1965; Hsu 1981 (multiple comparisons with the best), with Bonferroni's bound.
    """
    others = [name for name in errors if name != best]
    return {
        name
        for name in others
        if float(errors[name].double().mean()) > float(errors[best].double().mean())
        and _p_value(errors[name], errors[best]) / 2 * len(others) < LEVEL
    }


def _p_value(first: Tensor, second: Tensor) -> float:
    """Two-sided p-value of equal mean errors: McNemar's test of errors 0 and 1, else a paired t-test."""
    if bool(((first == 0) | (first == 1)).all()) and bool(((second == 0) | (second == 1)).all()):
        return mcnemar(int((first < second).sum()), int((first > second).sum()))
    return paired_t_test(first, second)


def with_frontier(rungs: list[Rung]) -> tuple[Rung, ...]:
    """Mark the models on the Pareto frontier of multiply-adds and validation result."""
    points = [(rung.multiply_adds or 0, value) for rung in rungs if (value := validation_value(rung)) is not None]

    def on_frontier(rung: Rung) -> bool:
        value = validation_value(rung)
        if value is None:
            return False
        cost = rung.multiply_adds or 0
        return not any((c < cost and v >= value) or (c == cost and v > value) for c, v in points)

    return tuple(dataclasses.replace(rung, on_frontier=on_frontier(rung)) for rung in rungs)


def validation_value(rung: Rung) -> float | None:
    metric = rung.validation
    if metric is None or metric.value is None:
        return None
    return metric.value if metric.higher_is_better else -metric.value
