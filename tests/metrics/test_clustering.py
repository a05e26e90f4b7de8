"""Silhouettes and the adjusted Rand index against scikit-learn."""

from __future__ import annotations

import itertools

import pytest
import torch
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from snellen.metrics.clustering import (
    Reference,
    adjusted_rand,
    mean_over_refits,
    resampled_adjusted_rand,
    silhouettes,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("count", [2, 5])
def test_silhouettes_equal_those_of_scikit_learn(count, offset):
    x = torch.randn(150, 3, generator=seeded(), dtype=torch.float64) + offset
    x = x - x.mean(0)
    clusters = torch.randint(count, (150,), generator=seeded(1))
    clusters[clusters == count - 1] = 0
    clusters[7] = count - 1  # alone in its cluster
    ours = silhouettes(x, clusters, torch.arange(150), Reference(x, clusters))
    torch.testing.assert_close(ours, torch.from_numpy(silhouette_samples(x.numpy(), clusters.numpy())))
    assert float(ours[7]) == 0


def test_equal_samples_have_distance_zero_and_one_cluster_has_silhouette_zero():
    x = torch.tensor([[0.1, 0.2]] * 3 + [[5.0, 5.0]] * 2, dtype=torch.float64)
    clusters = torch.tensor([0, 0, 0, 1, 1])
    rows = torch.arange(5)
    assert silhouettes(x, clusters, rows, Reference(x, clusters)).tolist() == [1.0] * 5
    one = torch.zeros(5, dtype=torch.int64)
    assert silhouettes(x, one, rows, Reference(x, one)).tolist() == [0.0] * 5


def test_silhouettes_of_a_reference_are_those_of_a_sample_that_is_added_to_it():
    x = torch.randn(60, 4, generator=seeded(), dtype=torch.float64)
    clusters = torch.arange(60) % 3
    reference = Reference(x[:40], clusters[:40])
    ours = silhouettes(x[40:], clusters[40:], torch.full((20,), -1), reference)
    for k in range(20):
        both = torch.cat([x[:40], x[40 + k : 41 + k]]), torch.cat([clusters[:40], clusters[40 + k : 41 + k]])
        assert float(ours[k]) == pytest.approx(silhouette_samples(*(part.numpy() for part in both))[-1])


def test_adjusted_rand_index_equals_that_of_scikit_learn():
    for seed in range(5):
        first, second = (torch.randint(k, (80,), generator=seeded(10 * seed + k)) for k in (3, 5))
        second[:40] = first[:40]
        assert adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first.numpy(), second.numpy()))
    one, each = torch.zeros(6, dtype=torch.int64), torch.arange(6)
    for pair in itertools.product((one, each), repeat=2):
        assert adjusted_rand(*pair) == adjusted_rand_score(*(part.numpy() for part in pair))


def test_copies_of_a_sample_in_a_resample_do_not_count_as_a_pair():
    """Without pairs of copies, the mean over resamples is near the index of the samples; with them it is above."""
    first, second = torch.arange(60) % 10, torch.randint(10, (60,), generator=seeded())
    rows = torch.randint(60, (2000, 60), generator=seeded(1))
    with_copies = [adjusted_rand_score(first[row].numpy(), second[row].numpy()) for row in rows[:300]]
    value = adjusted_rand(first, second)
    ours = resampled_adjusted_rand(first, second)(rows)
    assert float(ours.mean()) == pytest.approx(value, abs=0.02)
    assert sum(with_copies) / 300 > value + 0.05


def test_the_mean_over_refits_has_students_interval_within_the_scale():
    from scipy import stats

    values = [0.5, 0.6, 0.55, 0.7, 0.4]
    metric = mean_over_refits(values)
    low, high = stats.t.interval(0.95, 4, loc=0.55, scale=stats.sem(values))
    assert (metric.value, metric.low, metric.high) == pytest.approx((0.55, low, high))
    assert mean_over_refits([1.0, 0.9, 1.0, 1.0, 1.0]).high == 1
    assert mean_over_refits([1.0] * 5).reason == "equal for all refits"
