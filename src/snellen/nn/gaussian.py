"""Gaussian densities of samples: independent values, or a full covariance. Computed in float64.

Integers (images of 8 or 16 bits) have no density of their own. The density is that of x + u, with u uniform in [0, 1)
(dequantisation), and log density is E_u[log p(x + u)], a lower bound of the log-probability of x. For a Gaussian the
expectation has a closed form: E_u[(x + u − m)ᵀ Σ⁻¹ (x + u − m)] = (x + ½ − m)ᵀ Σ⁻¹ (x + ½ − m) + tr(Σ⁻¹) / 12.

Source: Theis, van den Oord and Bethge 2016, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

NOISE_VARIANCE = 1 / 12  # of u, uniform in [0, 1)


def to_samples(values: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Continuous values (B, D) as samples (B, *shape); of an integer dtype each is rounded down, within its range."""
    if not dtype.is_floating_point:
        limits = torch.iinfo(dtype)
        values = values.floor().clamp(limits.min, limits.max)
    return values.reshape(len(values), *shape).to(dtype)


class IndependentGaussian(nn.Module):
    """Independent normal distributions of all values, a diagonal covariance.

    Args:
        shape, dtype: of a raw sample; D is the number of its values.
    Attributes:
        mean, deviation: (D,) of the values; of integers without the ½ of u, and of x + u.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.dtype = tuple(shape), dtype
        count = math.prod(shape)
        self.register_buffer("mean", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(count, dtype=torch.float64))

    def log_density(self, x: Tensor) -> Tensor:
        """(B, ...) raw samples to (B,) log densities in nats, float64."""
        squares = ((x.flatten(1).double() - self.mean) / self.deviation).square().sum(1)
        if not self.dtype.is_floating_point:
            squares = squares + NOISE_VARIANCE * self.deviation.square().reciprocal().sum()
        return -0.5 * (squares + len(self.mean) * math.log(2 * math.pi)) - self.deviation.log().sum()

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, ...) new samples in raw units."""
        z = torch.randn(count, len(self.mean), generator=generator, dtype=torch.float64).to(self.mean.device)
        return to_samples(self.mean + _middle(self.dtype) + z * self.deviation, self.shape, self.dtype)


class FullGaussian(nn.Module):
    """Multivariate normal distribution with a full covariance Σ.

    Args:
        shape, dtype: of a raw sample; D is the number of its values.
    Attributes:
        mean: (D,), of integers without the ½ of u.
        whitening: (D, D) lower triangular W = L⁻¹ with Σ = L Lᵀ, so that W (x − m) has the covariance I.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.dtype = tuple(shape), dtype
        count = math.prod(shape)
        self.register_buffer("mean", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("whitening", torch.eye(count, dtype=torch.float64))

    def log_density(self, x: Tensor) -> Tensor:
        """(B, ...) raw samples to (B,) log densities in nats, float64."""
        squares = ((x.flatten(1).double() - self.mean) @ self.whitening.T).square().sum(1)
        if not self.dtype.is_floating_point:
            squares = squares + NOISE_VARIANCE * self.whitening.square().sum()  # tr(Σ⁻¹) = ‖W‖²
        log_volume = -self.whitening.diagonal().log().sum()  # ½ log |Σ|
        return -0.5 * (squares + len(self.mean) * math.log(2 * math.pi)) - log_volume

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, ...) new samples in raw units: m + L z."""
        z = torch.randn(count, len(self.mean), generator=generator, dtype=torch.float64).to(self.mean.device)
        deviations = torch.linalg.solve_triangular(self.whitening, z.T, upper=False).T  # (count, D)
        return to_samples(self.mean + _middle(self.dtype) + deviations, self.shape, self.dtype)

    def covariance(self) -> Tensor:
        """Σ, (D, D); of integers that of x + u."""
        identity = torch.eye(len(self.mean), dtype=torch.float64, device=self.mean.device)
        factor = torch.linalg.solve_triangular(self.whitening, identity, upper=False)  # L
        covariance: Tensor = factor @ factor.T
        return covariance


def _middle(dtype: torch.dtype) -> float:
    """The mean of u."""
    return 0.0 if dtype.is_floating_point else 0.5
