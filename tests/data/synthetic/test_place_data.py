"""Built-in data with a target at every place: distances to surfaces, segments of oscillators."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from snellen.data.synthetic import places

R = np.random.default_rng(0)
POINTS = R.uniform(-6, 6, (500, 3))


def nearest(surface: np.ndarray) -> np.ndarray:
    return cKDTree(surface).query(POINTS)[0]


def test_distance_to_a_sphere() -> None:
    directions = R.normal(size=(200_000, 3))
    surface = 3 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    found = places.sphere_distance(torch.from_numpy(POINTS), 3.0).numpy()
    assert np.abs(np.abs(found) - nearest(surface)).max() < 0.05
    assert ((found < 0) == (np.linalg.norm(POINTS, axis=1) < 3)).all()


def test_distance_to_a_box() -> None:
    halves = np.array([2.0, 3.0, 4.0])
    surface = R.uniform(-halves, halves, (300_000, 3))
    face = R.integers(0, 3, len(surface))
    surface[np.arange(len(surface)), face] = halves[face] * R.choice([-1, 1], len(surface))
    found = places.box_distance(torch.from_numpy(POINTS), torch.from_numpy(halves)).numpy()
    assert np.abs(np.abs(found) - nearest(surface)).max() < 0.08
    assert ((found < 0) == (np.abs(POINTS) < halves).all(1)).all()


def test_distance_to_a_capsule() -> None:
    segment = np.linspace([0, 0, -2.0], [0, 0, 2.0], 20_001)
    found = places.capsule_distance(torch.from_numpy(POINTS), 2.0, 1.5).numpy()
    assert np.abs(found - (nearest(segment) - 1.5)).max() < 1e-6


def test_data_is_a_function_of_the_seed() -> None:
    for make in (places.oscillators, places.sdf):
        first, again, other = (make(seed) for seed in (0, 0, 1))
        assert torch.equal(first.source.values, again.source.values)  # type: ignore[attr-defined]
        assert not torch.equal(first.source.values, other.source.values)  # type: ignore[attr-defined]


def test_oscillators_change_after_at_least_twelve_steps() -> None:
    raw = places.oscillators(0)
    assert raw.annotations is not None
    for id in range(0, 600, 30):
        y = raw.annotations.load(id)
        changes = torch.nonzero(y[1:] != y[:-1])[:, 0] + 1  # type: ignore[index, operator]
        lengths = torch.diff(changes, prepend=torch.zeros(1, dtype=torch.int64))
        assert ((lengths >= places.MIN_SEGMENT) & (lengths <= places.MAX_SEGMENT)).all()
