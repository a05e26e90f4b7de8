"""Generation task: the distribution of the samples. It has no target, whatever targets the data has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import Actions, Preprocessing, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flattened_size
from snellen.metrics.intervals import add_interval_of_mean
from snellen.tasks.generate.display import DISPLAY
from snellen.tasks.generate.views import model_views, views

HEADLINE = "negative log-likelihood"
MAX_VALUES = 4096  # of an image: the covariance of as many has 134 MB


class Generator(Protocol):
    """Interface of a model of this task.

    The log density is a function of the sample alone: that of the values as they are for floats. For integers (images
    of 8 or 16 bits) it is the log-probability, or a lower bound of it, such as the expected log density of x + u with u
    uniform in [0, 1) (Theis et al. 2016).
    """

    def log_density(self, x: Tensor, /) -> Tensor:
        """(B, ...) raw samples to (B,) log densities in nats, float64."""

    def sample(self, count: int, generator: torch.Generator, /) -> Tensor:
        """(count, ...) new samples in raw units and at the depth of the data."""


def preprocessing_of(settings: object, spec: Spec) -> Preprocessing:
    """The size of images, the same for all models: log densities of other sizes cannot be compared.

    Images keep their size if they have at most 4,096 values; larger ones are scaled to squares of 64, 32 or fewer
    pixels a side.
    """
    channels = spec.input.shape[0] or 3
    if not spec.input.has_pixels:
        return Preprocessing()
    if spec.input.size is not None and channels * math.prod(spec.input.size) <= MAX_VALUES:
        return fixed_size(spec, max_side=max(spec.input.size))
    side = 64
    while side > 1 and channels * side * side > MAX_VALUES:
        side //= 2
    return fixed_size(spec, max_side=side, requested=side)


def value_count(spec: Spec) -> int:
    """Number of values of a sample as the models read it."""
    return flattened_size(spec, preprocessing_of(None, spec))


def default(spec: Spec) -> str:
    return "gaussian" if value_count(spec) <= MAX_VALUES else "baseline"


def predict(model: Generator, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Log density of every sample of a split.

    Returns:
        log_density (N,) float64; truth (N, 0), as the samples themselves are the ground truth; ids (N,).
    Raises:
        Diverged: when a log density is not finite.
    """
    densities, ids = [], []
    with torch.inference_mode():
        for batch in data.samples(split, run.device).in_order():
            densities.append(model.log_density(batch.x).double().cpu())
            ids.append(batch.ids.cpu())
    if not densities:
        return {
            "log_density": torch.zeros(0, dtype=torch.float64),
            "truth": torch.zeros(0, 0),
            "ids": data.splits[split],
        }
    log_density = torch.cat(densities)
    not_finite = torch.nonzero(~torch.isfinite(log_density))[:, 0]
    if len(not_finite):
        name = data.name(int(torch.cat(ids)[not_finite[0]]))
        raise Diverged(
            f"{len(not_finite)} of {len(log_density)} log densities are NaN or infinite, first: {name}",
            "Check that sample; its values must be comparable to those of the training data.",
        )
    return {"log_density": log_density, "truth": torch.zeros(len(log_density), 0), "ids": torch.cat(ids)}


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """Negative log-likelihood of each sample in nats, (N,)."""
    return -predictions["log_density"]


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Mean negative log-likelihood of a sample in nats, and of a value: in bits for integers, in nats for floats."""
    is_integer = not spec.input.dtype.startswith("float")
    name, unit = ("bits per dimension", "bits") if is_integer else ("nats per dimension", "nats")
    if not len(predictions["ids"]):
        return {HEADLINE: Metric(value=None, reason="the split is empty")}
    values = errors(predictions, spec)
    whole = _mean(values, "nats")
    return {HEADLINE: whole, name: _scaled(whole, value_count(spec) * (math.log(2) if is_integer else 1), unit)}


def _mean(values: Tensor, unit: str) -> Metric:
    """The mean of numbers of any sign with its interval."""
    lowest = float(values.min())
    metric = Metric(value=float((values - lowest).mean()), over="samples", higher_is_better=False, unit=unit)
    shifted = add_interval_of_mean(metric, values - lowest)
    return _shifted(dataclasses.replace(shifted, ratio_scale=False), lowest)


def _shifted(metric: Metric, by: float) -> Metric:
    value, low, high = (None if end is None else end + by for end in (metric.value, metric.low, metric.high))
    return dataclasses.replace(metric, value=value, low=low, high=high)


def _scaled(metric: Metric, divisor: float, unit: str) -> Metric:
    value, low, high = (None if end is None else end / divisor for end in (metric.value, metric.low, metric.high))
    return dataclasses.replace(metric, value=value, low=low, high=high, unit=unit)


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Headline metric of resampled samples, a function of (R, n) rows."""
    sample_errors = errors(predictions, spec)
    return lambda rows: sample_errors[rows].mean(1)


def worst(predictions: Predictions, spec: Spec, count: int) -> Tensor:
    """Rows of the lowest likely samples, the lowest likely first, then in the order of the samples."""
    return torch.argsort(errors(predictions, spec), descending=True, stable=True)[:count]


def predict_batch(model: Generator, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Log densities of a batch of raw inputs: {"log_density": nats}."""
    with torch.inference_mode():
        log_density = model.log_density(x).double().cpu()
    if not bool(torch.isfinite(log_density).all()):
        raise Diverged("A log density is NaN or infinite", "Check that sample.")
    return [{"log_density": value} for value in log_density.tolist()]


def truth(data: Dataset[Labelled], id: int) -> PredictionDict:
    """No ground truth besides the sample itself."""
    return {}


def sample(model: Generator, count: int, generator: torch.Generator) -> Tensor:
    """(count, ...) new samples on the CPU."""
    with torch.inference_mode():
        return model.sample(count, generator).cpu()


class ExportedGenerator(nn.Module):
    """Generator for export: its log density as a named tensor."""

    def __init__(self, model: Generator) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to "log_density" (B, 1)."""
        return {"log_density": self.model.log_density(x)[:, None]}


def export(model: Generator, spec: Spec) -> ExportedModel:
    output = Output(name="log_density", columns=("log_density",), units=("nats",))
    return ExportedModel(module=ExportedGenerator(model), outputs=(output,))


TASK: Task[Dataset[Labelled], Generator] = Task(
    name="generate",
    question="How are the samples distributed, and what would new ones be like?",
    default=default,
    headline=lambda spec: HEADLINE,
    applies_to=lambda spec: not isinstance(spec.target, Actions),
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
    has_target=False,
    sample=sample,
    model_views=model_views,
)
