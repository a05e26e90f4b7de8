"""Models that assign samples to clusters: by the nearest centre, or by a mixture of Gaussians."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.spec import Spec
from snellen.nn.kmeans import squared_distances
from snellen.tasks.cluster.features import MAP_COMPONENTS, Features, component_count, value_count

REFITS = 5  # models on bootstrap resamples, for the stability


class Centres(nn.Module):
    """(K, D) centres, of a number that is known after fitting."""

    variable_length = ("centres",)
    probabilistic = False
    centres: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(0, inputs, dtype=torch.float64))

    def scores(self, y: Tensor) -> Tensor:
        """(B, D) to (B, K) Euclidean distances, negative."""
        return -squared_distances(y, self.centres).sqrt()

    def means(self) -> Tensor:
        return self.centres

    def select(self, order: Tensor) -> None:
        """Put the clusters into another order."""
        self.centres = self.centres[order]


class Mixture(nn.Module):
    """Mixture of Gaussians: log weights (K,), means (K, D), and factors (K, D, D) with precision F Fᵀ.

    Source: Dempster, Laird and Rubin 1977; Bishop 2006, section 9.2.
    """

    variable_length = ("log_weights", "centres", "factors")
    probabilistic = True
    log_weights: Tensor
    centres: Tensor
    factors: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("log_weights", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("centres", torch.zeros(0, inputs, dtype=torch.float64))
        self.register_buffer("factors", torch.zeros(0, inputs, inputs, dtype=torch.float64))

    def log_joint(self, y: Tensor) -> Tensor:
        """(B, D) to (B, K): log π_k N(y | μ_k, Σ_k)."""
        z = torch.einsum("bkd,kde->bke", y[:, None] - self.centres, self.factors)
        log_determinant = torch.diagonal(self.factors, dim1=1, dim2=2).log().sum(1)  # of F, triangular
        constant = 0.5 * y.shape[1] * math.log(2 * math.pi)
        return self.log_weights + log_determinant - 0.5 * z.square().sum(2) - constant

    def scores(self, y: Tensor) -> Tensor:
        """(B, D) to (B, K) posterior probabilities of the components."""
        return torch.softmax(self.log_joint(y), 1)

    def means(self) -> Tensor:
        return self.centres

    def select(self, order: Tensor) -> None:
        """Put the clusters into another order."""
        for name in self.variable_length:
            setattr(self, name, getattr(self, name)[order])


class Measuring(nn.Module):
    """What the report needs and a prediction does not.

    refits: models on bootstrap resamples. curve: (T,) log-likelihood of each iteration. silhouettes: (9,) of 2 … 10
    clusters if their number was chosen by it, NaN where it was not.
    """

    variable_length = ("curve",)
    curve: Tensor
    silhouettes: Tensor

    def __init__(self, refits: list[Any], choices: int) -> None:
        super().__init__()
        self.refits = nn.ModuleList(refits)
        self.register_buffer("curve", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("silhouettes", torch.full((choices,), torch.nan, dtype=torch.float64))

    def each(self) -> list[Any]:
        """The models on bootstrap resamples."""
        return list(self.refits)


class ClusterModel(nn.Module):
    """Features of a sample, its scores on principal components where `components` is given, and their clusters.

    Args:
        components: number of principal components that are clustered; None: all values.
        kind: `Centres` or `Mixture`.
        choices: numbers of clusters that are tried.
    """

    def __init__(self, spec: Spec, components: int | None, kind: type[Any], choices: int) -> None:
        super().__init__()
        self.components = None if components is None else component_count(spec, components)
        self.features = Features(spec, self.components or MAP_COMPONENTS)
        inputs = value_count(spec) if self.components is None else self.components
        self.clusters = kind(inputs)
        self.measuring = Measuring([kind(inputs) for _ in range(REFITS)], choices)

    @property
    def probabilistic(self) -> bool:
        """Whether the scores of a sample are posterior probabilities."""
        return bool(self.clusters.probabilistic)

    def projected(self, values: Tensor) -> Tensor:
        """(B, D) centred values to what is clustered."""
        return values if self.components is None else self.features.scores(values, self.components)

    def assign(self, x: Tensor) -> Tensor:
        """(B, ...) raw samples to (B, K) float64: posteriors, or negative distances to the centres."""
        scores: Tensor = self.clusters.scores(self.projected(self.features.values(x)))
        return scores

    def values(self, x: Tensor) -> Tensor:
        """(B, ...) raw samples to (B, D) float64, between which silhouettes measure distances."""
        return self.features.values(x)

    def positions(self, values: Tensor) -> Tensor:
        """(B, D) values to (B, 2): scores on the first two principal components; the second is 0 without one."""
        scores = self.features.scores(values, MAP_COMPONENTS)
        return torch.nn.functional.pad(scores, (0, MAP_COMPONENTS - scores.shape[1]))

    def refit_clusters(self, values: Tensor) -> Tensor:
        """(B, D) values to (B, R) int64, the cluster by each model on a bootstrap resample."""
        y = self.projected(values)
        return torch.stack([refit.scores(y).argmax(1) for refit in self.measuring.each()], 1)

    def centres(self) -> Tensor:
        """(K, ...) means of the clusters in raw units."""
        means: Tensor = self.clusters.means()
        return self.features.raw(means if self.components is None else self.features.from_scores(means))
