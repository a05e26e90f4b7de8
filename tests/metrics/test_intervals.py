"""Confidence intervals against scipy, and their coverage."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded
from scipy.stats import binomtest
from torch import Tensor

from snellen.metrics.classification import accuracy, balanced_accuracy, log_loss
from snellen.metrics.intervals import bootstrap, mean_fraction_interval, wilson_interval
from snellen.metrics.regression import mean_absolute_error


@pytest.mark.parametrize("count", [1, 2, 5, 20, 137, 10_000])
def test_wilsons_interval_equals_scipys(count: int) -> None:
    for correct in sorted({0, 1, count // 3, count // 2, count - 1, count}):
        expected = binomtest(correct, count).proportion_ci(method="wilson")
        low, high = wilson_interval(correct, count)
        assert low == pytest.approx(expected.low, abs=1e-9)
        assert high == pytest.approx(expected.high, abs=1e-9)
        assert 0 <= low <= correct / count <= high <= 1


def has_coverage(covered: int, trials: int) -> bool:
    """Whether 95 % coverage is credible: the count is at most 4 standard deviations of a binomial too low."""
    return covered / trials > 0.95 - 4 * (0.95 * 0.05 / trials) ** 0.5


def test_wilsons_interval_covers_the_truth_in_95_of_100_cases() -> None:
    rng = seeded()
    for truth in (0.5, 0.8, 0.97):
        correct = torch.rand(2000, 60, generator=rng) < truth
        covered = sum(low <= truth <= high for low, high in (wilson_interval(int(r.sum()), 60) for r in correct))
        assert has_coverage(covered, 2000), truth
        assert covered < 2000


def test_the_interval_of_balanced_accuracy_covers_the_truth_and_keeps_a_width_when_all_is_correct() -> None:
    rng = seeded()
    fractions, counts = torch.tensor([0.9, 0.6, 0.75]), torch.tensor([80, 15, 30])
    covered = 0
    for _ in range(300):
        trials = zip(fractions, counts.tolist(), strict=True)
        correct = torch.stack([(torch.rand(n, generator=rng) < p).sum() for p, n in trials])
        low, high = mean_fraction_interval(correct, counts, draws=2000)
        covered += low <= float(fractions.mean()) <= high
    assert has_coverage(covered, 300)
    low, high = mean_fraction_interval(torch.tensor([50, 3]), torch.tensor([50, 3]))
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


def test_the_bootstrap_is_computed_in_blocks_and_is_deterministic() -> None:
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
def test_bootstrap_intervals_cover_the_truth_in_about_95_of_100_cases(name: str) -> None:
    rng = seeded()
    covered, trials, count = 0, 150, 150
    for _ in range(trials):
        if name == "error":
            metric = mean_absolute_error(torch.zeros(count).double(), torch.rand(count, generator=rng).double())
            truth = 0.5
        else:
            labels = (torch.rand(count, generator=rng) < 0.8).long()
            odds = torch.tensor([[0.0, 1.386294361]]).expand(count, -1)  # a probability of 80 %
            metric, truth = log_loss(odds, labels), 0.5004024235381879  # −.8 ln .8 − .2 ln .2
        assert metric.low is not None
        assert metric.high is not None
        covered += metric.low <= truth <= metric.high
    assert has_coverage(covered, trials)
    assert covered < trials


def test_accuracy_states_what_its_interval_is_over() -> None:
    metric = accuracy(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0]))
    assert (metric.value, metric.over) == (0.75, "samples")
    assert str(metric) == "75 ± 33 %"
