"""Regression task: one or several numbers per sample, in the user's units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from snellen.architectures.defaults import default_for
from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import Numbers, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric, Plot, Series, View
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import regression
from snellen.modalities.breakdowns import breakdown_views
from snellen.modalities.sample_views import samples_view
from snellen.tasks.regress import image_surface
from snellen.tasks.regress.diagnosis import DIAGNOSIS
from snellen.tasks.regress.display import DISPLAY
from snellen.tasks.regress.maps import input_maps

MAX_WORST = 12  # samples shown


class Regressor(Protocol):
    """Interface of a model of this task."""

    def predict(self, x: Tensor, /) -> Tensor:
        """(B, ...) raw inputs to (B, T) numbers in the user's units."""


def headline(spec: Spec) -> str:
    """Headline metric: mean absolute error of one target; R² of several, whose units differ."""
    assert isinstance(spec.target, Numbers)
    return "mean absolute error" if len(spec.target.names) == 1 else "R2"


def predict(model: Regressor, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Predict every sample of a split.

    Returns:
        said (N, T) float64, the predictions; truth (N, T), ids (N,).
    Raises:
        Diverged: when a prediction is not finite.
    """
    outputs, truth, ids = [], [], []
    with torch.inference_mode():
        for batch in data.samples(split, run.device).in_order():
            outputs.append(model.predict(batch.x).double().cpu())
            truth.append(batch.y.double().cpu())
            ids.append(batch.ids.cpu())
    predicted = torch.cat(outputs)
    not_finite = torch.nonzero(~torch.isfinite(predicted).all(1))[:, 0]
    if len(not_finite):
        name = data.name(int(torch.cat(ids)[not_finite[0]]))
        raise Diverged(
            f"{len(not_finite)} of {len(predicted)} predictions are NaN or infinite, first: {name}",
            "Train with a smaller --lr, and check that sample.",
        )
    return {"said": predicted, "truth": torch.cat(truth), "ids": torch.cat(ids)}


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Metrics: errors of each target in its own unit, and R² over all targets."""
    assert isinstance(spec.target, Numbers)
    truth, predicted = predictions["truth"], predictions["said"]
    if not len(truth):
        return {headline(spec): Metric(value=None, reason="the split is empty")}
    metrics: dict[str, Metric] = {}
    units = spec.target.units or ("",) * len(spec.target.names)
    for k, (name, unit) in enumerate(zip(spec.target.names, units, strict=True)):
        suffix = "" if len(spec.target.names) == 1 else f" of {name}"
        metrics[f"mean absolute error{suffix}"] = regression.mean_absolute_error(truth[:, k], predicted[:, k], unit)
        metrics[f"root mean squared error{suffix}"] = regression.root_mean_squared_error(
            truth[:, k], predicted[:, k], unit
        )
    metrics["R2"] = regression.r2(truth, predicted)
    return metrics


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """Absolute error of each sample, (N,): each target in units of its standard deviation, averaged over targets."""
    scale = predictions["truth"].std(0, correction=0).clamp(min=1e-12)
    if len(predictions["truth"][0]) == 1:
        scale = torch.ones_like(scale)
    return ((predictions["said"] - predictions["truth"]).abs() / scale).mean(1)


def worst(predictions: Predictions, spec: Spec, count: int) -> Tensor:
    """Rows of the largest absolute errors, largest first, then in the order of the samples."""
    return torch.argsort(errors(predictions, spec), descending=True, stable=True)[:count]


def predict_batch(model: Regressor, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Predict a batch of raw inputs: {target: number}."""
    assert isinstance(spec.target, Numbers)
    names = spec.target.names
    with torch.inference_mode():
        predicted = model.predict(x).double().cpu()
    if not bool(torch.isfinite(predicted).all()):
        raise Diverged("A prediction is NaN or infinite", "Train with a smaller --lr, and check that sample.")
    return [dict(zip(names, row, strict=True)) for row in predicted.tolist()]


def truth(data: Dataset[Labelled], id: int) -> dict[str, float]:
    """Ground truth of a sample: {target: number}."""
    assert isinstance(data.spec.target, Numbers)
    return dict(zip(data.spec.target.names, data.truth[id].tolist(), strict=True))


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Headline metric of resampled samples, a function of (R, n) rows."""
    if headline(spec) == "R2":
        return regression.resampled_r2(predictions["truth"], predictions["said"])
    sample_errors = errors(predictions, spec)
    return lambda rows: sample_errors[rows].mean(1)


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Report views of a regressor: predicted against true values, errors by length and by group, worst errors."""
    assert isinstance(spec.target, Numbers)
    result: list[View] = []
    units = spec.target.units or ("",) * len(spec.target.names)
    for k, (name, unit) in enumerate(zip(spec.target.names, units, strict=True)):
        label = f"{name} [{unit}]" if unit else name
        truth, predicted = predictions["truth"][:, k], predictions["said"][:, k]
        selected = torch.linspace(0, len(truth) - 1, min(len(truth), 1000)).round().long()
        result.append(
            Plot(
                title=f"{name}: predicted against true",
                x=f"true {label}",
                y=f"predicted {label}",
                style="points",
                diagonal=True,
                series=[Series(name="test", x=truth[selected].tolist(), y=predicted[selected].tolist())],
                caption="On the diagonal the prediction is exact.",
            )
        )
    sizes, is_one = errors(predictions, spec), len(spec.target.names) == 1
    result += breakdown_views(
        data,
        predictions["ids"],
        "mean absolute error" if is_one else "mean absolute error in standard deviations",
        lambda rows: regression.mean_absolute_error(sizes[rows], torch.zeros(len(rows)), units[0] if is_one else ""),
    )
    rows = worst(predictions, spec, MAX_WORST)
    remarks = []
    for true, predicted in zip(predictions["truth"][rows].tolist(), predictions["said"][rows].tolist(), strict=True):
        triples = zip(spec.target.names, true, predicted, strict=True)
        several = len(spec.target.names) > 1
        remarks.append(
            "; ".join(f"{f'{name} ' if several else ''}{t:.4g} predicted as {p:.4g}" for name, t, p in triples)
        )
    ids = predictions["ids"][rows].tolist()
    return [*result, samples_view(data, ids, remarks, "Worst errors", "The largest errors first.")]


class ExportedRegressor(nn.Module):
    """Regressor for export: numbers in the user's units, as a named tensor."""

    def __init__(self, model: Regressor) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to "numbers" (B, T)."""
        return {"numbers": self.model.predict(x)}


def export(model: Regressor, spec: Spec) -> ExportedModel:
    assert isinstance(spec.target, Numbers)
    names = spec.target.names
    numbers = Output(name="numbers", columns=names, units=spec.target.units or ("",) * len(names))
    return ExportedModel(module=ExportedRegressor(model), outputs=(numbers,))


TASK: Task[Dataset[Labelled], Regressor] = Task(
    name="regress",
    question="Which number belongs to each sample?",
    default=default_for,
    headline=headline,
    applies_to=lambda spec: isinstance(spec.target, Numbers),
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
    diagnosis=DIAGNOSIS,
    training_views=image_surface.training_views,
    input_maps=input_maps,
)
