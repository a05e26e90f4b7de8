"""Views of a generator: its samples beside those of the data, and the likelihood of the test samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.core.spec import Input, Spec
from snellen.core.task import Predictions
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.modalities import modality_of
from snellen.modalities.sample_views import samples_view
from snellen.nn.layers import robust_range

NUM_IMAGES = 16  # samples of the model, and of the training split, as images
NUM_POINTS = 500  # samples in a plot of two values, or in a table of means
NUM_LINES = 3  # sequences of the data, and as many of the model
MAX_COLUMNS = 8  # values in a table
MIN_BINS, MAX_BINS = 5, 40  # of the histogram, between them the root of the number of samples
MAX_WORST = 12


class DrawsSamples(Protocol):
    """The part of the interface of a model that these views need."""

    def sample(self, count: int, generator: torch.Generator, /) -> Tensor:
        """(count, ...) new samples in raw units."""


def model_views(model: DrawsSamples, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Samples of the model beside training samples: drawn, or a scatter plot, lines over time, a table of moments."""
    draw = modality_of(spec).draw
    count = NUM_POINTS if draw is None else NUM_IMAGES
    train = data.samples("train")
    real = train.take(torch.linspace(0, len(train) - 1, min(count, len(train))).round().long()).x
    with torch.inference_mode():
        new = model.sample(count, generator(0, "report")).cpu()
    if draw is not None:
        real, new = (torch.stack([draw(sample, spec.input) for sample in x]) for x in (real, new))
        return image_views(real, new, data.value_range)
    if "time" in spec.input.axes:
        return sequence_views(real.double(), new.double())
    return vector_views(real.double(), new.double(), value_names(spec.input))


def image_views(real: Tensor, new: Tensor, value_range: tuple[float, float] | None) -> list[View]:
    """Two grids of drawings (B, C, H, W), of samples of the model and of the training split."""
    low, high = value_range or ((0.0, 255.0) if real.dtype == torch.uint8 else robust_range(real.double()))
    return [
        ImageGrid(title=title, items=[AnnotatedImage(values=x, low=low, high=high) for x in images], caption=caption)
        for title, images, caption in (
            ("Samples of the model", new, "New samples, not selected."),
            ("Training samples", real, "Spread evenly over the training split."),
        )
    ]


def sequence_views(real: Tensor, new: Tensor) -> list[View]:
    """Lines of the first features over time, (B, T, D)."""
    steps = list(range(real.shape[1]))
    views: list[View] = []
    for feature in range(min(real.shape[2], 2)):
        series = [
            Series(name=f"{name} {k + 1}", x=steps, y=x[k, :, feature].tolist())
            for name, x in (("training", real), ("model", new))
            for k in range(min(NUM_LINES, len(x)))
        ]
        views.append(Plot(title=f"Samples: feature {feature + 1}", x="step", y=f"feature {feature + 1}", series=series))
    return views


def vector_views(real: Tensor, new: Tensor, names: Sequence[str]) -> list[View]:
    """Of two values (B, 2) a scatter plot of training samples and samples of the model; else a table of moments."""
    if real.shape[1] == 2:
        series = [
            Series(name=name, x=x[:, 0].tolist(), y=x[:, 1].tolist())
            for name, x in (("training samples", real), ("samples of the model", new))
        ]
        return [Plot(title="Samples", x=names[0], y=names[1], series=series, style="points")]
    rows: list[list[Cell]] = [
        [
            name,
            *(f"{x[:, k].mean().item():.4g} ± {x[:, k].std(correction=0).item():.3g}" for x in (real, new)),
        ]
        for k, name in enumerate(names[:MAX_COLUMNS])
    ]
    more = f" The first {MAX_COLUMNS} of {len(names):,} values." if len(names) > MAX_COLUMNS else ""
    return [
        Table(
            title="Samples",
            columns=["value", "training samples", "samples of the model"],
            rows=rows,
            caption=f"Mean ± standard deviation over {len(real)} and {len(new)} samples.{more}",
        )
    ]


def value_names(spec_input: Input) -> list[str]:
    """A name for each value of a vector: that of its column, with the category where it has some."""
    columns = [
        name
        for column in spec_input.columns
        for name in ([column.name] if column.categories is None else [f"{column.name}={c}" for c in column.categories])
    ]
    return columns or [f"x{k}" for k in range(spec_input.shape[0] or 0)]


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Histogram of the log densities of test samples, and the least likely samples."""
    log_density = predictions["log_density"]
    rows = torch.argsort(log_density, stable=True)[:MAX_WORST]
    remarks = [f"log density {value:.5g}" for value in log_density[rows].tolist()]
    ids = predictions["ids"][rows].tolist()
    worst = samples_view(data, ids, remarks, "Worst: the least likely samples", "The smallest log density first.")
    return [histogram(log_density), worst]


def histogram(log_density: Tensor) -> Plot:
    """Histogram of (N,) log densities; the lowest hundredth, which may lie far away, is counted in the first bin."""
    low, high = torch.quantile(log_density[:: max(1, len(log_density) // 1_000_000)], log_density.new_tensor([0.01, 1]))
    count = max(MIN_BINS, min(MAX_BINS, round(len(log_density) ** 0.5)))
    width = float((high - low) / count) or 1.0
    bins = ((log_density - low) / width).floor().clamp(0, count - 1).long()
    counts = torch.bincount(bins, minlength=count).tolist()
    edges = [float(low) + k * width for k in range(count + 1)]
    return Plot(
        title="Log density of the samples",
        x="log density [nats]",
        y="samples",
        series=[Series(name="samples", x=[e for e in edges for _ in range(2)], y=_steps(counts))],
        caption="Samples below the first percentile are counted in the first bin.",
    )


def _steps(counts: Sequence[int]) -> list[float | None]:
    """The outline of a histogram: the height before and after each edge."""
    return [0.0, *(float(height) for height in counts for _ in range(2)), 0.0]
