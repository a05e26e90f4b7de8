"""Clustering task: groups of similar samples. It has no target, whatever targets the data has.

Classes that the data has are not used for training: predictions are compared with them by the adjusted Rand index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged
from snellen.core.random import permutation
from snellen.core.run import Run
from snellen.core.spec import Actions, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled, withheld_classes
from snellen.metrics.clustering import (
    MAX_REFERENCE,
    Reference,
    adjusted_rand,
    mean_over_refits,
    resampled_adjusted_rand,
    silhouettes,
)
from snellen.metrics.intervals import add_interval
from snellen.tasks.cluster.diagnosis import DIAGNOSIS
from snellen.tasks.cluster.display import DISPLAY
from snellen.tasks.cluster.model_views import model_views
from snellen.tasks.cluster.views import views

HEADLINE = "silhouette"
STABILITY = "stability"
RAND = "adjusted Rand index"
ONE_CLUSTER = "all samples of the split are in one cluster"


class Clustering(Protocol):
    """Interface of a model of this task.

    probabilistic: whether the scores are posterior probabilities.
    """

    @property
    def probabilistic(self) -> bool: ...

    def assign(self, x: Tensor, /) -> Tensor:
        """(B, ...) raw samples to (B, K) float64: posteriors, or negative distances; the largest is the cluster."""

    def values(self, x: Tensor, /) -> Tensor:
        """(B, ...) raw samples to (B, D) float64, centred; silhouettes measure Euclidean distances between these."""

    def positions(self, values: Tensor, /) -> Tensor:
        """(B, D) values to (B, 2), the place on the map."""

    def refit_clusters(self, values: Tensor, /) -> Tensor:
        """(B, D) values to (B, R) int64: the clusters by R models on bootstrap resamples of the training samples."""

    def centres(self) -> Tensor:
        """(K, ...) means of the clusters in raw units."""


def predict(model: Clustering, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Clusters of a split.

    Silhouettes are relative to all samples of the split, or to 2,000 of a larger one, drawn at random.

    Returns:
        cluster (N,) int64; score (N,) posterior or negative distance of it; silhouette (N,); position (N, 2);
        refits (N, R) int64; label (N,) int64 class that was withheld, -1 without one; truth (N, 0); ids (N,).
    Raises:
        Diverged: when a score is not finite.
    """
    samples = data.samples(split, run.device)
    count = len(samples)
    chosen = permutation(count, 0, "silhouettes")[:MAX_REFERENCE].sort().values
    place = torch.full((count,), -1, dtype=torch.int64)
    place[chosen] = torch.arange(len(chosen))
    parts: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        blocks = [samples.take(rows).x for rows in torch.split(chosen, 256) if len(rows)]
        reference = Reference(
            torch.cat([model.values(x).cpu() for x in blocks]) if blocks else torch.zeros(0, 1),
            torch.cat([model.assign(x).argmax(1).cpu() for x in blocks]) if blocks else torch.zeros(0),
        )
        start = 0
        for batch in samples.in_order():
            values, scores = model.values(batch.x), model.assign(batch.x).cpu()
            best = scores.max(1)
            itself = place[start : start + len(values)]
            of = silhouettes(values.cpu(), best.indices, itself, reference)
            parts.append(
                (
                    best.indices,
                    best.values,
                    of,
                    model.positions(values).cpu(),
                    model.refit_clusters(values).cpu(),
                )
            )
            start += len(values)
    names = ("cluster", "score", "silhouette", "position", "refits")
    ids = samples.ids.cpu()
    if not parts:
        empty = torch.zeros(0, dtype=torch.int64)
        numbers = torch.zeros(0, dtype=torch.float64)
        parts = [(empty, numbers, numbers, numbers.view(0, 2), empty.view(0, 1))]
    columns = dict(zip(names, (torch.cat(column) for column in zip(*parts, strict=True)), strict=True))
    _check_finite(columns["score"])
    withheld = withheld_classes(data)
    label = torch.full((count,), -1, dtype=torch.int64) if withheld is None else withheld[1][ids]
    return {**columns, "label": label, "truth": torch.zeros(count, 0), "ids": ids}


