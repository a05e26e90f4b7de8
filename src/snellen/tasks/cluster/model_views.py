"""Views of a clustering model: its centres, the choice of the number of clusters, explained variance, likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from snellen.core.spec import Spec
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.modalities import modality_of
from snellen.nn.layers import robust_range
from snellen.tasks.cluster.models import ClusterModel

MAX_CENTRES = 20
MAX_COLUMNS = 8
FIRST_CHOICE = 2  # clusters


class HasCentres(Protocol):
    """The part of the interface of a model that the view of its centres needs."""

    def centres(self) -> Tensor:
        """(K, ...) means of the clusters in raw units."""


def model_views(model: HasCentres, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """The centres: images, or a table; and the silhouettes by which their number was chosen."""
    with torch.inference_mode():
        centres = model.centres().cpu()
    views: list[View] = [centre_view(centres, data)]
    if isinstance(model, ClusterModel):
        views += choice_views(model)
    return views


def centre_view(centres: Tensor, data: Dataset[Labelled]) -> ImageGrid | Table:
    """Centres (K, ...) as images where the samples are drawn, else as a table of their first values."""
    spec_input = data.spec.input
    more = f" The first {MAX_CENTRES} of {len(centres)}." if len(centres) > MAX_CENTRES else ""
    shown = centres[:MAX_CENTRES]
    draw = modality_of(data.spec).draw
    if draw is not None:
        images = [draw(centre.float(), spec_input) for centre in shown]
        low, high = data.value_range or (
            (0.0, 255.0) if spec_input.dtype == "uint8" else robust_range(torch.stack(images).double())
        )
        items = [
            AnnotatedImage(values=image, low=low, high=high, caption=f"cluster {k}") for k, image in enumerate(images)
        ]
        return ImageGrid(title="Centres of the clusters", items=items, caption=f"The mean of each cluster.{more}")
    flat = shown.flatten(1)
    names = value_names(data.spec, flat.shape[1])
    rows: list[list[Cell]] = [
        [k, *(f"{value:.4g}" for value in row[:MAX_COLUMNS])] for k, row in enumerate(flat.tolist())
    ]
    if len(names) > MAX_COLUMNS:
        more += f" The first {MAX_COLUMNS} of {len(names):,} values."
    caption = f"The mean of each cluster, in the units of the data; of a category the fraction of samples.{more}"
    return Table(title="Centres of the clusters", columns=["cluster", *names[:MAX_COLUMNS]], rows=rows, caption=caption)


def value_names(spec: Spec, count: int) -> list[str]:
    """A name for each value of a flattened sample."""
    columns = [
        name
        for column in spec.input.columns
        for name in ([column.name] if column.categories is None else [f"{column.name}={c}" for c in column.categories])
    ]
    return columns if len(columns) == count else [f"x{k}" for k in range(count)]


def choice_views(model: ClusterModel) -> list[View]:
    """Silhouette against the number of clusters, if it was chosen by it."""
    values = model.measuring.silhouettes.tolist()
    points = [(FIRST_CHOICE + k, value) for k, value in enumerate(values) if value == value]
    if not points:
        return []
    best, highest = max(points, key=lambda point: point[1])
    return [
        Plot(
            title="Number of clusters",
            x="clusters",
            y="silhouette of k-means",
            series=[Series(name="silhouette", x=[count for count, _ in points], y=[value for _, value in points])],
            caption=f"On training samples. The largest, {highest:.3f}, is that of {best} clusters, which were chosen.",
        )
    ]


def variance_views(model: ClusterModel) -> list[View]:
    """Explained variance of the principal components; of images also the components."""
    assert model.components is not None
    fractions = model.features.explained(model.components)
    if not fractions:
        return []
    cumulative = torch.tensor(fractions).cumsum(0).tolist()
    steps = list(range(1, len(fractions) + 1))
    views: list[View] = [
        Plot(
            title="Explained variance",
            x="component",
            y="variance [%]",
            series=[
                Series(name="of the component", x=steps, y=[100 * f for f in fractions]),
                Series(name="up to the component", x=steps, y=[100 * f for f in cumulative]),
            ],
            caption=f"The {len(fractions)} components that are clustered have {100 * cumulative[-1]:.3g} % of the "
            f"variance of the {len(model.features.mean):,} standardised values.",
        )
    ]
    shape: Any = model.features.shape
    if len(shape) == 3 and shape[0] in (1, 3):
        views.append(component_images(model.features.axes[: model.components].cpu(), fractions, shape))
    return views


def component_images(axes: Tensor, fractions: Sequence[float], shape: Sequence[int]) -> ImageGrid:
    """Principal components (C, D) as images; grey is zero."""
    items = []
    for k, (axis, fraction) in enumerate(zip(axes[:MAX_CENTRES], fractions, strict=False), 1):
        limit = float(axis.abs().max()) or 1.0
        image = axis.reshape(tuple(shape))
        items.append(AnnotatedImage(values=image, low=-limit, high=limit, caption=f"{k}: {100 * fraction:.2g} %"))
    caption = "The directions of largest variance, with their fraction of it; grey is zero."
    return ImageGrid(title="Principal components", items=items, caption=caption)


def likelihood_views(model: ClusterModel) -> list[View]:
    """Mean log-likelihood of a training sample at each iteration of EM."""
    curve = model.measuring.curve.tolist()
    if not curve:
        return []
    series = [Series(name="log-likelihood", x=list(range(1, len(curve) + 1)), y=curve)]
    return [
        Plot(
            title="Log-likelihood",
            x="iteration of EM",
            y="mean log-likelihood [nats]",
            series=series,
            caption="Of the training samples, of the restart with the highest. EM does not lower it; the constant "
            "that is added to the variances can, a little.",
        )
    ]
