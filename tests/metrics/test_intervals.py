"""Intervals against scipy, and by how often they hold the truth."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded
from scipy.stats import binomtest
from torch import Tensor

from snellen.metrics.classification import accuracy, balanced_accuracy, log_loss
from snellen.metrics.intervals import bootstrap, mean_of_shares, wilson
from snellen.metrics.regression import mean_absolute_error


@pytest.mark.parametrize("count", [1, 2, 5, 20, 137, 10_000])
def test_wilsons_interval_equals_scipys(count: int) -> None:
    for right in sorted({0, 1, count // 3, count // 2, count - 1, count}):
        expected = binomtest(right, count).proportion_ci(method="wilson")
        low, high = wilson(right, count)
        assert low == pytest.approx(expected.low, abs=1e-9)
        assert high == pytest.approx(expected.high, abs=1e-9)
        assert 0 <= low <= right / count <= high <= 1


def covered(held: int, trials: int) -> bool:
    """Whether 95 % coverage is credible: the count lies within 4 deviations of a binomial's, on the low side."""
    return held / trials > 0.95 - 4 * (0.95 * 0.05 / trials) ** 0.5


def test_wilsons_interval_holds_the_truth_in_95_of_100_cases() -> None:
    drawn = seeded()
    for truth in (0.5, 0.8, 0.97):
        right = torch.rand(2000, 60, generator=drawn) < truth
        held = sum(low <= truth <= high for low, high in (wilson(int(r.sum()), 60) for r in right))
        assert covered(held, 2000), truth
        assert held < 2000


def test_the_interval_of_balanced_accuracy_holds_the_truth_and_does_not_vanish_when_all_is_right() -> None:
    drawn = seeded()
    shares, counts = torch.tensor([0.9, 0.6, 0.75]), torch.tensor([80, 15, 30])
    held = 0
    for _ in range(300):
        trials = zip(shares, counts.tolist(), strict=True)
        right = torch.stack([(torch.rand(n, generator=drawn) < p).sum() for p, n in trials])
        low, high = mean_of_shares(right, counts, draws=2000)
        held += low <= float(shares.mean()) <= high
    assert covered(held, 300)
    low, high = mean_of_shares(torch.tensor([50, 3]), torch.tensor([50, 3]))
    assert high == 1
    assert low < 0.9
    metric = balanced_accuracy(torch.tensor([[50, 0], [0, 3]]))
    assert (metric.value, metric.low, metric.high) == (1.0, low, high)


def test_the_bootstrap_of_a_mean_has_the_width_of_the_normal_interval() -> None:
    values = torch.randn(400, generator=seeded(), dtype=torch.float64) * 3 + 10
    low, high = bootstrap(lambda rows: values[rows].mean(1), 400)
    half = 1.96 * float(values.std()) / 20
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (high + low) / 2 == pytest.approx(float(values.mean()), abs=half / 5)


def test_the_bootstrap_is_the_same_in_blocks_and_always_the_same() -> None:
    values = torch.randn(50, generator=seeded(), dtype=torch.float64)
    sizes = []

    def mean(rows: Tensor) -> Tensor:
        sizes.append(tuple(rows.shape))
        return values[rows].mean(1)

    assert bootstrap(mean, 50) == bootstrap(mean, 50)
    assert sizes == [(1000, 50)] * 2
    sizes.clear()
    many = torch.zeros(100_000)
    bootstrap(lambda rows: (sizes.append(tuple(rows.shape)), many[rows].mean(1))[1], 100_000, draws=100)  # type: ignore[func-returns-value]
    assert sizes == [(40, 100_000), (40, 100_000), (20, 100_000)]  # memory stays flat


@pytest.mark.parametrize("name", ["error", "log loss"])
def test_bootstrapped_intervals_hold_the_truth_in_about_95_of_100_cases(name: str) -> None:
    drawn = seeded()
    held, trials, count = 0, 150, 150
    for _ in range(trials):
        if name == "error":
            metric = mean_absolute_error(torch.zeros(count).double(), torch.rand(count, generator=drawn).double())
            truth = 0.5
        else:
            answers = (torch.rand(count, generator=drawn) < 0.8).long()
            odds = torch.tensor([[0.0, 1.386294361]]).expand(count, -1)  # says 80 %
            metric, truth = log_loss(odds, answers), 0.5004024235381879  # −.8 ln .8 − .2 ln .2
        assert metric.low is not None
        assert metric.high is not None
        held += metric.low <= truth <= metric.high
    assert covered(held, trials)
    assert held < trials


def test_accuracy_says_over_what_its_interval_is() -> None:
    metric = accuracy(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0]))
    assert (metric.value, metric.over) == (0.75, "samples")
    assert str(metric) == "75 ± 33 %"
