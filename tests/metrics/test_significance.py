"""McNemar's test, the paired permutation test and Holm's correction against scipy and their definitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from snellen.metrics.significance import EXACT_BELOW, holm, mcnemar, paired_t_test, permutation_test


@pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 9), (10, 10), (5, 19), (0, 24)])
def test_few_discordant_pairs_give_scipys_exact_binomial_test(first: int, second: int) -> None:
    assert first + second < EXACT_BELOW
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-9)


@pytest.mark.parametrize(("first", "second"), [(10, 15), (40, 80), (500, 520)])
def test_many_discordant_pairs_follow_chi_square(first: int, second: int) -> None:
    half = (first + second) / 2
    assert mcnemar(first, second) == pytest.approx(stats.chisquare([first, second], [half, half]).pvalue, rel=1e-9)


def test_no_discordant_pair_has_a_p_value_of_one() -> None:
    assert mcnemar(0, 0) == 1.0


def test_the_permutation_test_agrees_with_all_permutations() -> None:
    gains = torch.tensor([0.3, 1.2, -0.4, 0.9, 0.1, 0.7, 0.8, -0.2, 1.1, 0.05], dtype=torch.float64)

    def difference(swap: Tensor) -> Tensor:
        return (gains * (1 - 2 * swap)).mean(1)

    every = torch.tensor(list(itertools.product([0, 1], repeat=len(gains))))
    exact = float((difference(every).abs() >= gains.mean() - 1e-12).double().mean())
    draws = 20_000
    assert permutation_test(difference, len(gains), draws) == pytest.approx(exact, abs=4 * (exact / draws) ** 0.5)
    oracle = stats.permutation_test((gains.numpy(),), lambda x, axis: x.mean(axis=axis), permutation_type="samples")
    assert exact == pytest.approx(oracle.pvalue)


@pytest.mark.parametrize(("first", "second"), [(9, 3), (6, 6), (5, 0)])
def test_the_permutation_test_of_correct_and_wrong_is_the_sign_test(first: int, second: int) -> None:
    """Exchanges that give the observed difference again, or its negative, count as reaching it."""
    gains = torch.tensor([0.1] * first + [-0.1] * second + [0.0] * 7, dtype=torch.float64)
    exact = stats.binomtest(first, first + second).pvalue
    p = permutation_test(lambda swap: (gains * (1 - 2 * swap)).mean(1), len(gains), 8000)
    assert p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 8000) ** 0.5 + 1e-9)


def test_the_p_value_of_a_permutation_test_is_never_zero() -> None:
    gains = torch.ones(60, dtype=torch.float64)
    assert permutation_test(lambda swap: (gains * (1 - 2 * swap)).mean(1), 60, 999) == pytest.approx(1 / 1000)


def test_a_permutation_test_draws_more_only_where_few_draws_reach_the_difference() -> None:
    """Of 30 gains all positive, the exact p-value is 2⁻²⁹; of gains of both signs the first draws suffice."""
    drawn = []

    def difference(gains: Tensor) -> Callable[[Tensor], Tensor]:
        drawn.append(0)

        def value(swap: Tensor) -> Tensor:
            drawn[-1] += len(swap)
            return (gains * (1 - 2 * swap)).mean(1)

        return value

    positive = torch.ones(30, dtype=torch.float64)
    assert permutation_test(difference(positive), 30, 2000, 42_000) == pytest.approx(1 / 42_001)
    mixed = torch.tensor([1.0, -1.0] * 15, dtype=torch.float64)
    assert permutation_test(difference(mixed), 30, 2000, 42_000) == 1.0
    assert drawn == [42_001, 2001]


@pytest.mark.parametrize("seed", range(5))
def test_the_paired_t_test_equals_scipys(seed: int) -> None:
    first, second = torch.rand(2, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert paired_t_test(first, second) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-9)
    assert paired_t_test(first, first) == 1.0
    assert paired_t_test(first[:1], second[:1]) == 1.0


def test_holm_follows_its_definition() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 4p, 3p, 2p, p, non-decreasing
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
