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
from snellen.tasks.forecast import intervals
from snellen.tasks.forecast.display import DISPLAY, future, own
from snellen.tasks.forecast.interval_metrics import interval_metrics
from snellen.tasks.forecast.naive_scale import naive_scale
from snellen.tasks.forecast.step_errors import ABSOLUTE, EULER, MPJPE, headline, headline_errors, horizons, step_errors
from snellen.tasks.forecast.views import views

SKILL = "skill over the last value"


class Forecaster(Protocol):
    """Interface of a model of this task."""

    def forecast(self, x: Tensor, /) -> Tensor:
        """(B, T, D) raw inputs to (B, H, D), the next H steps in the user's units."""


def predict(model: Forecaster, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Forecast from every window of a split.

    Returns:
        said (N, H, D) float64, the forecasts; truth (N, H, D); recent (N, K, D), the last two steps of these features,
        or the last season; recording and start (N,), where they lie; naive_error (N, D), see `naive_scale`; ids (N,);
        of a model with intervals see `intervals.stored`.
    Raises:
        Diverged: when a forecast is not finite. DataError: for data with another horizon than that of the model.
    """
    outputs, truth, recent, ids, spreads = [], [], [], [], []
    with torch.inference_mode():
        for batch in data.samples(split, run.device).in_order():
            spread = intervals.spread(model, batch.x)
            outputs.append(spread.forecast.double().cpu())
            spreads.append(spread)
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
        **intervals.stored(model, spreads, split),
    }


def _places(data: Dataset[Labelled], ids: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) recording and first step of each window; of other sources each sample is a recording."""
    source = data.source
    if not isinstance(source, RecordingWindows):
        return ids.clone(), torch.zeros_like(ids)
    return torch.from_numpy(source.recording)[ids], torch.from_numpy(source.start)[ids]


def _blocks(predictions: Predictions, spec: Spec) -> Tensor:
    """(N,) block of each window, see `metrics.forecasting`."""
    return forecasting.blocks(predictions["recording"], predictions["start"], _span(spec))


def _span(spec: Spec) -> int:
    """Frames of a window and its future."""
    return ((spec.input.shape[0] or 1) + future(spec).steps) * future(spec).every


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Errors over all windows and steps, those of motion also at single horizons, and the skill over the last value."""
    truth, forecast = predictions["truth"], predictions["said"]
    if not len(truth):
        return {headline(spec): Metric(value=None, reason="the split is empty")}
    block = _blocks(predictions, spec)
    last = forecasting.last_value(predictions["recent"], truth.shape[1])
    errors = step_errors(forecast, truth, spec)
    metrics = {name: forecasting.mean_error(e.values.mean(1), block, e.unit) for name, e in errors.items()}
    if list(errors) == [ABSOLUTE]:
        metrics["root mean squared error"] = forecasting.root_mean_squared_error(forecast - truth, block)
    own, other = (headline_errors(f, truth, spec).mean(1) for f in (forecast, last))
    metrics[SKILL] = forecasting.skill(own, other, block)
    for name, e in errors.items():
        if name in (MPJPE, EULER):
            metrics |= {
                f"{name} at {time}": forecasting.mean_error(e.values[:, step], block, e.unit)
                for time, step in horizons(spec).items()
            }
    return metrics | _scaled(predictions, spec, block) | interval_metrics(predictions, block)


def _window_errors(predictions: Predictions, spec: Spec) -> Tensor:
    """(N,) error of each window, whose mean is the headline."""
    return headline_errors(predictions["said"], predictions["truth"], spec).mean(1)


def _scaled(predictions: Predictions, spec: Spec, block: Tensor) -> dict[str, Metric]:
    """Scaled errors of time series in a table; none of other recordings, whose features have no common scale."""
    if future(spec).time_steps is None or "naive_error" not in predictions:
        return {}
    error = predictions["said"] - predictions["truth"]
    percentage = scaled_errors.mean_absolute_percentage_error(error, predictions["truth"], block)
    scaled = scaled_errors.mean_absolute_scaled_error(error, predictions["naive_error"], block)
    return {"MASE": scaled, **({"MAPE [%]": percentage} if percentage is not None else {})}


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """(M,) mean error of each block of overlapping windows, weighted by its number of windows."""
    return forecasting.by_block(_window_errors(predictions, spec), _blocks(predictions, spec))


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """The headline of resampled blocks, a function of (R, m) rows of the blocks."""
    block_errors = errors(predictions, spec)
    return lambda rows: block_errors[rows].mean(1)


def worst(predictions: Predictions, spec: Spec, count: int) -> Tensor:
    """Rows of the windows with the largest errors, largest first; of one recording those that share no step."""
    window_errors, steps = _window_errors(predictions, spec), _span(spec)
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
    """Forecasts from a batch of raw inputs: {"forecast": {feature: H numbers}}, and "intervals", see
    `intervals.as_plain`.
    """
    with torch.inference_mode():
        spread = intervals.spread(model, x)
    forecasts = spread.forecast.double().cpu()
    if not bool(torch.isfinite(forecasts).all()):
        raise Diverged("A forecast is NaN or infinite", "Train with a smaller --lr, and check that window.")
    plain, levels = [_as_plain(one, spec) for one in forecasts], intervals.available_levels(model)
    if not levels:
        return plain
    bounds = intervals.as_plain(spread, levels, future(spec).names)
    return [{**one, "intervals": ends} for one, ends in zip(plain, bounds, strict=True)]


def truth(data: Dataset[Labelled], id: int) -> PredictionDict:
    """The true next steps of a window, in the form of a prediction."""
    return _as_plain(data.truth[id].double(), data.spec)


class ExportedForecaster(nn.Module):
    """Forecaster for export: the next steps in the user's units, and the ends of their intervals, as named tensors."""

    def __init__(self, model: Forecaster) -> None:
        super().__init__()
        self.model = model
        self.levels = intervals.available_levels(model)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, T, D) raw inputs to "forecast" (B, H, D), "low_90" and "high_90" of the interval of 90 %."""
        spread = intervals.spread(self.model, x)
        ends = {"forecast": spread.forecast}
        for k, level in self.levels.items():
            ends[f"low_{level:g}"] = spread.forecast - spread.below[:, k]
            ends[f"high_{level:g}"] = spread.forecast + spread.above[:, k]
        return ends


def export(model: Forecaster, spec: Spec) -> ExportedModel:
    levels = intervals.available_levels(model).values()
    names = ("forecast", *(f"{end}_{level:g}" for level in levels for end in ("low", "high")))
    return ExportedModel(
        module=ExportedForecaster(model), outputs=tuple(Output(name=n, columns=future(spec).names) for n in names)
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
    headline=headline,
    validation_score=headline,
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
    views=lambda predictions, data, spec: views(predictions, data, spec, worst, _blocks(predictions, spec)),
    export=export,
    display=DISPLAY,
    diagnosis=DIAGNOSIS,
)
