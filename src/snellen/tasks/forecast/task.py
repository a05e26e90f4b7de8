"""Forecasting task: the next steps of a sequence, in the user's units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.core.errors import DataError, Diverged
from snellen.core.run import Run
from snellen.core.spec import Future, Spec
from snellen.core.task import Diagnosis, ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.recording_windows import RecordingWindows
from snellen.metrics import forecasting, scaled_errors
from snellen.tasks.forecast.display import DISPLAY, future, own
from snellen.tasks.forecast.naive_scale import naive_scale
from snellen.tasks.forecast.views import views

HEADLINE = "mean absolute error"
SKILL = "skill over the last value"


class Forecaster(Protocol):
    """Interface of a model of this task."""

    def forecast(self, x: Tensor, /) -> Tensor:
        """(B, T, D) raw inputs to (B, H, D), the next H steps in the user's units."""


def predict(model: Forecaster, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Forecast from every window of a split.

    Returns:
        said (N, H, D) float64, the forecasts; truth (N, H, D); recent (N, K, D), the last two steps of these features,
        or the last season;
        recording and start (N,), where they lie; naive_error (N, D), see `naive_scale`; ids (N,).
    Raises:
        Diverged: when a forecast is not finite. DataError: for data with another horizon than that of the model.
    """
    outputs, truth, recent, ids = [], [], [], []
    with torch.inference_mode():
        for batch in data.samples(split, run.device).in_order():
            outputs.append(model.forecast(batch.x).double().cpu())
            truth.append(batch.y.double().cpu())
            recent.append(own(batch.x[:, -max(2, future(data.spec).season or 1) :], data.spec).double().cpu())
            ids.append(batch.ids.cpu())
            if outputs[0].shape[1] != truth[0].shape[1]:
                raise DataError(
                    f"{data.spec.name} has a horizon of {truth[0].shape[1]} steps, the model forecasts "
                    f"{outputs[0].shape[1]}",
                    f"Give --horizon {outputs[0].shape[1]}.",
                )
    forecasts, all_ids = torch.cat(outputs), torch.cat(ids)
    not_finite = torch.nonzero(~torch.isfinite(forecasts).flatten(1).all(1))[:, 0]
    if len(not_finite):
        raise Diverged(
            f"{len(not_finite)} of {len(forecasts)} forecasts are NaN or infinite, first: "
            f"{data.name(int(all_ids[not_finite[0]]))}",
            "Train with a smaller --lr, and check that window.",
        )
    recording, start = _places(data, all_ids)
    return {
        "said": forecasts,
        "truth": torch.cat(truth),
        "recent": torch.cat(recent),
        "recording": recording,
        "start": start,
        "naive_error": naive_scale(data, all_ids),
        "ids": all_ids,
    }


def _places(data: Dataset[Labelled], ids: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) recording and first step of each window; of other sources each sample is a recording."""
    source = data.source
    if not isinstance(source, RecordingWindows):
        return ids.clone(), torch.zeros_like(ids)
    return torch.from_numpy(source.recording)[ids], torch.from_numpy(source.start)[ids]


def _blocks(predictions: Predictions, spec: Spec) -> Tensor:
    """(N,) block of each window, see `metrics.forecasting`."""
    steps = (spec.input.shape[0] or 1) + future(spec).steps
    return forecasting.blocks(predictions["recording"], predictions["start"], steps)


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Metrics over all windows, steps and features, in the user's units, and the skill over the last value."""
    truth, forecast = predictions["truth"], predictions["said"]
    if not len(truth):
        return {HEADLINE: Metric(value=None, reason="the split is empty")}
    block = _blocks(predictions, spec)
    last = forecasting.last_value(predictions["recent"], truth.shape[1])
    return {
        HEADLINE: forecasting.mean_absolute_error(forecast - truth, block),
        "root mean squared error": forecasting.root_mean_squared_error(forecast - truth, block),
        SKILL: forecasting.skill(forecast - truth, last - truth, block),
        **_scaled(predictions, spec, block),
    }


def _scaled(predictions: Predictions, spec: Spec, block: Tensor) -> dict[str, Metric]:
    """Scaled errors of time series in a table; none of other recordings, whose features have no common scale."""
    if future(spec).time_steps is None or "naive_error" not in predictions:
        return {}
    error = predictions["said"] - predictions["truth"]
    percentage = scaled_errors.mean_absolute_percentage_error(error, predictions["truth"], block)
    scaled = scaled_errors.mean_absolute_scaled_error(error, predictions["naive_error"], block)
    return {"MASE": scaled, **({"MAPE [%]": percentage} if percentage is not None else {})}


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """(M,) mean absolute error of each block of overlapping windows, weighted by its number of windows."""
    window_errors = (predictions["said"] - predictions["truth"]).abs().mean((1, 2))
    return forecasting.by_block(window_errors, _blocks(predictions, spec))


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Mean absolute error of resampled blocks, a function of (R, m) rows of the blocks."""
    block_errors = errors(predictions, spec)
    return lambda rows: block_errors[rows].mean(1)


def worst(predictions: Predictions, spec: Spec, count: int) -> Tensor:
    """Rows of the windows with the largest errors, largest first; of one recording those that share no step."""
    window_errors = (predictions["said"] - predictions["truth"]).abs().mean((1, 2))
    steps = (spec.input.shape[0] or 1) + future(spec).steps
    recording, start = predictions["recording"].tolist(), predictions["start"].tolist()
    selected: list[int] = []
    for row in torch.argsort(window_errors, descending=True, stable=True).tolist():
        if len(selected) == count:
            break
        if all(recording[row] != recording[k] or abs(start[row] - start[k]) >= steps for k in selected):
            selected.append(row)
    return torch.tensor(selected, dtype=torch.int64)


def _as_plain(values: Tensor, spec: Spec) -> PredictionDict:
    """(H, D) values as {"forecast": {feature: number at each step}}."""
    return {"forecast": dict(zip(future(spec).names, values.T.tolist(), strict=True))}


def predict_batch(model: Forecaster, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Forecasts from a batch of raw inputs: {"forecast": {feature: H numbers}}."""
    with torch.inference_mode():
        forecasts = model.forecast(x).double().cpu()
    if not bool(torch.isfinite(forecasts).all()):
        raise Diverged("A forecast is NaN or infinite", "Train with a smaller --lr, and check that window.")
    return [_as_plain(one, spec) for one in forecasts]


def truth(data: Dataset[Labelled], id: int) -> PredictionDict:
    """The true next steps of a window, in the form of a prediction."""
    return _as_plain(data.truth[id].double(), data.spec)


class ExportedForecaster(nn.Module):
    """Forecaster for export: the next steps in the user's units, as a named tensor."""

    def __init__(self, model: Forecaster) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, T, D) raw inputs to "forecast" (B, H, D)."""
        return {"forecast": self.model.forecast(x)}


def export(model: Forecaster, spec: Spec) -> ExportedModel:
    return ExportedModel(
        module=ExportedForecaster(model), outputs=(Output(name="forecast", columns=future(spec).names),)
    )


def _loss(predicted: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of (B, H, D) forecasts, in standard deviations of each feature that varies in the batch."""
    spread = y.double().flatten(0, 1).std(0, correction=0)
    varies = spread > 0
    if not bool(varies.any()):
        return (predicted.double() - y.double()).square().mean()
    return ((predicted.double() - y.double())[..., varies] / spread[varies]).square().mean()


DIAGNOSIS = Diagnosis[Dataset[Labelled]](output=lambda model, x: model.forecast(x), loss=_loss)


TASK: Task[Dataset[Labelled], Any] = Task(
    name="forecast",
    question="What are the next steps of each recording?",
    default=lambda spec: "gru",
    headline=lambda spec: HEADLINE,
    applies_to=lambda spec: isinstance(spec.target, Future),
    predict=predict,
    measure=measure,
    predict_batch=predict_batch,
    errors=errors,
    resampled_headline=resampled_headline,
    unit_noun=forecasting.BLOCKS,
    unit_count=lambda predictions, spec: len(errors(predictions, spec)),
    worst_samples=worst,
    truth=truth,
    views=lambda predictions, data, spec: views(predictions, data, spec, worst),
    export=export,
    display=DISPLAY,
    diagnosis=DIAGNOSIS,
)
