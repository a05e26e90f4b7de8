"""Tests of paired differences against scipy, the permutation of all signs, and Holm's definition."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy import stats
from torch import Tensor

from snellen.metrics.significance import FEW, exchange, holm, mcnemar


@pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 9), (10, 10), (5, 19), (0, 24)])
def test_few_discordant_pairs_are_counted_out_as_by_scipys_binomial_test(first: int, second: int) -> None:
    assert first + second < FEW
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-9)


@pytest.mark.parametrize(("first", "second"), [(10, 15), (40, 80), (500, 520)])
def test_many_discordant_pairs_follow_chi_square(first: int, second: int) -> None:
    half = (first + second) / 2
    assert mcnemar(first, second) == pytest.approx(stats.chisquare([first, second], [half, half]).pvalue, rel=1e-9)


def test_without_a_discordant_pair_nothing_speaks_against_equal() -> None:
    assert mcnemar(0, 0) == 1.0


def test_exchange_agrees_with_all_exchanges_counted_out() -> None:
    gains = torch.tensor([0.3, 1.2, -0.4, 0.9, 0.1, 0.7, 0.8, -0.2, 1.1, 0.05], dtype=torch.float64)

    def difference(swap: Tensor) -> Tensor:
        return (gains * (1 - 2 * swap)).mean(1)

    every = torch.tensor(list(itertools.product([0, 1], repeat=len(gains))))
    exact = float((difference(every).abs() >= gains.mean() - 1e-12).double().mean())
    draws = 20_000
    assert exchange(difference, len(gains), draws) == pytest.approx(exact, abs=4 * (exact / draws) ** 0.5)
    oracle = stats.permutation_test((gains.numpy(),), lambda x, axis: x.mean(axis=axis), permutation_type="samples")
    assert exact == pytest.approx(oracle.pvalue)


def test_exchange_never_says_that_chance_is_impossible() -> None:
    gains = torch.ones(60, dtype=torch.float64)
    assert exchange(lambda swap: (gains * (1 - 2 * swap)).mean(1), 60, 999) == pytest.approx(1 / 1000)


def test_holm_raises_as_it_is_defined() -> None:
    chances = [0.01, 0.04, 0.03, 0.005]
    assert holm(chances) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # the steps 4p, 3p, 2p, p, never falling
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
