"""Features of a sample in which its distances are measured, and their principal components."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.spec import Preprocessing, Spec
from snellen.data.image_size import fixed_size, flattened_size, input_shape
from snellen.nn.layers import Standardize

MAX_SIDE = 32  # pixels: larger images are reduced
MAX_VALUES = 1 << 16  # of a sample
MAX_SVD_VALUES = 1 << 22  # of the samples whose singular vectors are computed
MAP_COMPONENTS = 2


def preprocessing_of(settings: object, spec: Spec) -> Preprocessing:
    """The same for all models: silhouettes of images of other sizes cannot be compared."""
    return fixed_size(spec, max_side=MAX_SIDE)


def value_count(spec: Spec) -> int:
    """Number of values of a sample as the models read it."""
    return flattened_size(spec, preprocessing_of(None, spec))


def component_count(spec: Spec, components: int) -> int:
    """Number of principal components: at most as many as a sample has values, or as there are training samples."""
    return max(1, min(components, value_count(spec), spec.sizes.get("train", components)))


class Features(nn.Module):
    """Standardised values of a sample, and its scores on the principal components of the training samples.

    Columns and features are divided by their standard deviation; values of images are scaled to 0 … 1, all alike.

    mean: (D,) of the standardised values. axes: (C, D) orthonormal rows, the largest variance first; zero where the
    samples have fewer components. variance: (C,) along them; total: of all values.
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor
    total: Tensor

    def __init__(self, spec: Spec, components: int) -> None:
        super().__init__()
        preprocessing = preprocessing_of(None, spec)
        self.shape = input_shape(spec, preprocessing)
        self.feature_axis = spec.input.feature_axis
        count = flattened_size(spec, preprocessing)
        rows = min(max(components, MAP_COMPONENTS), count)
        self.standardize = Standardize(spec.input, preprocessing.channels)
        self.register_buffer("mean", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("axes", torch.zeros(rows, count, dtype=torch.float64))
        self.register_buffer("variance", torch.zeros(rows, dtype=torch.float64))
        self.register_buffer("total", torch.ones((), dtype=torch.float64))

    def values(self, x: Tensor) -> Tensor:
        """(B, ...) raw samples to (B, D) float64, standardised and centred."""
        z: Tensor = self.standardize(x)
        return z.flatten(1).double() - self.mean

    def scores(self, values: Tensor, components: int) -> Tensor:
        """(B, D) centred values to (B, C) scores on the first components."""
        return values @ self.axes[:components].T

    def raw(self, values: Tensor) -> Tensor:
        """(B, D) centred values back to (B, ...) in raw units."""
        z = (values + self.mean).view(-1, *self.shape)
        shape = (-1, *(1 for _ in self.shape[self.feature_axis + 1 :]))
        return z * self.standardize.std.view(shape) + self.standardize.mean.view(shape)

    def from_scores(self, scores: Tensor) -> Tensor:
        """(B, C) scores to (B, D) centred values."""
        return scores @ self.axes[: scores.shape[1]]

    def fit(self, x: Tensor) -> Tensor:
        """Set mean and axes from (N, ...) training samples, already standardised; returns their (N, D) values.

        The axes are right singular vectors of at most MAX_SVD_VALUES values, with the largest entry of each positive.
        """
        values = self.values(x)
        self.mean.add_(values.mean(0))
        values = values - values.mean(0)
        few = max(2, MAX_SVD_VALUES // values.shape[1])
        part = values[torch.linspace(0, len(values) - 1, min(few, len(values))).round().long()]
        axes, variance, total = principal_components(part - part.mean(0))
        count = min(len(self.axes), len(axes))
        self.axes[:count], self.variance[:count] = axes[:count], variance[:count]
        self.total.fill_(total)
        return values

    def explained(self, components: int) -> list[float]:
        """Fraction of the variance that each of the first components explains; empty if nothing varies."""
        if float(self.total) <= 0:
            return []
        fractions: list[float] = (self.variance[:components] / self.total).tolist()
        return fractions


def principal_components(centred: Tensor) -> tuple[Tensor, Tensor, float]:
    """Principal components of (N, D) centred samples by the singular value decomposition X = U S Vᵀ.

    Returns:
        (C, D) rows of Vᵀ, the largest variance first, each with its largest entry positive; (C,) variances
        S² / (N − 1); the total variance. C = min(N, D).
    Source: Pearson 1901; lecture 002.
    """
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    largest = axes.abs().argmax(1, keepdim=True)
    axes = axes * torch.where(axes.gather(1, largest) < 0, -1.0, 1.0)
    degrees = max(1, len(centred) - 1)
    return axes, singular.square() / degrees, float(centred.square().sum()) / degrees
