"""Gaussian radial basis functions: values, centres, width."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded

from snellen.nn.rbf import GaussianBases, kmeans_centres


def test_a_basis_is_one_at_its_centre_and_falls_with_the_squared_distance() -> None:
    bases = GaussianBases(2, 2)
    bases.set_centres(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), 2.0)
    values = bases(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]))
    far = float(torch.tensor(-25 / 8).exp())
    assert values[:2].flatten().tolist() == pytest.approx([1, far, far, 1])
    assert float(values[2, 0]) == pytest.approx(float(torch.tensor(-0.5).exp()))


def test_the_width_is_twice_the_mean_distance_to_the_nearest_centre() -> None:
    bases = GaussianBases(3, 1)
    bases.set_centres(torch.tensor([[0.0], [1.0], [4.0]]), None)  # the nearest is 1, 1 and 3 away
    assert float(bases.width) == pytest.approx(2 * 5 / 3)


@pytest.mark.parametrize("centres", [[[0.5]], [[2.0], [2.0]]])
def test_a_single_distinct_centre_has_width_one(centres: list[list[float]]) -> None:
    bases = GaussianBases(len(centres), 1)
    bases.set_centres(torch.tensor(centres), None)
    assert float(bases.width) == 1


def test_kmeans_centres_lie_in_the_clusters_and_depend_on_the_seed_only() -> None:
    clusters = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = clusters[torch.arange(300) % 3] + 0.1 * torch.randn(300, 2, generator=seeded())
    centres = kmeans_centres(x, 3, seed=1)
    assert torch.cdist(centres, clusters).amin(1).max() < 0.1
    assert torch.equal(centres, kmeans_centres(x, 3, seed=1))


def test_kmeans_accepts_fewer_distinct_points_than_centres() -> None:
    centres = kmeans_centres(torch.tensor([[0.0], [1.0], [1.0], [0.0]]), 4, seed=0)
    assert set(centres.flatten().tolist()) == {0.0, 1.0}
