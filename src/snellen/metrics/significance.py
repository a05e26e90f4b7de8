"""Whether two models differ, judged by their answers to the same samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snellen.core.random import generator

FEW = 25  # discordant pairs: below, the distribution is counted out


def mcnemar(first: int, second: int) -> float:
    """The chance, were two classifiers equally often right, of counts at least as unequal as these; two-sided.

    Args:
        first, second: samples on which only the first, or only the second, is right.
    Source: McNemar 1947; the exact form for few pairs is the sign test.
    """
    from scipy.special import bdtr, chdtrc

    total = first + second
    if total == 0:
        return 1.0
    if total < FEW:
        return min(1.0, 2 * float(bdtr(min(first, second), total, 0.5)))
    return float(chdtrc(1, (first - second) ** 2 / total))


def exchange(difference: Callable[[Tensor], Tensor], count: int, draws: int = 2000) -> float:
    """The chance of a difference at least as large, were the two answers to each sample exchangeable; two-sided.

    Each draw exchanges the answers to about half of the samples. For right and wrong this is McNemar's exact test.

    Args:
        difference: (R, N) of zeros and ones, where the answers are exchanged, to (R,) differences.
        count: N.
    Source: Fisher 1935; Phipson and Smyth 2010 on counting the data as one of the draws.
    """
    drawn = generator(0, "exchange")
    seen = abs(float(difference(torch.zeros(1, count, dtype=torch.int64))[0]))
    rows = max(1, min(draws, 4_000_000 // max(count, 1)))
    beyond = 0
    for start in range(0, draws, rows):
        swapped = torch.randint(2, (min(rows, draws - start), count), generator=drawn)
        beyond += int((difference(swapped).abs() >= seen * (1 - 1e-9)).sum())
    return (1 + beyond) / (1 + draws)


def holm(chances: Sequence[float]) -> list[float]:
    """The chances of several tests, raised so that all of them together err as seldom as one alone would.

    Source: Holm 1979.
    """
    raised = [0.0] * len(chances)
    highest = 0.0
    for place, k in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        highest = max(highest, min(1.0, (len(chances) - place) * chances[k]))
        raised[k] = highest
    return raised
