"""95 % intervals over samples, by the bootstrap or in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.random import generator

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def wilson(right: int, count: int) -> tuple[float, float]:
    """The interval of a share, honest near 0 and 1.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001.
    """
    p = right / count
    middle = (p + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * math.sqrt(p * (1 - p) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    # At the ends the bound is p itself; rounding must not pass it.
    return (0.0 if right == 0 else max(0.0, middle - half)), (1.0 if right == count else min(1.0, middle + half))


def mean_of_shares(right: Tensor, count: Tensor, draws: int = 20_000) -> tuple[float, float]:
    """The interval of a mean of shares, as of the recalls of K classes, by draws from Jeffreys' posteriors.

    Unlike the bootstrap it does not shrink to nothing when a small class is all right.

    Args:
        right, count: (K,) successes and trials, count > 0.
    Source: Brown, Cai and DasGupta 2001 (Jeffreys' interval).
    """
    drawn = generator(0, "jeffreys")
    a, b = right.double() + 0.5, (count - right).double() + 0.5  # (K,)
    ones = torch.ones(draws, 1, dtype=torch.float64)
    x = torch._standard_gamma(ones * a, generator=drawn)  # (draws, K)
    y = torch._standard_gamma(ones * b, generator=drawn)
    means = (x / (x + y)).mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    value = float((right.double() / count.double()).mean())
    return min(low, value), max(high, value)


def bootstrap(statistic: Callable[[Tensor], Tensor], count: int, draws: int = 1000) -> tuple[float, float]:
    """The percentile interval of a statistic over resampled samples.

    Args:
        statistic: (R, N) indices to (R,) values; called with a few rows at a time.
        count: N.
    Source: Efron 1979.
    """
    drawn = generator(0, "bootstrap")
    rows = max(1, min(draws, 4_000_000 // max(count, 1)))
    values = [
        statistic(torch.randint(count, (min(rows, draws - start), count), generator=drawn))
        for start in range(0, draws, rows)
    ]
    low, high = torch.quantile(torch.cat(values).double(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def of_sums(sums: Tensor, figure: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A figure of resampled samples, from what is added up over them.

    Args:
        sums: (N, ...) of each sample.
        figure: (R, ...) sums over samples to (R,).
    Returns:
        A function of (R, n) rows of the samples.
    """
    flat = sums.double().flatten(1)  # (N, S)

    def resampled(rows: Tensor) -> Tensor:
        times = torch.zeros(len(rows), len(flat), dtype=torch.float64)
        times.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))  # (R, N)
        return figure((times @ flat).view(-1, *sums.shape[1:]))

    return resampled


def over_samples(sums: Tensor, figure: Callable[[Tensor], Tensor]) -> tuple[float, float, float] | None:
    """A figure with the ends of its interval, from what is added up over samples; None where it is undefined.

    Args:
        sums: (N, ...). figure: (R, ...) to (R,), NaN where it is undefined; such a draw says nothing.
    """
    value = float(figure(sums.double().sum(0, keepdim=True))[0])
    if math.isnan(value):
        return None
    if len(sums) < 2:
        return value, value, value
    resampled = of_sums(sums, figure)
    low, high = bootstrap(lambda rows: resampled(rows).nan_to_num(nan=value), len(sums))
    return value, min(low, value), max(high, value)
