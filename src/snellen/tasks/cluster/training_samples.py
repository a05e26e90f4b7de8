"""Fitting shared by all models: samples, features, the number of clusters, refits on bootstrap resamples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.random import generator, key
from snellen.core.run import Run
from snellen.core.spec import Actions, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics.clustering import distances, silhouettes_of_distances
from snellen.nn.kmeans import kmeans, nearest
from snellen.tasks.cluster.features import MAX_VALUES, value_count
from snellen.tasks.cluster.models import ClusterModel
from snellen.training.supervised import subset

CHOICES = range(2, 11)  # numbers of clusters of which the one with the best silhouette is chosen
CHOICE_RESTARTS = 25  # choose what 50 choose on 160 sets of Gaussian groups and ten splits of wine; 20 do not
MAX_CHOICE_SAMPLES, MAX_REFIT_SAMPLES = 1000, 1000
MAX_SAMPLE_VALUES, MAX_REFIT_VALUES = 1 << 23, 1 << 21  # of the samples that are clustered, 64 MiB; of a refit
MIN_SAMPLES = 50  # however many values they have

FitClusters = Callable[[Any, Tensor, int, int], object]  # module, (N, D) samples, number of clusters, seed


class TrainingSamples(NamedTuple):
    """Samples as a model clusters them.

    values: (N, D) centred. y: (N, C), the values or their scores. clusters: number of clusters.
    """

    values: Tensor
    y: Tensor
    clusters: int


def unsupported_reason(spec: Spec) -> str | None:
    """Samples of very many values are too large."""
    if isinstance(spec.target, Actions):
        return "reads samples, not a world"
    count = value_count(spec)
    return None if count <= MAX_VALUES else f"reads at most {MAX_VALUES:,} values per sample, these have {count:,}"


def check_counts(clusters: int | None, components: int | None, spec: Spec) -> None:
    """Raise UsageError for more clusters than training samples, or more components than a sample has values."""
    samples, values = spec.sizes.get("train", 0), value_count(spec)
    if clusters is not None and clusters > samples:
        raise UsageError(
            f"--clusters {clusters:,} are more than the {samples:,} training samples of {spec.name}",
            "Give fewer clusters, or omit --clusters: then their number is chosen by the silhouette.",
        )
    if components is not None and components > values:
        raise UsageError(
            f"--components {components:,} are more than the {values:,} values of a sample of {spec.name}",
            f"Give at most {values:,}.",
        )


def prepare(clusters: int | None, data: Dataset[Labelled], model: ClusterModel, run: Run) -> TrainingSamples:
    """Set the features of a model, and choose the number of clusters unless it is given.

    Raises:
        UsageError: fewer distinct training samples than clusters.
    """
    train, size = data.samples("train"), value_count(data.spec)
    limit = max(MIN_SAMPLES, MAX_SAMPLE_VALUES // size, 2 * (clusters or 0))
    x = subset(train, limit).x
    if len(x) < len(train):
        run.message(f"Clustered: {len(x):,} of {len(train):,} training samples, spread evenly over them.")
    model.features.standardize.fit(subset(train).x, data.value_range, shared_range=True)
    values = model.features.fit(x)
    run.notes["clustered samples"] = len(x)
    if data.withheld is not None and data.spec.input.columns:
        run.message("Not clustered: the target. If it is a class, the clusters are compared with it.")
    distinct = distinct_rows(values)
    if clusters is not None and clusters > distinct:
        raise UsageError(
            f"--clusters {clusters:,} are more than the {distinct:,} distinct training samples of {data.spec.name}",
            f"Give at most {distinct:,}.",
        )
    count = clusters or choose_clusters(values, distinct, model, run)
    run.notes["clusters"] = count
    return TrainingSamples(values, model.projected(values), count)


def distinct_rows(x: Tensor) -> int:
    """Number of distinct rows of (N, D)."""
    return len({row.tobytes() for row in (x + 0.0).numpy()})  # −0 becomes 0


def choose_clusters(values: Tensor, distinct: int, model: ClusterModel, run: Run) -> int:
    """The number of clusters, 2 … 10, for which k-means has the largest silhouette; stores all silhouettes.

    The same for all models and seeds. Of fewer than three distinct samples each is a cluster.
    """
    x = values[torch.linspace(0, len(values) - 1, min(len(values), MAX_CHOICE_SAMPLES)).round().long()]
    counts = [count for count in CHOICES if count < min(distinct, distinct_rows(x))]
    if not counts:
        are = "all training samples are equal" if distinct == 1 else f"there are {distinct} distinct training samples"
        run.message(f"--clusters {min(distinct, 2)}: {are}.")
        return min(distinct, 2)
    if x.shape[1] > len(x):
        x = torch.linalg.qr(x.T, mode="r").R.T.contiguous()  # the same distances, in as many dimensions as samples
    all_rows = torch.arange(len(x))
    between = distances(x, all_rows, x)
    for count in counts:
        centres = kmeans(x, count, generator(0, "clusters", count), CHOICE_RESTARTS)
        clusters = nearest(x, centres)[1]
        mean = silhouettes_of_distances(between, clusters, all_rows, clusters).mean()
        model.measuring.silhouettes[count - CHOICES[0]] = mean
    best = max(counts, key=lambda count: float(model.measuring.silhouettes[count - CHOICES[0]]))
    of = {count: float(model.measuring.silhouettes[count - CHOICES[0]]) for count in counts}
    run.message(
        f"--clusters {best}: the largest silhouette, {of[best]:.3f}, of k-means with {counts[0]} to {counts[-1]} "
        f"clusters on {len(x):,} training samples."
    )
    return best


def finish(samples: TrainingSamples, model: ClusterModel, run: Run, fit: FitClusters) -> None:
    """Sort the clusters by their number of training samples, and fit the models on bootstrap resamples."""
    sizes = torch.bincount(model.clusters.scores(samples.y).argmax(1), minlength=samples.clusters)
    model.clusters.select(torch.argsort(sizes, descending=True, stable=True))
    few = min(len(samples.y), MAX_REFIT_SAMPLES, max(MIN_SAMPLES, MAX_REFIT_VALUES // samples.y.shape[1]))
    few = max(few, min(len(samples.y), 2 * samples.clusters))
    for k, refit in enumerate(model.measuring.each()):
        rng = generator(run.seed, "refit", k)
        rows = torch.randint(len(samples.y), (few,), generator=rng)
        resample = samples.y[rows]
        if distinct_rows(resample) < samples.clusters:  # of few samples a resample may hold too few
            resample = torch.cat([resample, samples.y])
        fit(refit, resample, samples.clusters, key(run.seed, "refit", k))
    model.to(run.device)
