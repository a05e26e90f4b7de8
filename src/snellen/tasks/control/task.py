"""Control task: which action a policy takes in each state of a world. It is measured by its rewards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.spec import Actions, Spec
from snellen.core.task import (
    Diagnosis,
    Display,
    ExportedModel,
    Output,
    PredictionDict,
    Predictions,
    Task,
)
from snellen.core.views import Board, BoardCell, Metric, Plot, Series, Table, View
from snellen.data.world import World
from snellen.metrics.intervals import add_interval, wilson_interval
from snellen.tasks.control.rollout import Policy, rollout

EPISODES = "episodes"
MAX_WORST = 12  # episodes shown
MAX_POINTS = 300  # of the distribution of the returns


@runtime_checkable
class ValuePolicy(Protocol):
    """A policy with action values."""

    def values(self, x: Tensor, /) -> Tensor:
        """(B, ...) observations to (B, A) expected returns of the actions."""


def _actions(spec: Spec) -> Actions:
    assert isinstance(spec.target, Actions)
    return spec.target


def predict(model: Policy, data: World, split: str, run: Run) -> Predictions:
    """Run the episodes of a split, see `rollout`."""
    with torch.inference_mode():
        return rollout(model, data, data.splits[split], run.device)


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Metrics: mean return, fraction of episodes that reach a goal, mean length."""
    returns, lengths, success = predictions["return"], predictions["length"].double(), predictions["success"]
    count, reached = len(returns), int(success.sum())
    if not count:
        return {"mean return": Metric(value=None, reason="the split is empty")}
    mean_return = Metric(value=float(returns.mean()), over=EPISODES)
    mean_length = Metric(value=float(lengths.mean()), over=EPISODES, higher_is_better=False, unit="steps")
    low, high = wilson_interval(reached, count)
    return {
        "mean return": add_interval(mean_return, lambda rows: returns[rows].mean(1), count),
        "success rate": Metric(value=reached / count, low=low, high=high, over=EPISODES, percent=True),
        "mean length": add_interval(mean_length, lambda rows: lengths[rows].mean(1), count),
    }


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """Minus the return of each episode, (N,)."""
    return -predictions["return"]


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Mean return of resampled episodes, a function of (R, n) rows."""
    returns = predictions["return"]
    return lambda rows: returns[rows].mean(1)


def worst(predictions: Predictions, spec: Spec, count: int) -> Tensor:
    """Rows of the lowest returns, lowest first, then in the order of the episodes."""
    return torch.argsort(predictions["return"], stable=True)[:count]


def predict_batch(model: Policy, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """The most probable action for each observation, and the values, or else the probabilities, of all actions."""
    names = _actions(spec).names
    with torch.inference_mode():
        probabilities = model.probabilities(x).double().cpu()
        has_values = isinstance(model, ValuePolicy)
        numbers = model.values(x).double().cpu() if isinstance(model, ValuePolicy) else probabilities
    key = "values" if has_values else "probabilities"
    return [
        {"action": names[action], key: dict(zip(names, row, strict=True))}
        for action, row in zip(probabilities.argmax(1).tolist(), numbers.tolist(), strict=True)
    ]


def truth(data: World, id: int) -> PredictionDict:
    """First observation of an episode: no action is the true one."""
    return {"start": data.reset(id).observation.tolist()}


def views(predictions: Predictions, data: World, spec: Spec) -> list[View]:
    """Report views of a policy: the worst episodes, the distribution of returns, the return by start."""
    rows = worst(predictions, spec, MAX_WORST).tolist()
    table: list[list[str | float | int | None]] = [
        [
            data.name(int(predictions["ids"][row])),
            ", ".join(f"{value:g}" for value in predictions["truth"][row].flatten().tolist()[:8]),
            round(float(predictions["return"][row]), 4),
            int(predictions["length"][row]),
            "goal" if predictions["success"][row] else "failed",
        ]
        for row in rows
    ]
    features = ", ".join(column.name for column in spec.input.columns) or "observation"
    failed = int((~predictions["success"]).sum())
    caption = (
        f"The lowest returns first. {failed:,} of {len(predictions['ids']):,} episodes failed: they reached no goal."
    )
    columns = ["episode", f"start ({features})", "return", "steps", "end"]
    worst_episodes = Table(title="Worst episodes", columns=columns, rows=table, caption=caption)
    return [worst_episodes, _distribution(predictions["return"]), *_return_by_start(predictions, spec)]


def _distribution(returns: Tensor) -> Plot:
    """Empirical distribution function of the returns."""
    fractions = torch.arange(1, len(returns) + 1) / len(returns)
    selected = torch.linspace(0, len(returns) - 1, min(len(returns), MAX_POINTS)).round().long()
    values = returns.sort().values[selected].tolist()
    return Plot(
        title="Distribution of the returns",
        x="return",
        y="fraction of the episodes",
        series=[Series(name="episodes", x=values, y=fractions[selected].tolist())],
        caption="Fraction of the episodes with at most this return.",
    )


def _return_by_start(predictions: Predictions, spec: Spec) -> list[View]:
    """The board with the mean return of the episodes that start in each cell; none for a world without a board."""
    board = _actions(spec).board
    if not board:
        return []
    returns = defaultdict(list)
    for start, value in zip(predictions["truth"].long().tolist(), predictions["return"].tolist(), strict=True):
        returns[tuple(start)].append(value)
    cells = [
        [
            BoardCell(mark="" if mark in Actions.acting else mark, value=_mean(returns.get((row, column), [])))
            for column, mark in enumerate(line)
        ]
        for row, line in enumerate(board)
    ]
    caption = "Mean return of the evaluated episodes that start in each cell. G: goal, O: pit, dark: wall."
    return [Board(title="Mean return by start", cells=cells, caption=caption)]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


class ExportedPolicy(nn.Module):
    """Policy for export: action values where it has them, else probabilities, as a named tensor."""

    def __init__(self, model: Policy) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) observations to "values" or "probabilities", (B, A)."""
        if isinstance(self.model, ValuePolicy):
            return {"values": self.model.values(x)}
        return {"probabilities": self.model.probabilities(x)}


def export(model: Policy, spec: Spec) -> ExportedModel:
    name = "values" if isinstance(model, ValuePolicy) else "probabilities"
    output = Output(name=name, columns=_actions(spec).names)
    return ExportedModel(module=ExportedPolicy(model), outputs=(output,))


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """The action, then the value or the probability of each."""
    key = "values" if "values" in prediction else "probabilities"
    return [prediction["action"], *(f"{name} {number:.4g}" for name, number in prediction[key].items())]


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: "a random action",
    outputs=lambda spec: f"It chooses between the actions {', '.join(_actions(spec).names)}.",
    names="actions",
    hub_names={"world": "reinforcement-learning"},
)

TASK: Task[World, Policy] = Task(
    name="control",
    question="Which action gives the highest return?",
    default=lambda spec: "q-learning",
    headline=lambda spec: "mean return",
    applies_to=lambda spec: isinstance(spec.target, Actions),
    predict=predict,
    measure=measure,
    predict_batch=predict_batch,
    errors=errors,
    resampled_headline=resampled_headline,
    worst_samples=worst,
    truth=truth,
    views=views,
    export=export,
    display=DISPLAY,
    diagnosis=Diagnosis[World](compares_training=False),
)
