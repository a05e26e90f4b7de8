"""Measures of regression against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from sklearn import metrics as oracle

from snellen.core.random import generator
from snellen.metrics.regression import mean_absolute_error, r2, root_mean_squared_error


@pytest.mark.parametrize("seed", range(60))
def test_errors_and_explained_variance_equal_scikit_learns(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    count, targets = int(drawn.integers(2, 40)), int(drawn.integers(1, 4))
    truth = torch.from_numpy(drawn.normal(size=(count, targets)) * 10.0 ** drawn.integers(-3, 4) + drawn.normal() * 5)
    said = truth + torch.from_numpy(drawn.normal(size=(count, targets)))
    for k in range(targets):
        t, y = truth[:, k], said[:, k]
        assert mean_absolute_error(t, y).value == pytest.approx(oracle.mean_absolute_error(t, y), rel=1e-9)
        assert root_mean_squared_error(t, y).value == pytest.approx(oracle.root_mean_squared_error(t, y), rel=1e-9)
    assert r2(truth, said).value == pytest.approx(oracle.r2_score(truth, said), rel=1e-9, abs=1e-9)


def test_the_mean_explains_nothing_and_the_truth_everything() -> None:
    truth = torch.randn(50, 2, generator=seeded(), dtype=torch.float64)
    assert r2(truth, truth).value == 1
    assert r2(truth, truth.mean(0).expand(50, -1)).value == pytest.approx(0, abs=1e-12)


def test_explained_variance_is_undefined_where_a_target_does_not_vary() -> None:
    truth = torch.stack([torch.arange(5.0), torch.ones(5)], dim=1).double()
    metric = r2(truth, truth)
    assert metric.value is None
    assert metric.reason == "a target does not vary in this split"
    assert r2(truth[:1, :1], truth[:1, :1]).value is None


def test_errors_carry_their_unit_and_an_interval() -> None:
    truth, said = torch.zeros(30).double(), torch.rand(30, generator=seeded(), dtype=torch.float64)
    for metric in (mean_absolute_error(truth, said, "mm"), root_mean_squared_error(truth, said, "mm")):
        assert metric.unit == "mm"
        assert not metric.higher_is_better
        assert metric.value is not None
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low < metric.value < metric.high


def test_the_interval_of_explained_variance_is_that_of_plain_resampling() -> None:
    truth = torch.randn(60, 2, generator=seeded(), dtype=torch.float64) + 5
    said = truth + 0.5 * torch.randn(60, 2, generator=seeded(1), dtype=torch.float64)
    rows = torch.randint(60, (1000, 60), generator=generator(0, "bootstrap"))
    values = [oracle.r2_score(truth[row], said[row]) for row in rows]
    metric = r2(truth, said)
    assert (metric.low, metric.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-9)


def test_explained_variance_of_a_handful_has_no_interval() -> None:
    truth = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    metric = r2(truth, truth + 1)
    assert metric.value == pytest.approx(oracle.r2_score(truth, truth + 1))
    assert metric.low is metric.high is None
