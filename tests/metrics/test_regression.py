"""Regression metrics against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from sklearn import metrics as oracle

from snellen.core.random import generator
from snellen.metrics.intervals import expanded_percentiles
from snellen.metrics.regression import mean_absolute_error, r2, root_mean_squared_error


@pytest.mark.parametrize("seed", range(60))
def test_errors_and_explained_variance_equal_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, targets = int(rng.integers(2, 40)), int(rng.integers(1, 4))
    truth = torch.from_numpy(rng.normal(size=(count, targets)) * 10.0 ** rng.integers(-3, 4) + rng.normal() * 5)
    predicted = truth + torch.from_numpy(rng.normal(size=(count, targets)))
    for k in range(targets):
        t, y = truth[:, k], predicted[:, k]
        assert mean_absolute_error(t, y).value == pytest.approx(oracle.mean_absolute_error(t, y), rel=1e-9)
        assert root_mean_squared_error(t, y).value == pytest.approx(oracle.root_mean_squared_error(t, y), rel=1e-9)
    assert r2(truth, predicted).value == pytest.approx(oracle.r2_score(truth, predicted), rel=1e-9, abs=1e-9)


def test_r2_is_zero_for_the_mean_and_one_for_the_truth() -> None:
    truth = torch.randn(50, 2, generator=seeded(), dtype=torch.float64)
    assert r2(truth, truth).value == 1
    assert r2(truth, truth.mean(0).expand(50, -1)).value == pytest.approx(0, abs=1e-12)


def test_explained_variance_is_undefined_for_a_constant_target() -> None:
    truth = torch.stack([torch.arange(5.0), torch.ones(5)], dim=1).double()
    metric = r2(truth, truth)
    assert metric.value is None
    assert metric.reason == "a target does not vary in this split"
    assert r2(truth[:1, :1], truth[:1, :1]).value is None


def test_errors_have_a_unit_and_an_interval() -> None:
    truth, predicted = torch.zeros(30).double(), torch.rand(30, generator=seeded(), dtype=torch.float64)
    for metric in (mean_absolute_error(truth, predicted, "mm"), root_mean_squared_error(truth, predicted, "mm")):
        assert metric.unit == "mm"
        assert not metric.higher_is_better
        assert metric.value is not None
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low < metric.value < metric.high


def test_the_interval_of_explained_variance_equals_plain_resampling() -> None:
    truth = torch.randn(60, 2, generator=seeded(), dtype=torch.float64) + 5
    predicted = truth + 0.5 * torch.randn(60, 2, generator=seeded(1), dtype=torch.float64)
    rows = torch.randint(60, (1000, 60), generator=generator(0, "bootstrap"))
    values = [oracle.r2_score(truth[row], predicted[row]) for row in rows]
    metric = r2(truth, predicted)
    assert (metric.low, metric.high) == pytest.approx(tuple(np.quantile(values, expanded_percentiles(60))), abs=1e-9)


def test_explained_variance_of_few_samples_has_no_interval() -> None:
    truth = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    metric = r2(truth, truth + 1)
    assert metric.value == pytest.approx(oracle.r2_score(truth, truth + 1))
    assert metric.low is metric.high is None
