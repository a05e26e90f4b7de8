"""Regress: how much? One number or several, in the user's units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import Numbers, Spec
from snellen.core.task import Answer, ExportedModel, Output, Predictions, Task
from snellen.core.views import Metric, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import regression


class Regressor(Protocol):
    """What a model must answer."""

    def predict(self, x: Tensor, /) -> Tensor:
        """(B, ...) raw inputs to (B, T) numbers in the user's units."""


def headline(spec: Spec) -> str:
    """The mean absolute error of one number; the variance explained of several, whose units differ."""
    assert isinstance(spec.target, Numbers)
    return "mean absolute error" if len(spec.target.names) == 1 else "R2"


def default(spec: Spec) -> str:
    if spec.modality != "image":
        return "mlp"
    size = spec.input.size
    if size is None:
        return "resnet18"
    if min(size) < 12:
        return "mlp"
    return "lenet" if spec.input.shape[0] == 1 and max(size) <= 32 else "resnet18"


def predict(model: Regressor, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Returns said (N, T) float64, truth (N, T), ids (N,). Raises Diverged when a number is not finite."""
    said, truth, ids = [], [], []
    with torch.inference_mode():
        for batch in data.samples(split, run.device).in_order():
            said.append(model.predict(batch.x).double().cpu())
            truth.append(batch.y.double().cpu())
            ids.append(batch.ids.cpu())
    together = torch.cat(said)
    wrong = torch.nonzero(~torch.isfinite(together).all(1))[:, 0]
    if len(wrong):
        name = data.name(int(torch.cat(ids)[wrong[0]]))
        raise Diverged(
            f"{len(wrong)} of {len(together)} predictions are not finite, first that of {name}",
            "Train again with a smaller --lr, and look at that sample.",
        )
    return {"said": together, "truth": torch.cat(truth), "ids": torch.cat(ids)}


def measure(said: Predictions, spec: Spec) -> dict[str, Metric]:
    """Errors of each target in its own unit, and the variance explained over all."""
    assert isinstance(spec.target, Numbers)
    truth, answer = said["truth"], said["said"]
    if not len(truth):
        return {headline(spec): Metric(value=None, reason="the split is empty")}
    metrics: dict[str, Metric] = {}
    units = spec.target.units or ("",) * len(spec.target.names)
    for k, (name, unit) in enumerate(zip(spec.target.names, units, strict=True)):
        of = "" if len(spec.target.names) == 1 else f" of {name}"
        metrics[f"mean absolute error{of}"] = regression.mean_absolute_error(truth[:, k], answer[:, k], unit)
        metrics[f"root mean squared error{of}"] = regression.root_mean_squared_error(truth[:, k], answer[:, k], unit)
    metrics["R2"] = regression.r2(truth, answer)
    return metrics


def errors(said: Predictions, spec: Spec) -> Tensor:
    """The absolute error, each target in units of its own spread, averaged over targets."""
    scale = said["truth"].std(0, correction=0).clamp(min=1e-12)
    if len(said["truth"][0]) == 1:
        scale = torch.ones_like(scale)
    return ((said["said"] - said["truth"]).abs() / scale).mean(1)


def answer(model: Regressor, x: Tensor, spec: Spec) -> list[Answer]:
    """A batch of raw inputs to {target: number}."""
    assert isinstance(spec.target, Numbers)
    names = spec.target.names
    with torch.inference_mode():
        said = model.predict(x).double().cpu()
    if not bool(torch.isfinite(said).all()):
        raise Diverged("A prediction is not finite", "Train again with a smaller --lr, and look at that sample.")
    return [dict(zip(names, row, strict=True)) for row in said.tolist()]


def truth(data: Dataset[Labelled], id: int) -> dict[str, float]:
    """The numbers of a sample, by name."""
    assert isinstance(data.spec.target, Numbers)
    return dict(zip(data.spec.target.names, data.truth[id].tolist(), strict=True))


def resampled_headline(said: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """The headline of (R, n) resampled rows."""
    if headline(spec) == "R2":
        return regression.r2_of_rows(said["truth"], said["said"])
    wrong = errors(said, spec)
    return lambda rows: wrong[rows].mean(1)


def views(said: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Said against true, the residuals, and the worst errors."""
    assert isinstance(spec.target, Numbers)
    shown: list[View] = []
    units = spec.target.units or ("",) * len(spec.target.names)
    for k, (name, unit) in enumerate(zip(spec.target.names, units, strict=True)):
        label = f"{name} [{unit}]" if unit else name
        truth, answer = said["truth"][:, k], said["said"][:, k]
        some = torch.linspace(0, len(truth) - 1, min(len(truth), 1000)).round().long()
        shown.append(
            Plot(
                title=f"{name}: said against true",
                x=f"true {label}",
                y=f"said {label}",
                style="points",
                diagonal=True,
                series=[Series(name="test", x=truth[some].tolist(), y=answer[some].tolist())],
                caption="On the line the prediction is exact.",
            )
        )
    errors = (said["said"] - said["truth"]).abs()
    scale = said["truth"].std(0, correction=0).clamp(min=1e-12)
    order = torch.argsort((errors / scale).sum(1), descending=True)[:12]
    rows: list[list[Any]] = []
    for row in order.tolist():
        cells: list[Any] = [data.name(int(said["ids"][row]))]
        for k in range(len(spec.target.names)):
            cells += [float(said["truth"][row, k]), float(said["said"][row, k])]
        rows.append(cells)
    columns = ["sample", *(f"{word} {name}" for name in spec.target.names for word in ("true", "said"))]
    shown.append(Table(title="Worst errors", columns=columns, rows=rows))
    return shown


class ExportedRegressor(nn.Module):
    """The numbers in the user's units, as a named tensor."""

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
    question="How much?",
    default=default,
    headline=headline,
    asks=lambda spec: isinstance(spec.target, Numbers),
    predict=predict,
    measure=measure,
    answer=answer,
    errors=errors,
    resampled_headline=resampled_headline,
    worst=lambda said, spec, count: torch.argsort(errors(said, spec), descending=True)[:count],
    truth=truth,
    views=views,
    export=export,
)
