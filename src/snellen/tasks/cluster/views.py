"""Views of the clusters of a split: sizes, a map, samples of each, and a table against the classes of the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snellen.core.random import permutation
from snellen.core.spec import Spec
from snellen.core.task import Predictions
from snellen.core.views import Cell, Matrix, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled, withheld_classes
from snellen.modalities.sample_views import samples_view

MAX_POINTS = 1200  # on a map
MAX_GROUPS = 12  # clusters whose samples are shown
MAX_CLASSES = 60  # of the table against the classes
NEAREST, OTHERS = 4, 4  # samples shown of a cluster
MAX_WORST = 12


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """All views of a split."""
    classes = withheld_classes(data)
    result: list[View] = [size_table(predictions), *maps(predictions, None if classes is None else classes[0])]
    if classes is not None:
        result += contingency(predictions, classes[0])
    result += group_views(predictions, data)
    return [*result, worst_view(predictions, data)]


def cluster_count(predictions: Predictions) -> int:
    """Number of clusters that have samples, or a larger one that has."""
    return int(max(predictions["cluster"].max(), predictions["refits"].max())) + 1


def size_table(predictions: Predictions) -> Table:
    """Number of samples and mean silhouette of each cluster."""
    cluster = predictions["cluster"]
    rows: list[list[Cell]] = []
    for k in range(cluster_count(predictions)):
        member = cluster == k
        count = int(member.sum())
        mean = f"{float(predictions['silhouette'][member].mean()):.3f}" if count else "no sample"
        rows.append([k, count, f"{100 * count / len(cluster):.1f} %", mean])
    caption = "The samples of the evaluated split. Cluster 0 has the most training samples, cluster 1 the second most …"
    return Table(title="Clusters", columns=["cluster", "samples", "fraction", "silhouette"], rows=rows, caption=caption)


def maps(predictions: Predictions, names: tuple[str, ...] | None) -> list[View]:
    """Samples on the first two principal components of the training samples, by cluster and by class."""
    caption = (
        "The samples of the evaluated split, on the first two principal components of the training samples, which were "
        "standardised."
    )
    if len(predictions["cluster"]) > MAX_POINTS:
        caption += f" {MAX_POINTS:,} of {len(predictions['cluster']):,} samples."
    by_cluster = [f"cluster {k}" for k in range(cluster_count(predictions))]
    result: list[View] = [_map("Map of the clusters", predictions, predictions["cluster"], by_cluster, caption)]
    if names is not None and len(names) <= MAX_GROUPS:
        result.append(_map("Map of the classes", predictions, predictions["label"], names, caption))
    return result


def _map(title: str, predictions: Predictions, group: Tensor, names: Sequence[str], caption: str) -> Plot:
    """Points of each group."""
    rows = permutation(len(group), 0, "map")[:MAX_POINTS].sort().values
    place, group = predictions["position"][rows], group[rows]
    first = [k for k in range(len(names)) if bool((group == k).any())]
    series = [
        Series(name=names[k], x=place[group == k, 0].tolist(), y=place[group == k, 1].tolist())
        for k in first[:MAX_GROUPS]
    ]
    rest = torch.isin(group, torch.tensor(first[MAX_GROUPS:], dtype=torch.int64))
    if bool(rest.any()):
        series.append(Series(name="others", x=place[rest, 0].tolist(), y=place[rest, 1].tolist()))
    return Plot(title=title, x="component 1", y="component 2", series=series, style="points", caption=caption)


def contingency(predictions: Predictions, names: tuple[str, ...]) -> list[View]:
    """Number of samples of each class in each cluster."""
    count = cluster_count(predictions)
    if len(names) > MAX_CLASSES or count > MAX_CLASSES:
        return []
    table = torch.zeros(len(names), count, dtype=torch.int64)
    table.index_put_((predictions["label"], predictions["cluster"]), torch.tensor(1), accumulate=True)
    return [
        Matrix(
            title="Clusters and classes",
            rows=names,
            columns=[f"cluster {k}" for k in range(count)],
            values=table.tolist(),
            x="cluster",
            y="class",
            caption="Samples of each class in each cluster. The classes were not used for training.",
            has_errors=False,
        )
    ]


def group_views(predictions: Predictions, data: Dataset[Labelled]) -> list[View]:
    """Samples of each cluster: those with the best score, and others at random."""
    result: list[View] = []
    for k in range(min(cluster_count(predictions), MAX_GROUPS)):
        rows = torch.nonzero(predictions["cluster"] == k)[:, 0]
        if not len(rows):
            continue
        order = rows[torch.argsort(predictions["score"][rows], descending=True, stable=True)]
        others = order[NEAREST:][permutation(max(0, len(order) - NEAREST), 0, "others", k)[:OTHERS]]
        shown = torch.cat([order[:NEAREST], others])
        remarks = [f"nearest {n + 1}" if n < NEAREST else "at random" for n in range(len(shown))]
        if len(order) > NEAREST:
            caption = f"The {NEAREST} samples nearest to the centre of {len(order):,}, and {len(others)} at random."
        else:
            count = len(order)
            caption = f"All {count} samples, nearest to the centre first." if count > 1 else "The only sample."
        ids = predictions["ids"][shown].tolist()
        result.append(samples_view(data, ids, remarks, f"Cluster {k}", caption, "which", None))
    return result


def worst_view(predictions: Predictions, data: Dataset[Labelled]) -> View:
    """Samples with the smallest silhouettes."""
    rows = torch.argsort(predictions["silhouette"], stable=True)[:MAX_WORST]
    remarks = [
        f"cluster {k}, silhouette {s:.2f}"
        for k, s in zip(predictions["cluster"][rows].tolist(), predictions["silhouette"][rows].tolist(), strict=True)
    ]
    caption = "Below 0 a sample is nearer, on average, to the samples of another cluster."
    title = "Between clusters: the smallest silhouettes"
    return samples_view(data, predictions["ids"][rows].tolist(), remarks, title, caption, "cluster")
