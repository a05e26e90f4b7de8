"""95 % confidence intervals over samples: Wilson, score intervals of fractions and their differences, bootstrap."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.core.views import NO_INTERVAL, Metric

LEVEL = 0.05  # of tests; the intervals are of 1 − LEVEL
Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution
MIN_SAMPLES = 5  # for a bootstrap interval: resamples of fewer hold too few distinct values


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """Wilson's interval of a fraction; has good coverage near 0 and 1.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001.
    """
    p = correct / count
    middle = (p + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * math.sqrt(p * (1 - p) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    # At 0 and 1 the bound is p itself, without rounding error.
    return (0.0 if correct == 0 else max(0.0, middle - half)), (1.0 if correct == count else min(1.0, middle + half))


def paired_difference_interval(first: int, second: int, count: int) -> tuple[float, float]:
    """Score interval of the difference of two fractions of the same samples.

    A difference d lies in it if the score test accepts it: |b − c − n d| ≤ z √(n (2 q + d − d²)), with the most likely
    fraction q of samples on which only the second is correct. At d = 0 this is McNemar's χ² test.

    Args:
        first, second: numbers b and c of samples on which only the first, or only the second, is correct.
        count: n.
    Source: Tango 1998.
    """
    observed = (first - second) / count

    def accepts(d: float) -> bool:
        b = -first - second + (2 * count - first + second) * d  # 2 n q² + b q − c d (1 − d) = 0
        q = (math.sqrt(max(0.0, b**2 + 8 * count * second * d * (1 - d))) - b) / (4 * count)
        return (first - second - count * d) ** 2 <= Z**2 * count * max(0.0, 2 * q + d * (1 - d))

    def limit(end: float) -> float:
        inside, outside = observed, end
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if accepts(middle) else (inside, middle)
        return inside

    return limit(-1.0), limit(1.0)


def mean_fraction_interval(correct: Tensor, count: Tensor) -> tuple[float, float]:
    """Score interval of a mean of fractions, such as the recalls of K classes.

    Args:
        correct, count: (K,) successes and trials, count > 0.
    """
    low, high = mean_fraction_limits(correct[None], count)
    return float(low[0]), float(high[0])


def mean_fraction_limits(correct: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Score limits of means of K independent fractions, (R, K) successes in (K,) trials to (R,) and (R,).

    A mean m lies in the interval if a score test at the 5 % level does not reject it. The test has the fractions of
    largest likelihood among those of mean m, with the unbiased variance. Each limit is the outer one of the tests with
    and without correction for skewness. For one fraction and without either correction this is Wilson's interval.
    Classes of one trial have no variance of their own; they count as one class with the sum of their weights (collapsed
    strata), which is conservative.

    Source: Miettinen and Nurminen 1985 (constrained maximum likelihood, n / (n − 1)); Andrés, Hernández and Tejedor
    2011 (linear combinations); Gart and Nam 1990, Laud 2017 (skewness); Cochran 1977, sec. 5A.12 (collapsed strata).
    """
    x, n = correct.double(), count.double()
    weight = torch.full_like(n, 1 / len(n))
    single = n == 1
    if int(single.sum()) > 1:
        x = torch.cat([x[:, ~single], x[:, single].sum(1, keepdim=True)], 1)
        n = torch.cat([n[~single], single.sum()[None].double()])
        weight = torch.cat([weight[~single], weight[single].sum()[None]])
    return _lower_score_limit(x, n, weight), 1 - _lower_score_limit(n - x, n, weight)


