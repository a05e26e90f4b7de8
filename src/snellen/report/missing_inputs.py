"""Report views of a model of several inputs: the metric by missing input, and the importance of each input."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.experience import Experience
from snellen.core.spec import Spec
from snellen.core.task import Predictions, Task
from snellen.core.views import Cell, Metric, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.data.experience import samples_of
from snellen.data.several_inputs import SeveralInputs
from snellen.metrics.intervals import add_interval
from snellen.report.reference_metrics import device_of, predict_split, subsample

MAX_SAMPLES = 2000  # that are predicted again without inputs
MAX_GROUPS = 12  # rows of samples that lack the same inputs


def missing_input_views(task: Task[Any, Any], model: nn.Module, data: Experience, split: str) -> list[View]:
    """Tables of a trained model of several inputs; none for data of one input, and for annotated images."""
    samples = samples_of(data)
    if samples is None or len(samples.spec.inputs) < 2 or not isinstance(samples.source, SeveralInputs):
        return []
    samples = samples_of(subsample(samples, split, MAX_SAMPLES))
    assert samples is not None
    present = presence(samples, split)
    tables = [_by_missing(task, model, samples, split, present), _importance(task, model, samples, split, present)]
    return [table for table in tables if table is not None]


def presence(data: Dataset[Labelled], split: str) -> Tensor:
    """(n, I) bool: which inputs each sample of a split has."""
    assert isinstance(data.source, SeveralInputs)
    ids = data.splits[split].numpy()
    return torch.stack([torch.from_numpy(at[ids] >= 0) for at in data.source.positions.values()], 1)


def _by_missing(
    task: Task[Any, Any], model: nn.Module, data: Dataset[Labelled], split: str, present: Tensor
) -> Table | None:
    """The metric of the samples that lack the same inputs; None where none lacks any."""
    if not len(present) or bool(present.all()):
        return None
    patterns, group = torch.unique(present, dim=0, return_inverse=True)
    order = sorted(range(len(patterns)), key=lambda k: -int((group == k).sum()))
    names = list(data.spec.inputs)
    metric = task.headline(data.spec)
    rows: list[list[Cell]] = []
    for k in order[:MAX_GROUPS]:
        lacking = [name for name, has in zip(names, patterns[k].tolist(), strict=True) if not has]
        ids = data.splits[split][group == k]
        predictions = _predict(task, model, data, split, ids)
        rows.append([", ".join(lacking) or "none", len(ids), str(task.measure(predictions, data.spec)[metric])])
    more = len(order) - MAX_GROUPS
    return Table(
        title=f"{metric.capitalize()} by missing input",
        columns=["missing input", f"{split} samples", metric],
        rows=rows,
        caption=f"Samples of the {split} split as they are, by the inputs that they lack. Intervals are 95 %."
        + (f" {more:,} rarer combinations are not shown." if more > 0 else ""),
    )


def _importance(
    task: Task[Any, Any], model: nn.Module, data: Dataset[Labelled], split: str, present: Tensor
) -> Table | None:
    """The metric of the complete samples with inputs removed; None where no sample has all inputs."""
    ids = data.splits[split][present.all(1)]
    if not len(ids):
        return None
    metric, names = task.headline(data.spec), list(data.spec.inputs)
    complete = _predict(task, model, data, split, ids)
    whole = task.measure(complete, data.spec)[metric]
    unit = "percentage points" if whole.percent else whole.unit
    rows: list[list[Cell]] = [["all inputs", str(whole), ""]]
    without = [[name] for name in names]
    alone = [[other for other in names if other != name] for name in names] if len(names) > 2 else []
    for removed in (*without, *alone):
        changed = _predict(task, model, without_inputs(data, removed), split, ids)
        value = task.measure(changed, data.spec)[metric]
        only = next((name for name in names if removed == [other for other in names if other != name]), None)
        label = f"without {removed[0]}" if len(removed) == 1 else f"only {only}"
        rows.append([label, str(value), str(_change(task, data.spec, complete, changed, whole))])
    return Table(
        title="Importance of each input",
        columns=["inputs", metric, f"change{f' in {unit}' if unit else ''}"],
        rows=rows,
        caption=f"The {len(ids):,} {split} samples that have all inputs, with inputs removed; the model is the same. "
        "The change is paired over the samples, with its 95 % interval. What two inputs both tell is important to "
        "neither, and a model that met few missing inputs in training (--modality-dropout) may be worse without one "
        "than a model trained without it.",
    )


def without_inputs(data: Dataset[Labelled], names: Sequence[str]) -> Dataset[Labelled]:
    """The same samples without some inputs."""
    source = data.source
    for name in names:
        assert isinstance(source, SeveralInputs)
        source = source.without(name)
    return dataclasses.replace(data, source=source)


def _predict(task: Task[Any, Any], model: nn.Module, data: Dataset[Labelled], split: str, ids: Tensor) -> Predictions:
    part = dataclasses.replace(data, splits={**data.splits, split: ids})
    return predict_split(task, model, part, split, device_of(model))


def _change(task: Task[Any, Any], spec: Spec, complete: Predictions, changed: Predictions, whole: Metric) -> Metric:
    """The change of the headline metric by the removal, with a paired bootstrap interval."""
    before, after = task.resampled_headline(complete, spec), task.resampled_headline(changed, spec)
    scale, count = (100 if whole.percent else 1), task.unit_count(complete, spec)

    def change(rows: Tensor) -> Tensor:
        return scale * (after(rows) - before(rows))

    value = float(change(torch.arange(count)[None])[0])
    return add_interval(Metric(value=value, over=whole.over or "samples", ratio_scale=False), change, count)
