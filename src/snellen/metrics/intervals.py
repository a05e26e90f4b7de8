"""95 % confidence intervals over samples: Wilson, Jeffreys and bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.random import generator

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """Wilson's interval of a fraction; has good coverage near 0 and 1.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001.
    """
    p = correct / count
    middle = (p + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * math.sqrt(p * (1 - p) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    # At 0 and 1 the bound is p itself, without rounding error.
    return (0.0 if correct == 0 else max(0.0, middle - half)), (1.0 if correct == count else min(1.0, middle + half))


def mean_fraction_interval(correct: Tensor, count: Tensor, draws: int = 20_000) -> tuple[float, float]:
    """Interval of a mean of fractions, such as the recalls of K classes, by draws from Jeffreys' posteriors.

    Unlike the bootstrap it keeps a positive width when all samples of a small class are correct.

    Args:
        correct, count: (K,) successes and trials, count > 0.
    Source: Brown, Cai and DasGupta 2001 (Jeffreys' interval).
    """
    rng = generator(0, "jeffreys")
    a, b = correct.double() + 0.5, (count - correct).double() + 0.5  # (K,)
    ones = torch.ones(draws, 1, dtype=torch.float64)
    x = torch._standard_gamma(ones * a, generator=rng)  # (draws, K)
    y = torch._standard_gamma(ones * b, generator=rng)
    means = (x / (x + y)).mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    value = float((correct.double() / count.double()).mean())
    return min(low, value), max(high, value)


def bootstrap(statistic: Callable[[Tensor], Tensor], count: int, draws: int = 1000) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over resampled samples.

    Args:
        statistic: (R, N) indices to (R,) values; called with a block of rows at a time.
        count: N.
    Source: Efron 1979.
    """
    rng = generator(0, "bootstrap")
    block = max(1, min(draws, 4_000_000 // max(count, 1)))
    values = [
        statistic(torch.randint(count, (min(block, draws - start), count), generator=rng))
        for start in range(0, draws, block)
    ]
    low, high = torch.quantile(torch.cat(values).double(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def statistic_of_sums(sums: Tensor, metric: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Statistic for the bootstrap of a metric that is a function of sums over samples.

    Args:
        sums: (N, ...) of each sample.
        metric: (R, ...) sums over samples to (R,).
    Returns:
        A function of (R, n) rows of the samples.
    """
    flat = sums.double().flatten(1)  # (N, S)

    def resampled(rows: Tensor) -> Tensor:
        weights = torch.zeros(len(rows), len(flat), dtype=torch.float64)
        weights.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))  # (R, N)
        return metric((weights @ flat).view(-1, *sums.shape[1:]))

    return resampled


def interval_of_sums(sums: Tensor, metric: Callable[[Tensor], Tensor]) -> tuple[float, float, float] | None:
    """Value and interval (value, low, high) of a metric of sums over samples; None where it is undefined.

    Args:
        sums: (N, ...). metric: (R, ...) to (R,), NaN where it is undefined; such a draw takes the value itself.
    """
    value = float(metric(sums.double().sum(0, keepdim=True))[0])
    if math.isnan(value):
        return None
    if len(sums) < 2:
        return value, value, value
    resampled = statistic_of_sums(sums, metric)
    low, high = bootstrap(lambda rows: resampled(rows).nan_to_num(nan=value), len(sums))
    return value, min(low, value), max(high, value)
