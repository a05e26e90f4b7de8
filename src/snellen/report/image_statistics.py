"""Statistics of the images of a dataset: correlation of neighbouring pixels."""

from __future__ import annotations

import torch

from snellen.core.errors import counted
from snellen.core.experience import Experience
from snellen.core.views import Metric, Plot, Series, Table
from snellen.data.experience import samples_of
from snellen.metrics.pixel_correlation import PixelCorrelation, pixel_correlation

MAX_IMAGES, MAX_VALUES = 200, 1_000_000  # that are read, evenly spaced over the training split


def dataset_correlation(
    data: Experience, max_distance: int | None = None, max_values: int = MAX_VALUES
) -> PixelCorrelation | None:
    """Correlation of pixels of the training images, as the model gets them.

    Of at most 200 images, evenly spaced; images with values that are not finite are left out.

    Args:
        max_distance: see `pixel_correlation`. max_values: about the number of values that are read.
    Returns:
        None where the samples are no images, or no image can be used.
    """
    samples = samples_of(data)
    if samples is None or len(samples.spec.inputs) != 1 or not samples.spec.input.has_pixels:
        return None
    ids = samples.splits["train"]
    if not len(ids):
        return None
    first = samples.image(int(ids[0]))
    count = max(1, min(len(ids), MAX_IMAGES, max_values // first.numel()))
    chosen = ids[torch.linspace(0, len(ids) - 1, count).round().long()].tolist()
    images = [samples.image(id) for id in chosen]
    finite = [image for image in images if bool(image.isfinite().all())]
    return pixel_correlation(finite, max_distance) if finite else None


def distance_limit(correlation: PixelCorrelation, distance: int) -> str:
    """That distances up to `distance` pixels were asked for and the images are too small; "" where they are not."""
    farthest = len(correlation.horizontal) - 1
    if distance <= farthest:
        return ""
    return f"distances up to {farthest} of {distance:,} pixels: the shorter side has {counted(farthest + 1, 'pixel')}"


def correlation_plot(correlation: PixelCorrelation, whose: str) -> Plot | None:
    """The correlation coefficient against the distance; None for images of one pixel or of one value.

    Args:
        whose: whose pixels they are: "200 training images".
    """
    if len(correlation.horizontal) < 2 or all(metric.value is None for metric in correlation.horizontal[1:]):
        return None
    return Plot(
        title="Correlation of neighbouring pixels",
        x="distance [pixels]",
        y="correlation coefficient",
        series=[
            _series("horizontal", correlation.horizontal),
            _series("vertical", correlation.vertical),
            _series("pixels permuted", correlation.permuted),
        ],
        caption=f"Of {whose}. {_legend(correlation)} Near pixels are alike, which a filter of a few pixels uses. In "
        "random order they are not; a network that reads the image as a vector learns the same from any order.",
    )


def correlation_table(correlation: PixelCorrelation, whose: str) -> Table:
    """The correlation coefficients at all distances, with their intervals."""
    columns = ("horizontal", "vertical", "permuted")
    series = (correlation.horizontal, correlation.vertical, correlation.permuted)
    return Table(
        title="",
        columns=["distance [pixels]", *columns],
        rows=[[distance, *map(_text, metrics)] for distance, metrics in enumerate(zip(*series, strict=True))],
        caption=f"Correlation coefficient of pixels of {whose}. {_legend(correlation)}",
    )


def _legend(correlation: PixelCorrelation) -> str:
    mean = f"The mean of {'each image' if correlation.images > 1 else 'the image'} is subtracted."
    if correlation.horizontal[-1].low is None:
        return mean
    bands = "; neighbouring bands depend on each other, so they are too narrow" if correlation.over == "bands" else ""
    return f"{mean} 95 % intervals over {correlation.over}{bands}."


def _text(metric: Metric) -> str:
    return "1" if metric.value == 1 and metric.low == 1 else str(metric)


def _series(name: str, metrics: tuple[Metric, ...]) -> Series:
    return Series(
        name=name,
        x=[float(distance) for distance in range(len(metrics))],
        y=[metric.value for metric in metrics],
        low=[metric.value if metric.low is None else metric.low for metric in metrics],
        high=[metric.value if metric.high is None else metric.high for metric in metrics],
    )