def _lower_score_limit(x: Tensor, n: Tensor, weight: Tensor) -> Tensor:
    """(R,) lower limits, by bisection over the Lagrange multiplier λ of the constraint Σ w p = m; m falls with λ."""
    observed = (weight * x / n).sum(1)

    def fractions(log_multiplier: Tensor) -> Tensor:
        """(R, K) most likely fractions: λ w p² − (n + λ w) p + x = 0."""
        multiplier = log_multiplier.exp()[:, None] * weight
        root = ((n + multiplier).square() - 4 * multiplier * x).clamp(min=0).sqrt()
        return (2 * x / (n + multiplier + root)).clamp(max=1)

    def last_accepted(accepted: Tensor, z: float, skewed: bool) -> Tensor:
        """The largest log λ that the test accepts, from one that it accepts."""
        rejected = torch.full_like(accepted, 30.0)  # all fractions are zero
        for _ in range(45):
            middle = (accepted + rejected) / 2
            p = fractions(middle)
            terms = weight.square() * p * (1 - p) / n * (n / (n - 1).clamp(min=1))
            variance, third = terms.sum(1), (terms * weight * (1 - 2 * p) / n).sum(1)
            bound = z * variance.sqrt()
            if skewed:
                bound = bound + (third / variance.clamp(min=1e-300)) * (z**2 - 1) / 6
            accepts = observed - (weight * p).sum(1) <= bound + 1e-15
            accepted, rejected = torch.where(accepts, middle, accepted), torch.where(accepts, rejected, middle)
        return accepted

    start = torch.full_like(observed, -12.0)  # all fractions are the observed ones
    plain = last_accepted(start, Z, skewed=False)
    # The correction fails where the variance vanishes, next to the estimate; half way to the limit it holds.
    skewed = last_accepted(last_accepted(start, Z / 2, skewed=False), Z, skewed=True)
    limit = (weight * fractions(torch.maximum(plain, skewed))).sum(1)
    return torch.where(x.sum(1) > 0, torch.minimum(limit, observed), torch.zeros_like(limit))


def auc_interval(value: float, positives: int, negatives: int) -> tuple[float, float]:
    """Score interval of the area under the ROC curve: its limits θ solve |value − θ| = z √V(θ).

    V is the variance for exponential scores, with the larger and the smaller class replaced by their mean; so the
    interval keeps a width where the classes are separated.

    Source: Newcombe 2006, method 5; Hanley and McNeil 1982.
    """
    pairs, mean_count = positives * negatives, (positives + negatives) / 2 - 1

    def variance(area: float) -> float:
        return area * (1 - area) * (1 + mean_count * ((1 - area) / (2 - area) + area / (1 + area))) / pairs

    def limit(end: float) -> float:
        inside, outside = value, end
        for _ in range(60):
            middle = (inside + outside) / 2
            accepts = (value - middle) ** 2 <= Z**2 * variance(middle)
            inside, outside = (middle, outside) if accepts else (inside, middle)
        return inside

    return limit(0.0), limit(1.0)


