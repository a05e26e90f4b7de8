"""Advice of a ladder: the best model on validation, and the cheapest that is about as good."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from snellen.api import TrainedRun
from snellen.core import file_io
from snellen.core.spec import Labels
from snellen.core.task import SAMPLES
from snellen.core.views import NO_INTERVAL, Metric
from snellen.metrics.intervals import LEVEL, MIN_SAMPLES, Z, resampled_values, with_percentiles
from snellen.metrics.significance import SUFFICIENT, mcnemar, paired_t_test
from snellen.model_selection.paired_test import (
    RunPredictions,
    exchange_p_value,
    gain_of_rows,
    headline_gain,
    unit_count,
)
from snellen.report.pages.ladder import Rung

ROUNDING = 1e-12  # of differences that are exactly one standard error
MAX_MORE_ERRORS = 0.05  # of the errors of the best model, that a cheaper one may make


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """By how much a model is worse than the best on the validation samples, in units of the headline metric.

    Args:
        value: the paired difference; 0 for equal results.
        standard_error: of the difference.
        text: the largest difference within the 95 % confidence interval, with its unit.
    """

    value: float
    standard_error: float
    text: str


def select_best_run(
    trained: dict[str, TrainedRun], headline: str, shortened: Collection[str] = ()
) -> tuple[str | None, str | None, str]:
    """The best model on validation, the cheapest one that is about as good, and the advice as a sentence.

    The cost is what a prediction takes: multiply-adds, then parameters; of equal cost models with probabilities first.
    """
    values: dict[str, float] = {}
    too_few = ""
    costs: dict[str, tuple[int, int, bool]] = {}
    for name, run in trained.items():
        stored = file_io.read_json(run.folder / "metrics.json")
        metric, cost = stored["splits"]["val"][headline], stored["cost"]
        if metric["value"] is not None:
            values[name] = metric["value"] if metric["higher_is_better"] else -metric["value"]
            too_few = too_few or metric.get("reason", "").partition(NO_INTERVAL)[2]
            has_probabilities = getattr(run.model, "probabilistic", True)
            costs[name] = (cost.get("multiply_adds") or 0, cost.get("parameters") or 0, not has_probabilities)
    # Of equally many multiply-adds the best first: the others are not on the frontier.
    cheapest_first = sorted(values, key=lambda name: (costs[name][0], -values[name], *costs[name][1:]))
    values = {name: values[name] for name in cheapest_first}
    predictions = {
        name: RunPredictions(name=name, learner=name, task=run.task, spec=run.spec, predictions=run.predictions("val"))
        for name, run in trained.items()
        if name in values
    }
    errors = {name: run.task.errors(run.predictions, run.spec) for name, run in predictions.items()}

    def loss(name: str, best: str) -> Loss:
        return headline_loss(predictions[name], predictions[best], headline)

    if too_few:
        in_blocks = any(run.task.unit_noun != SAMPLES for run in predictions.values())  # of overlapping windows
        remedy = "Give a shorter --horizon or --window, or more data." if in_blocks else "Give more data."
        return without_intervals(values, shortened, f"{too_few}, too few for an interval. {remedy}")
    if not any(isinstance(run.spec.target, Labels) for run in predictions.values()):
        if all(run.task.has_target for run in predictions.values()):
            return select_best(values, errors, loss=loss, shortened=shortened)
        unlearnable = "the samples show no structure that the models can learn"
        return select_best(values, errors, loss=loss, shortened=shortened, unlearnable=unlearnable)
    # The headline, a mean of average precisions, is no mean of errors of samples.
    draws = 40 * SUFFICIENT * len(values)

    def exchange(first: str, second: str) -> float:
        return exchange_p_value(predictions[first], predictions[second], draws)

    return select_best(values, errors, exchange, loss, shortened)


def without_intervals(
    values: Mapping[str, float], shortened: Collection[str], reason: str
) -> tuple[str | None, str | None, str]:
    """The best model on validation, twice, and the advice where no difference between models can be tested.

    Args:
        values, shortened: see `select_best`. reason: why there are no intervals, and what helps.
    """
    best, *rest = sorted(values, key=lambda name: -values[name])
    equal = [name for name in rest if values[name] == values[best]]
    if best == "baseline":
        advice = "No model is better than the baseline on the validation split"
    elif equal:
        advice = f"Use {best}: no model has a better result on the validation split, and every other of that result "
        advice += "costs more"
    else:
        advice = f"Use {best}: it has the best result on the validation split"
    untrained = [name for name in shortened if name not in values]
    cut = [name for name in shortened if name in values]
    missing = f" Not compared, as the time was too short: {', '.join(untrained)}." if untrained else ""
    missing = (f" Too little time for the complete training: {', '.join(cut)}." if cut else "") + missing
    return best, best, f"{advice}. This is not proven: that split has {reason}{missing}"


def headline_loss(model: RunPredictions, best: RunPredictions, headline: str) -> Loss:
    """By how much a model is worse than the best: paired bootstrap over the validation samples."""
    metric = best.task.measure(best.predictions, best.spec)[headline]
    count = unit_count(best)
    gain = headline_gain(best, model, metric.higher_is_better)
    scale, unit = (100, " points") if metric.percent else (1, f" {metric.unit}" if metric.unit else "")
    rows = torch.arange(count)[None]
    value = float(gain(rows, rows + count)[0])
    if count < MIN_SAMPLES:
        return Loss(value=value, standard_error=0.0, text=f"{scale * max(value, 0.0):.2g}{unit}")
    values = resampled_values(gain_of_rows(gain, count), count, draws=400)
    values = values[values.isfinite()]
    high = with_percentiles(Metric(value=value), values, count).high
    return Loss(
        value=value,
        standard_error=float(values.std()) if len(values) > 1 else 0.0,
        text=f"{scale * max(value if high is None else high, 0.0):.2g}{unit}",
    )


def mean_loss(model: Tensor, best: Tensor) -> Loss:
    """By how much a model is worse than the best, from (N,) errors of the same samples."""
    difference = (model - best).double()
    value = float(difference.mean())
    standard_error = float(difference.std()) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return Loss(value=value, standard_error=standard_error, text=f"{value + Z * standard_error:.2g}")


def select_best(
    values: Mapping[str, float],
    errors: Mapping[str, Tensor],
    test: Callable[[str, str], float] | None = None,
    loss: Callable[[str, str], Loss] | None = None,
    shortened: Collection[str] = (),
    unlearnable: str = "the inputs do not predict the target",
) -> tuple[str | None, str | None, str]:
    """The best model on validation, the cheapest one that is about as good, and the advice as a sentence.

    About as good: not significantly worse, at most one standard error of the paired difference away, and with at most
    MAX_MORE_ERRORS more errors: on many samples, one standard error of few errors may be a fifth of them.

    Args:
        values: validation result of each model, higher is better, the cheapest first.
        errors: (N,) of each model on the same validation samples.
        test: two-sided p-value of two models by name; None: a test of their errors.
        loss: of a model against the best, by name; None: that of their mean errors.
        shortened: models that the time limit cut or left out: their results do not show what they can reach.
        unlearnable: why no model may be better than the baseline.
    Source: Breiman, Friedman, Olshen and Stone 1984 (one-standard-error rule); Kuhn 2008, "Building predictive models
        in R using the caret package" (a tolerance relative to the best).
    """
    if not values:
        return None, None, "No model has a validation result."
    names = list(values)
    best, *rest = sorted(names, key=lambda name: -values[name])  # of equal ones the cheapest first
    if test is None:
        worse = significantly_worse(best, errors)
    else:
        worse = {name for name in rest if values[name] < values[best] and test(name, best) / 2 * len(rest) < LEVEL}
    losses = {
        name: mean_loss(errors[name], errors[best]) if loss is None else loss(name, best)
        for name in names[: names.index(best)]
        if name not in worse
    }
    error = float(errors[best].double().mean())  # of returns it is negative
    limit = error + MAX_MORE_ERRORS * abs(error)
    as_good = [
        name
        for name, lost in losses.items()
        if lost.value <= lost.standard_error + ROUNDING and float(errors[name].double().mean()) <= limit
    ]
    advised = as_good[0] if as_good else best
    # A cheaper model with the same result may have missed the one standard error: the advised one is on the frontier.
    advised = next(name for name in names if values[name] >= values[advised] and name not in worse)
    if "baseline" in values and "baseline" not in worse:
        advised = "baseline"
        better = "better" if best == "baseline" else "significantly better"
        which = "" if best == "baseline" else f" (best: {best})"
        cause = (
            f"the time was too short for {', '.join(shortened)}. Give more time."
            if shortened
            else f"{unlearnable}, or there is too little data."
        )
        advice = f"No model is {better} than the baseline on the validation split{which}: {cause}"
    elif advised == best:
        cheaper = set(names[: names.index(best)])
        complete = cheaper - set(shortened)
        which = "cheaper model" if complete == cheaper else "cheaper model that had enough time"
        every = f", and every {which} {_how_much_worse(complete - worse, losses)}" if complete else ""
        advice = f"Use {best}: it has the best result on the validation split{every}."
    else:
        lost = losses[advised]
        difference = "has the same result" if lost.value == 0 else "is less than one standard error better"
        advice = (
            f"Use {advised}: {best}, the best on the validation split, costs more and {difference}; "
            f"{advised} may lose at most {lost.text} against it (95 %)."
        )
    untrained = [name for name in shortened if name not in values]
    missing = f" Not compared, as the time was too short: {', '.join(untrained)}." if untrained else ""
    if advised == "baseline" and shortened:  # they are named already
        missing = ""
    return best, advised, f"{advice} {_runner_up(best, advised, rest, values, worse, shortened)}".rstrip() + missing


def _how_much_worse(insignificant: Collection[str], losses: Mapping[str, Loss]) -> str:
    """By how much all cheaper models are worse, some of them not significantly."""
    if not insignificant:
        return "is significantly worse"
    far = {name for name in insignificant if losses[name].value > losses[name].standard_error + ROUNDING}
    parts = ["is more than one standard error worse"] if far else []
    parts += [f"has over {100 * MAX_MORE_ERRORS:.0f} % more errors"] if len(far) < len(insignificant) else []
    return " or ".join(parts)


def _runner_up(
    best: str,
    advised: str,
    rest: Sequence[str],
    values: Mapping[str, float],
    worse: Collection[str],
    shortened: Collection[str],
) -> str:
    """The second-best model, and whether it differs from the best."""
    if not rest:
        return ""
    if values[rest[0]] == values[best]:
        equal = [name for name in rest if values[name] == values[best]]
        return f"{', '.join(equal)} and {best} have the same validation result."
    if rest[0] == advised != "baseline":
        return f"{advised} does not differ significantly from {best}."
    if rest[0] in shortened and best in shortened:
        return f"{best} and the runner-up, {rest[0]}, had too little time for their complete trainings."
    if rest[0] in shortened:
        return f"The runner-up, {rest[0]}, had too little time for its complete training."
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
        and p_value(errors[name], errors[best]) / 2 * len(others) < LEVEL
    }


def p_value(first: Tensor, second: Tensor) -> float:
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
