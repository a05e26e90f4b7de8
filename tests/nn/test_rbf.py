"""Gaussian basis functions: their values, their places, their width."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded

from snellen.nn.rbf import GaussianBases, middles


def test_a_basis_is_one_at_its_centre_and_falls_with_the_squared_distance() -> None:
    bases = GaussianBases(2, 2)
    bases.place(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), 2.0)
    found = bases(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]))
    far = float(torch.tensor(-25 / 8).exp())
    assert found[:2].flatten().tolist() == pytest.approx([1, far, far, 1])
    assert float(found[2, 0]) == pytest.approx(float(torch.tensor(-0.5).exp()))


def test_the_width_is_twice_the_mean_distance_to_the_next_centre() -> None:
    bases = GaussianBases(3, 1)
    bases.place(torch.tensor([[0.0], [1.0], [4.0]]), None)  # the next is 1, 1 and 3 away
    assert float(bases.width) == pytest.approx(2 * 5 / 3)


@pytest.mark.parametrize("centres", [[[0.5]], [[2.0], [2.0]]])
def test_one_place_alone_has_the_width_one(centres: list[list[float]]) -> None:
    bases = GaussianBases(len(centres), 1)
    bases.place(torch.tensor(centres), None)
    assert float(bases.width) == 1


def test_middles_lie_in_the_clusters_and_follow_from_the_seed() -> None:
    places = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = places[torch.arange(300) % 3] + 0.1 * torch.randn(300, 2, generator=seeded())
    found = middles(x, 3, seed=1)
    assert torch.cdist(found, places).amin(1).max() < 0.1
    assert torch.equal(found, middles(x, 3, seed=1))


def test_fewer_different_points_than_centres_are_no_obstacle() -> None:
    found = middles(torch.tensor([[0.0], [1.0], [1.0], [0.0]]), 4, seed=0)
    assert set(found.flatten().tolist()) == {0.0, 1.0}
