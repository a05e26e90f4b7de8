"""Forecasting metrics against scikit-learn and NumPy; blocks of overlapping windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from snellen.core.views import Metric
from snellen.metrics import forecasting


def bounds(metric: Metric) -> tuple[float, float]:
    assert metric.low is not None
    assert metric.high is not None
    return metric.low, metric.high


def test_errors_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted, other = rng.normal(size=(3, 60, 4, 3))
    block = torch.arange(60) // 7
    flat = truth.reshape(-1), predicted.reshape(-1)
    errors, reference = torch.from_numpy(predicted - truth), torch.from_numpy(other - truth)
    mae = forecasting.mean_absolute_error(errors, block)
    rmse = forecasting.root_mean_squared_error(errors, block)
    skill = forecasting.skill(errors, reference, block)
    assert mae.value == pytest.approx(sklearn_metrics.mean_absolute_error(*flat))
    assert rmse.value == pytest.approx(sklearn_metrics.root_mean_squared_error(*flat))
    expected = 1 - sklearn_metrics.mean_absolute_error(*flat) / np.abs(other - truth).mean()
    assert skill.value == pytest.approx(expected)
    for metric in (mae, rmse, skill):
        low, high = bounds(metric)
        assert metric.value is not None
        assert low < metric.value < high
        assert metric.over == forecasting.BLOCKS


def test_the_mean_over_blocks_is_the_mean_over_windows() -> None:
    values = torch.rand(23, generator=torch.Generator().manual_seed(0))
    block = torch.tensor([0] * 5 + [1] * 5 + [2] * 13)
    assert float(forecasting.by_block(values, block).mean()) == pytest.approx(float(values.double().mean()))


def test_blocks_stay_in_a_recording_and_share_no_step_with_the_block_after_the_next() -> None:
    steps, lengths = 12, (100, 5, 40, 24)
    recording = torch.cat([torch.full((n,), k) for k, n in enumerate(lengths)])
    start = torch.cat([torch.arange(n) for n in lengths])
    block = forecasting.blocks(recording, start, steps)
    assert block[0] == 0
    assert bool(((block[1:] - block[:-1] == 0) | (block[1:] - block[:-1] == 1)).all())
    for k in range(int(block[-1]) + 1):
        members = block == k
        assert len(recording[members].unique()) == 1
        later = (block == k + 2) & (recording == recording[members][0])
        if bool(later.any()):
            assert int(start[later].min()) - int(start[members].max()) > steps
    sizes = torch.bincount(block)
    assert sizes.tolist() == [13, 12, 13, 12, 13, 12, 13, 12, 5, 14, 13, 13, 12, 12]


def test_predictions_of_two_runs_one_after_another_have_twice_the_blocks() -> None:
    recording, start = torch.zeros(50, dtype=torch.int64), torch.arange(50)
    once = forecasting.blocks(recording, start, 10)
    twice = forecasting.blocks(recording.repeat(2), start.repeat(2), 10)
    assert torch.equal(twice, torch.cat([once, once + once[-1] + 1]))


def test_an_interval_over_blocks_is_wider_than_one_over_correlated_windows() -> None:
    """Of errors that are equal within each block, the windows count as many times too many."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(40, generator=generator).repeat_interleave(25)[:, None, None].double()
    of_blocks = forecasting.mean_absolute_error(errors, torch.arange(1000) // 25)
    of_windows = forecasting.mean_absolute_error(errors, torch.arange(1000))
    (low, high), (inner_low, inner_high) = bounds(of_blocks), bounds(of_windows)
    ratio = (high - low) / (inner_high - inner_low)
    assert ratio == pytest.approx(5, rel=0.3)  # √25


def test_reference_forecasts_in_closed_form() -> None:
    t = torch.arange(10, dtype=torch.float64)
    line = torch.stack([3 * t + 1, 5 - t], 1)[None]
    assert torch.equal(forecasting.constant_velocity(line[:, :6], 4), line[:, 6:])
    assert torch.equal(forecasting.last_value(line[:, :6], 4), line[:, 5:6].expand(-1, 4, -1))
