"""k-means: Lloyd's iterations against scikit-learn, the inertia, k-means++, empty clusters."""

from __future__ import annotations

import torch
from sklearn.cluster import KMeans

from snellen.nn.kmeans import MAX_ITERATIONS, has_converged, kmeans, lloyd_step, nearest, plus_plus


def samples(seed: int = 0) -> torch.Tensor:
    return torch.randn(200, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_lloyd_converges_to_the_centres_of_scikit_learn_from_the_same_start():
    for seed in range(3):
        x = samples(seed)
        start = plus_plus(x, 6, torch.Generator().manual_seed(seed))
        oracle = KMeans(6, init=start.numpy(), n_init=1, tol=0, algorithm="lloyd", max_iter=MAX_ITERATIONS).fit(
            x.numpy()
        )
        centres, before = start, float("inf")
        while True:
            step = lloyd_step(x, centres)
            assert step.inertia <= before * (1 + 1e-12)
            if has_converged(before, step.inertia):
                break
            centres, before = step.centres, step.inertia
        torch.testing.assert_close(step.centres, torch.from_numpy(oracle.cluster_centers_))
        torch.testing.assert_close(step.inertia, float(oracle.inertia_))
        assert step.clusters.tolist() == oracle.labels_.tolist()


def test_more_restarts_never_have_a_higher_inertia():
    x = samples()
    values = [
        float(nearest(x, kmeans(x, 8, torch.Generator().manual_seed(0), restarts))[0].sum()) for restarts in (1, 4, 16)
    ]
    assert values[0] >= values[1] >= values[2]


def test_an_empty_cluster_takes_the_farthest_sample_and_lowers_the_inertia():
    x = torch.tensor([[0.0], [1.0], [10.0]], dtype=torch.float64)
    step = lloyd_step(x, torch.tensor([[0.5], [100.0]], dtype=torch.float64))
    assert step.clusters.tolist() == [0, 0, 0]
    assert step.centres[1].tolist() == [10.0]
    assert lloyd_step(x, step.centres).inertia < step.inertia


def test_k_means_plus_plus_draws_far_samples_by_their_squared_distance():
    """Frequencies of the first two centres against their probabilities, by enumeration."""
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    expected = torch.zeros(3, 3)
    for first in range(3):
        squares = (x - x[first]).square()[:, 0]
        expected[first] = squares / squares.sum() / 3
    counts = torch.zeros(3, 3)
    index = {0.0: 0, 1.0: 1, 3.0: 2}
    generator = torch.Generator().manual_seed(0)
    for _ in range(3000):
        first, second = plus_plus(x, 2, generator)[:, 0].tolist()
        counts[index[first], index[second]] += 1
    assert float((counts / 3000 - expected).abs().max()) < 0.04  # 4.8 standard deviations
    same = plus_plus(torch.ones(4, 2, dtype=torch.float64), 3, generator)
    assert same.tolist() == [[1.0, 1.0]] * 3
