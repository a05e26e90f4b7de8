"""Gaussian radial basis functions (RBF) and their centres.

Source: lecture 001, φ_j(x); Broomhead and Lowe 1988; Bishop 2006, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MAX_VALUES = 1 << 22  # of the samples that k-means clusters: more take seconds


class GaussianBases(nn.Module):
    """φ_j(x) = exp(−‖x − c_j‖² / (2 s²)).

    centres: (M, D) float32. width: s, the same for all.
    """

    centres: Tensor
    width: Tensor

    def __init__(self, count: int, inputs: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(count, inputs))
        self.register_buffer("width", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) float32 to (B, M) in 0 … 1."""
        x, centres = x.flatten(1).double(), self.centres.double()  # in float32 ‖x‖² − 2 x·c + ‖c‖² would lose digits
        return torch.exp(-squared_distances(x, centres) / (2 * self.width.double().square())).float()

    def set_centres(self, centres: Tensor, width: float | None) -> None:
        """Set (M, D) centres and the width; None: twice the mean distance from a centre to the nearest other."""
        self.centres.copy_(centres)
        if width is None:
            nearest = torch.cdist(centres.double(), centres.double()).fill_diagonal_(torch.inf).amin(1)
            width = 2 * float(nearest[nearest.isfinite() & (nearest > 0)].nan_to_num().mean())
        self.width.fill_(width if 0 < width < torch.inf else 1.0)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances of rows, (B, D) and (M, D) to (B, M)."""
    square: Tensor = a.square().sum(1)[:, None] - 2 * a @ b.T + b.square().sum(1)
    return square.clamp(min=0)


def kmeans_centres(x: Tensor, count: int, seed: int) -> Tensor:
    """k-means centres of the data; of large inputs, of samples spread evenly over them (see MAX_VALUES).

    Args:
        x: (N, D) float32. count: at most N.
    Returns:
        (count, D) float32.
    Source: Lloyd 1982; Arthur and Vassilvitskii 2007; lecture 002.
    """
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    samples = max(5 * count, MAX_VALUES // x.shape[1])
    x = x[torch.linspace(0, len(x) - 1, min(len(x), samples)).round().long()]
    kmeans = KMeans(count, n_init=1, random_state=seed & 0x7FFFFFFF)
    with warnings.catch_warnings(), threadpool_limits(1):  # threads would sum in a random order
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than centres: some coincide
        kmeans.fit(x.double().numpy())
    return torch.from_numpy(kmeans.cluster_centers_).float()
