"""The toy sets follow from the seed and from their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import rosen

from snellen.core.spec import Classes, Numbers
from snellen.data.dataset import RawDataset
from snellen.data.open_dataset import dataset
from snellen.data.source import Array
from snellen.data.synthetic.toys import LINEAR_BIAS, LINEAR_WEIGHTS, TOYS, valley


def made(name: str, seed: int = 0) -> tuple[RawDataset, torch.Tensor, torch.Tensor]:
    draft = TOYS[name](seed)
    assert isinstance(draft.source, Array)
    assert draft.truth is not None
    return draft, draft.source.values, draft.truth


@pytest.mark.parametrize("name", list(TOYS))
def test_a_toy_set_follows_from_its_seed(name):
    _, x, y = made(name, 1)
    _, again, truth = made(name, 1)
    assert torch.equal(x, again)
    assert torch.equal(y, truth)
    if name not in ("digits", "xor"):
        assert not torch.equal(x, made(name, 2)[1])


@pytest.mark.parametrize("name", list(TOYS))
def test_spec_and_words_are_those_of_the_values(name):
    draft, x, y = made(name)
    (entry,) = draft.inputs.values()
    assert entry.shape == tuple(x.shape[1:])
    assert entry.dtype == str(x.dtype).removeprefix("torch.")
    assert len(x) == len(y)
    assert name in draft.recognised_as
    assert f"{len(x):,} points" in draft.recognised_as or name in ("digits", "xor")
    if name != "digits":
        assert len(entry.columns) == x.shape[1]
    if isinstance(draft.target, Classes):
        counts = torch.bincount(y, minlength=len(draft.target.names))
        assert y.dtype == torch.int64
        assert int(counts.max() - counts.min()) <= (0 if name != "digits" else 10)
    else:
        assert isinstance(draft.target, Numbers)
        assert y.dtype == torch.float64
        assert y.shape == (len(x), 1)
    assert sum(dataset(name).spec.sizes.values()) == (12 if name == "xor" else len(x))


def test_xor_is_four_points_that_are_train_and_test_and_says_so():
    data = dataset("xor")
    assert data.truth.tolist() == [int(a) ^ int(b) for a, b in data.source.values.tolist()]  # type: ignore[attr-defined]
    assert data.spec.sizes == {"train": 4, "val": 4, "test": 4}
    assert "the same points" in data.recognised_as


def test_moons_and_rings_and_spirals_lie_on_their_curves():
    _, x, y = made("moons")
    centre = torch.stack([y.float(), y.float() / 2], 1)
    assert (x - centre).norm(dim=1).sub(1).abs().max() < 0.5
    _, x, y = made("rings")
    assert (x.norm(dim=1) - (1 + y)).abs().max() < 0.7
    _, x, y = made("spirals")
    radius = x.norm(dim=1)
    angle = torch.atan2(x[:, 1], x[:, 0]) - 4 * radius - 2 * math.pi / 3 * y
    angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    assert (radius * angle)[radius > 0.3].abs().max() < 0.45


def test_gaussians_have_the_means_and_deviation_they_claim():
    _, x, y = made("gaussians")
    for k in range(3):
        mean = 3 * np.array([math.cos(2 * math.pi * k / 3), math.sin(2 * math.pi * k / 3)])
        assert np.abs(x[y == k].mean(0).numpy() - mean).max() < 4 / math.sqrt(300)
        assert (x[y == k].std(0) - 1).abs().max() < 4 / math.sqrt(600)


def test_least_squares_finds_the_line_behind_linear():
    _, x, y = made("linear")
    design = np.c_[x.double().numpy(), np.ones(len(x))]
    found, residual, *_ = np.linalg.lstsq(design, y[:, 0].numpy(), rcond=None)
    assert np.abs(found - (*LINEAR_WEIGHTS, LINEAR_BIAS)).max() < 4 * 0.5 / math.sqrt(500)
    assert abs(math.sqrt(residual[0] / 496) - 0.5) < 4 * 0.5 / math.sqrt(1000)


def test_sine_has_noise_of_a_fifth_about_the_curve():
    _, x, y = made("sine")
    noise = y[:, 0] - torch.sin(2 * math.pi * x[:, 0].double())
    assert abs(float(noise.std()) - 0.2) < 4 * 0.2 / math.sqrt(400)
    assert x.min() >= 0
    assert x.max() <= 1


def test_rosenbrock_is_scipys_with_zero_at_one_one():
    assert valley(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist() == [0, 1]
    _, x, y = made("rosenbrock")
    np.testing.assert_allclose(y[:, 0].numpy(), rosen(x.double().numpy().T), rtol=1e-12)
