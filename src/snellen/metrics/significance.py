"""Significance tests of the difference between two models on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snellen.core.random import generator

EXACT_BELOW = 25  # discordant pairs below which the exact binomial test is used
SUFFICIENT = 20  # draws that reach the observed difference, for a p-value exact to about a fifth


def mcnemar(first: int, second: int) -> float:
    """McNemar's test: two-sided p-value of two classifiers having the same accuracy.

    Args:
        first, second: numbers of samples on which only the first, or only the second, is correct.
    Source: McNemar 1947; the exact form for few pairs is the sign test.
    """
    from scipy.special import bdtr, chdtrc

    total = first + second
    if total == 0:
        return 1.0
    if total < EXACT_BELOW:
        return min(1.0, 2 * float(bdtr(min(first, second), total, 0.5)))
    return float(chdtrc(1, (first - second) ** 2 / total))


def permutation_test(
    difference: Callable[[Tensor], Tensor], count: int, draws: int = 2000, max_draws: int = 0
) -> float:
    """Paired permutation test: two-sided p-value of a difference between two models.

    Each draw exchanges the predictions of about half of the samples. For correct and wrong this is McNemar's exact
    test. The p-value is at least 1 / draws, so a correction for many tests needs more: up to `max_draws`, as long as
    fewer than SUFFICIENT of them reach the observed difference.

    Args:
        difference: (R, N) of zeros and ones, where predictions are exchanged, to (R,) differences.
        count: N.
    Source: Fisher 1935; Phipson and Smyth 2010 on counting the data as one of the draws; Besag and Clifford 1991 on
    stopping early.
    """
    rng = generator(0, "exchange")
    observed = abs(float(difference(torch.zeros(1, count, dtype=torch.int64))[0]))
    rows = max(1, min(draws, 4_000_000 // max(count, 1)))
    at_least = done = 0
    while done < draws or (done < max_draws and at_least < SUFFICIENT):
        end = draws if done < draws else max_draws
        swapped = torch.randint(2, (min(rows, end - done), count), generator=rng)
        at_least += int((difference(swapped).abs() >= observed * (1 - 1e-9)).sum())
        done += len(swapped)
    return (1 + at_least) / (1 + done)


def paired_t_test(first: Tensor, second: Tensor) -> float:
    """Paired t-test: two-sided p-value of two models having the same mean error.

    Args:
        first, second: (N,) errors on the same samples.
    Source: Student 1908.
    """
    from scipy.special import stdtr

    difference = (first - second).double()
    mean, count = float(difference.mean()), len(difference)
    if mean == 0 or count < 2:
        return 1.0
    error = float(difference.std()) / count**0.5
    return 2 * float(stdtr(count - 1, -abs(mean) / error)) if error > 0 else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values for multiple tests (controls the family-wise error rate).

    Source: Holm 1979.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[k]))
        adjusted[k] = highest
    return adjusted
