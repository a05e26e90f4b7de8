"""Mean, variance and covariance of a split, batch by batch: memory does not depend on the number of samples.

Sources: Chan, Golub and LeVeque 1983 (variance of two parts); Ledoit and Wolf 2004 (shrinkage).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from snellen.core.spec import Input
from snellen.data.dataset import Samples
from snellen.nn.gaussian import NOISE_VARIANCE

MAX_BATCH_VALUES = 2**22  # float64 values of a batch: 32 MB
CONSTANT_DEVIATION = 1e-3  # of values that never vary, relative to their size


class Moments(NamedTuple):
    """Moments of the values of so many samples.

    mean, variance: (D,); a constant value has the variance 0.
    """

    samples: int
    mean: Tensor
    variance: Tensor


class Scatter(NamedTuple):
    """Second and fourth moments of standardised samples z.

    covariance: (D, D), mean of z zᵀ. fourth: mean of ‖z‖⁴.
    """

    covariance: Tensor
    fourth: float


def batches(samples: Samples, size: int) -> Iterator[Tensor]:
    """All samples as rows (B, D) of float64.

    Args:
        size: number of values of a sample, D.
    """
    for batch in samples.in_order(max(1, min(4096, MAX_BATCH_VALUES // size))):
        yield batch.x.flatten(1).double()


def moments(samples: Samples, size: int) -> Moments:
    """Mean and variance of each value, combined over batches."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    low, high = torch.zeros(()), torch.zeros(())
    for x in batches(samples, size):
        own_mean, own_squares = x.mean(0), (x - x.mean(0)).square().sum(0)
        if not count:
            count, mean, squares, low, high = len(x), own_mean, own_squares, x.amin(0), x.amax(0)
            continue
        total, difference = count + len(x), own_mean - mean
        squares = squares + own_squares + difference.square() * (count * len(x) / total)
        mean = mean + difference * (len(x) / total)
        count, low, high = total, torch.minimum(low, x.amin(0)), torch.maximum(high, x.amax(0))
    varies = high > low  # rounding can give a constant value a positive variance
    return Moments(count, torch.where(varies, mean, low), torch.where(varies, squares / count, torch.zeros_like(mean)))


def scatter(samples: Samples, size: int, mean: Tensor, deviation: Tensor) -> Scatter:
    """Covariance and fourth moment of the standardised samples (x − mean) / deviation."""
    covariance = torch.zeros(size, size, dtype=torch.float64, device=mean.device)
    fourth, count = 0.0, 0
    for x in batches(samples, size):
        z = (x - mean) / deviation
        covariance.addmm_(z.T, z)
        fourth += float(z.square().sum(1).square().sum())
        count += len(z)
    return Scatter(covariance / count, fourth / count)


def prior_weight(spec_input: Input) -> int:
    """Weight of the average variance in samples: 1 where a channel or feature has several values, else 0."""
    return int(len(spec_input.axes) > 1)


def regularized_variance(of: Moments, spec_input: Input, shape: tuple[int, ...]) -> Tensor:
    """(D,) variances of the values, of integers with that of u, none of them zero.

    The values of one channel of an image, or of one feature of a sequence, share their unit. To their variances one
    sample of the average variance of the channel is added: a pixel that is black in all training images may be white in
    another. A value that never varies, and has no such others, gets a deviation of 0.1 % of its size.

    Args:
        shape: of a sample as the model reads it.
    """
    variance = of.variance if spec_input.dtype.startswith("float") else of.variance + NOISE_VARIANCE
    if prior_weight(spec_input):
        axis = spec_input.feature_axis
        by_feature = variance.reshape(shape)
        others = [k for k in range(len(shape)) if k != axis]
        average = by_feature.mean(others, keepdim=True).expand(shape).flatten()
        variance = (of.samples * variance + average) / (of.samples + 1)
    size = torch.where(of.mean == 0, torch.ones_like(of.mean), of.mean.abs())
    return torch.where(variance > 0, variance, (CONSTANT_DEVIATION * size).square())


def noisy(of: Scatter, noise: Tensor) -> Scatter:
    """Expected moments of z + e, with independent uniform noise e.

    E ‖z + e‖⁴ = E ‖z‖⁴ + 4 Σ S_dd ν_d + 2 tr(S) V + V² + ⅘ Σ ν_d², with V = Σ ν_d: uniform noise has E e⁴ = 9/5 ν².

    Args:
        noise: (D,) variances ν of e.
    """
    diagonal, total = of.covariance.diagonal(), float(noise.sum())
    fourth = of.fourth + 4 * float((diagonal * noise).sum()) + 2 * float(diagonal.sum()) * total
    fourth += total**2 + 0.8 * float(noise.square().sum())
    return Scatter(of.covariance + torch.diag(noise), fourth)


def ledoit_wolf(of: Scatter, count: int) -> float:
    """Shrinkage s of (1 − s) S + s μ I, μ = tr(S) / D, with the smallest expected squared error, in [0, 1].

    Args:
        of: moments of centred samples. count: their number.
    Source: Ledoit and Wolf 2004, lemma 3.2 and section 3.
    """
    size = len(of.covariance)
    mu, squares = float(of.covariance.trace()) / size, float(of.covariance.square().sum())
    error = (of.fourth - squares) / (size * count)  # of S, per value
    distance = squares / size - mu**2  # of S from μ I
    return min(max(error, 0.0), distance) / distance if distance > 0 else 0.0
