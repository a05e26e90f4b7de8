"""Toy datasets: reproducible by seed, and equal to their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import rosen

from snellen.core.spec import Classes, Numbers
from snellen.data.dataset import RawDataset
from snellen.data.open_dataset import dataset
from snellen.data.source import ArraySource
from snellen.data.synthetic.toys import LINEAR_BIAS, LINEAR_WEIGHTS, TOYS, rosenbrock_function


def make_dataset(name: str, seed: int = 0) -> tuple[RawDataset, torch.Tensor, torch.Tensor]:
    raw = TOYS[name](seed)
    assert isinstance(raw.source, ArraySource)
    assert raw.truth is not None
    return raw, raw.source.values, raw.truth


@pytest.mark.parametrize("name", list(TOYS))
def test_a_toy_dataset_is_reproducible_by_seed(name):
    _, x, y = make_dataset(name, 1)
    _, again, truth = make_dataset(name, 1)
    assert torch.equal(x, again)
    assert torch.equal(y, truth)
    if name not in ("digits", "xor"):
        assert not torch.equal(x, make_dataset(name, 2)[1])


@pytest.mark.parametrize("name", list(TOYS))
def test_spec_and_description_match_the_values(name):
    raw, x, y = make_dataset(name)
    (entry,) = raw.inputs.values()
    assert entry.shape == tuple(x.shape[1:])
    assert entry.dtype == str(x.dtype).removeprefix("torch.")
    assert len(x) == len(y)
    assert name in raw.recognised_as
    assert f"{len(x):,} points" in raw.recognised_as or name in ("digits", "xor")
    if name != "digits":
        assert len(entry.columns) == x.shape[1]
    if isinstance(raw.target, Classes):
        counts = torch.bincount(y, minlength=len(raw.target.names))
        assert y.dtype == torch.int64
        assert int(counts.max() - counts.min()) <= (0 if name != "digits" else 10)
    else:
        assert isinstance(raw.target, Numbers)
        assert y.dtype == torch.float64
        assert y.shape == (len(x), 1)
    assert sum(dataset(name).spec.sizes.values()) == (12 if name == "xor" else len(x))


def test_xor_has_the_same_four_points_in_all_splits():
    data = dataset("xor")
    assert data.truth.tolist() == [int(a) ^ int(b) for a, b in data.source.values.tolist()]  # type: ignore[attr-defined]
    assert data.spec.sizes == {"train": 4, "val": 4, "test": 4}
    assert "the same points" in data.recognised_as


def test_moons_rings_and_spirals_are_on_their_curves():
    _, x, y = make_dataset("moons")
    centre = torch.stack([y.float(), y.float() / 2], 1)
    assert (x - centre).norm(dim=1).sub(1).abs().max() < 0.5
    _, x, y = make_dataset("rings")
    assert (x.norm(dim=1) - (1 + y)).abs().max() < 0.7
    _, x, y = make_dataset("spirals")
    radius = x.norm(dim=1)
    angle = torch.atan2(x[:, 1], x[:, 0]) - 4 * radius - 2 * math.pi / 3 * y
    angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    assert (radius * angle)[radius > 0.3].abs().max() < 0.45


def test_gaussians_have_their_means_and_deviation():
    _, x, y = make_dataset("gaussians")
    for k in range(3):
        mean = 3 * np.array([math.cos(2 * math.pi * k / 3), math.sin(2 * math.pi * k / 3)])
        assert np.abs(x[y == k].mean(0).numpy() - mean).max() < 4 / math.sqrt(300)
        assert (x[y == k].std(0) - 1).abs().max() < 4 / math.sqrt(600)


def test_least_squares_recovers_the_weights_of_linear():
    _, x, y = make_dataset("linear")
    design = np.c_[x.double().numpy(), np.ones(len(x))]
    found, residual, *_ = np.linalg.lstsq(design, y[:, 0].numpy(), rcond=None)
    assert np.abs(found - (*LINEAR_WEIGHTS, LINEAR_BIAS)).max() < 4 * 0.5 / math.sqrt(500)
    assert abs(math.sqrt(residual[0] / 496) - 0.5) < 4 * 0.5 / math.sqrt(1000)


def test_sine_has_noise_of_standard_deviation_0_2():
    _, x, y = make_dataset("sine")
    noise = y[:, 0] - torch.sin(2 * math.pi * x[:, 0].double())
    assert abs(float(noise.std()) - 0.2) < 4 * 0.2 / math.sqrt(400)
    assert x.min() >= 0
    assert x.max() <= 1


def test_rosenbrock_equals_scipy_with_minimum_zero():
    assert rosenbrock_function(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist() == [0, 1]
    _, x, y = make_dataset("rosenbrock")
    np.testing.assert_allclose(y[:, 0].numpy(), rosen(x.double().numpy().T), rtol=1e-12)
