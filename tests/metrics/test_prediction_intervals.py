"""Conformal margins by enumeration and against the exact law on AR(1) data; pinball loss against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import mean_pinball_loss

from snellen.metrics.prediction_intervals import (
    changing_features,
    conformal_margin,
    conformal_rank,
    covered,
    pinball_loss,
    smallest_count,
    tails,
)

TAIL = 1e-5  # of the exact law, on either side


@pytest.mark.parametrize("level", [1, 50, 55, 90, 97.5, 99.9])
def test_one_of_n_plus_1_scores_is_covered_by_the_others_as_often_as_the_level_says(level: float) -> None:
    """Each of n + 1 exchangeable scores is the new one equally often: the coverage is a count, not an estimate."""
    for count in (smallest_count(level), smallest_count(level) + 1, 40, 99):
        scores = torch.randperm(count + 1, generator=torch.Generator().manual_seed(0)).double()
        inside = 0
        for new in range(count + 1):
            inside += bool(scores[new] <= conformal_margin(torch.cat([scores[:new], scores[new + 1 :]]), level))
        if count < smallest_count(level):
            assert inside == count + 1  # the margin is infinite
            continue
        assert level / 100 - 1e-12 <= inside / (count + 1) < level / 100 + 1 / (count + 1)
    few = torch.zeros(smallest_count(level) - 1, 2)
    assert conformal_margin(few, level).tolist() == [math.inf] * 2
    assert conformal_rank(99, 55) == 55  # 100 · 0.55 in binary numbers is above 55


def test_the_coverage_on_ar1_data_follows_its_exact_law() -> None:
    """Independent windows of x(t) = φ x(t − 1) + e: the error h steps ahead is normal with the variance
    (1 − φ^2h) / (1 − φ²). F(margin) is Beta(k, n + 1 − k), and the number of m covered truths beta-binomial.
    """
    phi, steps, count, new = 0.8, 5, 400, 3000
    rng = np.random.default_rng(0)
    x = rng.normal(size=count + new) / math.sqrt(1 - phi**2)
    errors, state = [], x
    for h in range(1, steps + 1):
        state = phi * state + rng.normal(size=len(x))
        errors.append(state - phi**h * x)
    error = torch.from_numpy(np.stack(errors, 1))[:, :, None]  # (N, H, 1)
    spread = np.sqrt((1 - phi ** (2 * np.arange(1, steps + 1))) / (1 - phi**2))
    for level in (50, 90):
        margin = conformal_margin(error[:count].abs(), level)
        rank = conformal_rank(count, level)
        exact = 2 * stats.norm.cdf(margin[:, 0].numpy() / spread) - 1
        law = stats.beta(rank, count + 1 - rank)
        assert (exact > law.ppf(TAIL)).all()
        assert (exact < law.ppf(1 - TAIL)).all()
        band = margin.expand(new, 1, -1, -1)
        inside = covered(error[count:], band, band)[:, 0, :, 0].sum(0).numpy()
        counts = stats.betabinom(new, rank, count + 1 - rank)
        assert (inside > counts.ppf(TAIL)).all()
        assert (inside < counts.ppf(1 - TAIL)).all()


def test_the_pinball_loss_equals_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, forecast = rng.normal(size=(2, 200))
    for quantile in (0.05, 0.5, 0.95):
        loss = pinball_loss(torch.from_numpy(truth - forecast), quantile).mean()
        assert float(loss) == pytest.approx(mean_pinball_loss(truth, forecast, alpha=quantile), rel=1e-12)
    assert tails(90) == pytest.approx((0.05, 0.95))


def test_features_without_error_and_width_are_left_out() -> None:
    error = torch.tensor([[[0.0, 0.0, 2.0]]])
    ends = torch.tensor([[[[0.0, 1.0, 0.0]]]])
    assert changing_features(error, ends, ends).tolist() == [False, True, True]
    assert covered(error, ends, ends)[0, 0, 0].tolist() == [True, True, False]