def bootstrap(
    statistic: Callable[[Tensor], Tensor], count: int, draws: int = 1000, levels: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Bootstrap interval of a statistic over resampled samples.

    Args:
        statistic, count, draws: see `resampled_values`.
        levels: of its quantiles; None: the expanded percentiles.
    Source: Efron 1979.
    """
    return _quantiles(resampled_values(statistic, count, draws), levels or expanded_percentiles(count))


def resampled_values(statistic: Callable[[Tensor], Tensor], count: int, draws: int = 1000) -> Tensor:
    """(R,) float64 values of a statistic of R samples drawn with replacement from N.

    Args:
        statistic: (R, N) indices to (R,) values, NaN where undefined; called with a block of rows at a time.
        count: N. draws: R.
    """
    rng = generator(0, "bootstrap")
    block = max(1, min(draws, 4_000_000 // max(count, 1)))
    values = [
        statistic(torch.randint(count, (min(block, draws - start), count), generator=rng))
        for start in range(0, draws, block)
    ]
    return torch.cat(values).double()


def _quantiles(values: Tensor, levels: tuple[float, float]) -> tuple[float, float]:
    low, high = torch.nanquantile(values, torch.tensor(levels, dtype=torch.float64)).tolist()
    return low, high


def level_of_zero(values: Tensor, count: int) -> float:
    """The level at which the lower limit of the expanded percentiles of a bootstrap is zero: its two-sided p-value.

    The limits at a lower level hold zero, those at a higher level lie above it.

    Args:
        values: (R,) of the resamples, NaN where undefined. count: number of samples.
    """
    from scipy.special import ndtri, stdtr

    ordered = values[~values.isnan()].sort().values
    below = int((ordered <= 0).sum())
    if below in (0, len(ordered)):
        return float(below > 0)
    last, following = ordered[below - 1 : below + 1].tolist()  # quantiles between two values are interpolated
    fraction = (below - 1 - last / (following - last)) / (len(ordered) - 1)
    return min(1.0, 2 * float(stdtr(count - 1, ndtri(fraction) * math.sqrt((count - 1) / count))))


def expanded_percentiles(count: int) -> tuple[float, float]:
    """The percentiles of a bootstrap distribution for 95 % over `count` samples: Φ(± √(n / (n − 1)) t).

    Plain percentiles are too narrow for few samples, by √((n − 1) / n) and the quantile of the normal distribution in
    place of Student's t; the percentiles are moved outwards by both.

    Source: Hesterberg 2015, sec. 4.1.2.
    """
    from scipy.special import ndtr, stdtrit  # torch has no quantile of t

    if count < 2:
        return 0.0, 1.0
    low = float(ndtr(math.sqrt(count / (count - 1)) * stdtrit(count - 1, 0.025)))
    return low, 1 - low


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


def add_interval(metric: Metric, statistic: Callable[[Tensor], Tensor], count: int, draws: int = 1000) -> Metric:
    """The metric with its bootstrap interval, or with the reason why it has none.

    Args:
        metric: its value, and the noun `over` which the interval is.
        statistic, count, draws: see `resampled_values`.
    """
    if count < MIN_SAMPLES:
        reason = f"{NO_INTERVAL}fewer than {MIN_SAMPLES} {metric.over}"
        return dataclasses.replace(metric, over="", reason=reason)
    return with_percentiles(metric, resampled_values(statistic, count, draws), count)


def with_percentiles(metric: Metric, values: Tensor, count: int) -> Metric:
    """The metric with the interval of (R,) values of it over resamples of `count` samples."""
    assert metric.value is not None
    low, high = _quantiles(values, expanded_percentiles(count))
    if low == high:
        return dataclasses.replace(metric, low=metric.value, high=metric.value, reason=f"equal for all {metric.over}")
    return dataclasses.replace(metric, low=min(low, metric.value), high=max(high, metric.value))


def add_interval_of_mean(metric: Metric, values: Tensor, root: int = 1) -> Metric:
    """The mean of numbers that are not negative, or its root, with a studentised bootstrap interval.

    Errors are skewed: of few, plain percentiles miss the large ones. Where one value is much larger than all others,
    the studentised limit is far above all of them, as resamples without it have hardly any spread: the largest value
    is the limit then.

    Args:
        values: (N,), such as absolute errors. root: 2 for the root of mean squares.
    Source: Efron and Tibshirani 1993, sec. 12.5 (bootstrap-t); Hall 1988.
    """
    count, mean = len(values), float(values.mean())
    if count < MIN_SAMPLES or float(values.std()) <= 1e-12 * mean:
        return add_interval(metric, lambda rows: values[rows].mean(1) ** (1 / root), count, draws=1)
    error = float(values.std()) / math.sqrt(count)

    def studentised(rows: Tensor) -> Tensor:
        resampled = values[rows]
        t = (resampled.mean(1) - mean) / (resampled.std(1) / math.sqrt(count))
        return t.where(t.isfinite(), torch.nan)  # all values of the resample are equal

    below, above = bootstrap(studentised, count, levels=(LEVEL / 2, 1 - LEVEL / 2))
    largest = float(values.max())
    low = max(0.0, mean - above * error) ** (1 / root)
    high = min(mean - below * error, largest) ** (1 / root)
    assert metric.value is not None
    return dataclasses.replace(metric, low=min(low, metric.value), high=max(high, metric.value))


def metric_of_sums(like: Metric, sums: Tensor, metric: Callable[[Tensor], Tensor]) -> Metric:
    """A metric of sums over samples with its bootstrap interval.

    Args:
        like: its properties; its `reason` is that of an undefined value.
        sums: (N, ...). metric: (R, ...) to (R,), NaN where it is undefined.
    """
    value = float(metric(sums.double().sum(0, keepdim=True))[0])
    if math.isnan(value):
        return dataclasses.replace(like, value=None, over="")
    return add_interval(dataclasses.replace(like, value=value, reason=""), statistic_of_sums(sums, metric), len(sums))
