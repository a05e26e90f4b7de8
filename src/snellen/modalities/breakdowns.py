"""Views of a metric by the length of the samples, and by group."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.views import Cell, Metric, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.modalities import modality_of

Measure = Callable[[Tensor], Metric]  # rows of the predictions to a metric of them

BATCH = 64  # samples whose lengths are read at a time
MAX_READ = 10_000  # samples whose lengths are read
MIN_SAMPLES = 8  # for quartiles
MAX_GROUPS = 30  # in the table


def breakdown_views(data: Dataset[Labelled], ids: Tensor, name: str, measure: Measure) -> list[View]:
    """A metric by length and by group, as far as the data has several lengths, and names of its groups.

    Args:
        ids: (N,) of the predicted samples.
        name: of the metric.
        measure: (R,) rows of the predictions to the metric of these.
    """
    return [*_by_length(data, ids, name, measure), *_by_group(data, ids, name, measure)]


def sample_lengths(data: Dataset[Labelled], ids: Tensor) -> Tensor | None:
    """(N,) float64 lengths of samples; None where their kind of input has none, or all have the same."""
    lengths_of = modality_of(data.spec).lengths
    if lengths_of is None or len(data.spec.inputs) > 1 or None not in data.spec.input.shape:
        return None
    parts = [
        lengths_of(data.source.read(part.cpu().numpy(), data.preprocessing), data.spec.input).double()
        for part in torch.split(ids, BATCH)
    ]
    return torch.cat(parts) if parts else None


def quartiles(lengths: Tensor) -> list[Tensor]:
    """Rows of the samples in each quartile of the lengths; equal lengths stay together, so there may be fewer."""
    edges = lengths.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=lengths.dtype))
    place = torch.searchsorted(edges, lengths)
    return [torch.nonzero(place == k)[:, 0] for k in range(4) if bool((place == k).any())]


def _by_length(data: Dataset[Labelled], ids: Tensor, name: str, measure: Measure) -> list[View]:
    chosen = torch.arange(len(ids))
    if len(ids) > MAX_READ:
        chosen = torch.linspace(0, len(ids) - 1, MAX_READ).round().long()
    lengths = sample_lengths(data, ids[chosen]) if len(ids) >= MIN_SAMPLES else None
    parts = [] if lengths is None else quartiles(lengths)
    if lengths is None or len(parts) < 2:
        return []
    metrics = [measure(chosen[rows]) for rows in parts]
    unit = modality_of(data.spec).length_unit
    ranges = [
        f"{_number(float(lengths[rows].min()))} to {_number(float(lengths[rows].max()))} ({len(rows):,})"
        for rows in parts
    ]
    sampled = f" {len(chosen):,} of {len(ids):,} samples." if len(chosen) < len(ids) else ""
    return [
        Plot(
            title=f"{name[0].upper()}{name[1:]} by length",
            x=f"mean length [{unit}]",
            y=f"{name}{_unit(metrics[0])}",
            style="points",
            series=[
                Series(
                    name=name,
                    x=[float(lengths[rows].mean()) for rows in parts],
                    y=[_scaled(m, m.value) for m in metrics],
                    low=[_scaled(m, m.value if m.low is None else m.low) for m in metrics],
                    high=[_scaled(m, m.value if m.high is None else m.high) for m in metrics],
                )
            ],
            caption=f"Quartiles of the lengths in {unit}, with numbers of samples: {', '.join(ranges)}.{sampled} "
            "Bars: 95 % confidence intervals over samples.",
        )
    ]


def _by_group(data: Dataset[Labelled], ids: Tensor, name: str, measure: Measure) -> list[View]:
    if not data.group_names or not len(ids):
        return []
    members: dict[str, list[int]] = {}
    for row, id in enumerate(ids.tolist()):
        members.setdefault(data.group_names[id], []).append(row)
    if len(members) == len(ids):  # every sample is a group of its own
        return []
    metrics = {group: measure(torch.tensor(rows)) for group, rows in members.items()}
    worst_first = sorted(metrics, key=lambda group: (_badness(metrics[group]), group))
    rows: list[list[Cell]] = [[g, len(members[g]), str(metrics[g])] for g in worst_first[:MAX_GROUPS]]
    shown = f"The {MAX_GROUPS} worst of {len(metrics):,} groups" if len(metrics) > MAX_GROUPS else "The groups"
    return [
        Table(
            title=f"{name[0].upper()}{name[1:]} by group",
            columns=["group", "samples", name],
            rows=rows,
            caption=f"{shown} of --group in this split, the worst first. ± is half the width of the 95 % confidence "
            "interval over the samples of a group.",
        )
    ]


def _badness(metric: Metric) -> float:
    value = 0.0 if metric.value is None else metric.value
    return value if metric.higher_is_better else -value


def _scaled(metric: Metric, value: float | None) -> float | None:
    return value * 100 if metric.percent and value is not None else value


def _unit(metric: Metric) -> str:
    return " [%]" if metric.percent else f" [{metric.unit}]" if metric.unit else ""


def _number(length: float) -> str:
    return f"{length:,.0f}" if length == int(length) else f"{length:.3g}"