def _check_finite(scores: Tensor) -> None:
    if not bool(torch.isfinite(scores).all()):
        raise Diverged("A distance or probability is NaN or infinite", "Compare that sample to the training data.")


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Mean silhouette; stability; adjusted Rand index against the classes that the data has.

    The stability is the mean adjusted Rand index between the clusters of the model and those of each model on a
    bootstrap resample of the training samples, with another seed. Its interval is over these models.
    """
    cluster, label = predictions["cluster"], predictions["label"]
    if not len(cluster):
        return {HEADLINE: Metric(value=None, reason="the split is empty")}
    metrics: dict[str, Metric] = {}
    if int(cluster.min()) == int(cluster.max()):
        metrics = {name: Metric(value=None, reason=ONE_CLUSTER) for name in (HEADLINE, STABILITY)}
    else:
        values = predictions["silhouette"]
        silhouette = Metric(value=float(values.mean()), over="samples")
        metrics[HEADLINE] = add_interval(silhouette, lambda rows: values[rows].mean(1), len(values))
        metrics[STABILITY] = mean_over_refits([adjusted_rand(cluster, refit) for refit in predictions["refits"].T])
    if bool((label >= 0).all()):
        rand = Metric(value=adjusted_rand(cluster, label), over="samples")
        metrics[RAND] = add_interval(rand, resampled_adjusted_rand(cluster, label), len(cluster))
    return metrics


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """1 − silhouette of each sample, (N,)."""
    return 1 - predictions["silhouette"]


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Mean silhouette of resampled samples, a function of (R, n) rows."""
    values = predictions["silhouette"]
    return lambda rows: values[rows].mean(1)


def worst(predictions: Predictions, spec: Spec, count: int) -> Tensor:
    """Rows of the smallest silhouettes, the smallest first, then in the order of the samples."""
    return torch.argsort(predictions["silhouette"], stable=True)[:count]


def predict_batch(model: Clustering, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Clusters of a batch: {"cluster", "distance", "distances"}, or {"cluster", "probabilities"}."""
    with torch.inference_mode():
        scores = model.assign(x).cpu()
    _check_finite(scores)
    clusters = scores.argmax(1).tolist()
    if model.probabilistic:
        return [
            {"cluster": cluster, "probabilities": {str(k): value for k, value in enumerate(row)}}
            for cluster, row in zip(clusters, scores.tolist(), strict=True)
        ]
    return [
        {"cluster": cluster, "distance": row[cluster], "distances": {str(k): value for k, value in enumerate(row)}}
        for cluster, row in zip(clusters, (-scores).abs().tolist(), strict=True)
    ]


def truth(data: Dataset[Labelled], id: int) -> PredictionDict:
    """No ground truth."""
    return {}


class ExportedClustering(nn.Module):
    """Model for export: its posteriors, or its distances to the centres, as a named tensor."""

    def __init__(self, model: Clustering) -> None:
        super().__init__()
        self.model = model
        self.probabilistic = model.probabilistic

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to "probabilities" or "distances" (B, K)."""
        scores = self.model.assign(x)
        return {"probabilities": scores} if self.probabilistic else {"distances": -scores}


def export(model: Clustering, spec: Spec) -> ExportedModel:
    name = "probabilities" if model.probabilistic else "distances"
    columns = tuple(f"cluster {k}" for k in range(len(model.centres())))
    return ExportedModel(module=ExportedClustering(model), outputs=(Output(name=name, columns=columns),))


TASK: Task[Dataset[Labelled], Clustering] = Task(
    name="cluster",
    question="Which groups of similar samples are there?",
    default=lambda spec: "kmeans",
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
    diagnosis=DIAGNOSIS,
    has_target=False,
    model_views=model_views,
)
