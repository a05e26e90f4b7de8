"""Gaussian densities: shrinkage of scikit-learn, densities of SciPy, exact quadrature over the dequantisation noise."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.covariance import LedoitWolf, ledoit_wolf_shrinkage
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import make
from snellen.core.spec import Input, Modality
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource
from snellen.nn.gaussian import FullGaussian
from snellen.tasks.generate import LEARNERS, moments, principal_views
from snellen.tasks.generate.gaussian import whitening

NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)  # exact up to the fifth power


def data_of(x: Tensor, modality: Modality = "vector") -> Dataset[Labelled]:
    dtype = str(x.dtype).removeprefix("torch.")
    raw = RawDataset(
        source=ArraySource(x, "sample"),
        inputs={"x": Input(modality=modality, shape=tuple(x.shape[1:]), dtype=dtype)},
        target=None,
        truth=None,
        recognised_as="samples",
    )
    return assemble(raw, "samples", 0, None)


def fitted(name: str, data: Dataset[Labelled], tmp_path: Any, **settings: Any) -> Any:
    learner: Learner[Any, Any, Any] = LEARNERS[name]
    chosen = make(learner.settings, settings)
    model = learner.build(chosen, data.spec)
    learner.fit(chosen, data, model, Run(tmp_path, resume=None))
    return model


def train_of(data: Dataset[Labelled]) -> np.ndarray:
    rows: np.ndarray = data.samples("train").take(torch.arange(len(data.splits["train"]))).x.flatten(1).double().numpy()
    return rows


def correlated(count: int, offset: float = 0.0) -> Tensor:
    """Four columns in very different units."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64) @ torch.tensor(
        [[1.0, 0.8, 0.0, 0.0], [0.0, 1.0, 0.5, 0.0], [0.0, 0.0, 1.0, -0.9], [0.3, 0.0, 0.0, 1.0]], dtype=torch.float64
    )
    return x * torch.tensor([1.0, 100.0, 0.1, 1.0], dtype=torch.float64) + offset


def test_the_density_is_that_of_scipy_with_the_covariance_of_scikit_learn(tmp_path):
    data = data_of(correlated(200))
    model, x = fitted("gaussian", data, tmp_path), train_of(data)
    mean, deviation = x.mean(0), x.std(0)
    oracle = LedoitWolf(assume_centered=True).fit((x - mean) / deviation)
    covariance = oracle.covariance_ * np.outer(deviation, deviation)
    np.testing.assert_allclose(model.covariance().numpy(), covariance, rtol=1e-9)
    test = torch.from_numpy(x[:20]) * 1.5
    expected = multivariate_normal(mean, covariance).logpdf(test.numpy())
    np.testing.assert_allclose(model.log_density(test).numpy(), expected, rtol=1e-9)


def test_the_baseline_is_the_product_of_scipys_normal_densities_and_the_gaussian_without_correlations(tmp_path):
    data = data_of(correlated(200))
    baseline, x = fitted("baseline", data, tmp_path), train_of(data)
    expected = norm(x.mean(0), x.std(0)).logpdf(x).sum(1)
    np.testing.assert_allclose(baseline.log_density(torch.from_numpy(x)).numpy(), expected, rtol=1e-10)
    shrunk = fitted("gaussian", data, tmp_path, shrinkage=1.0)
    np.testing.assert_allclose(shrunk.log_density(torch.from_numpy(x)).numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["baseline", "gaussian"])
def test_integers_have_the_expected_log_density_over_the_noise(tmp_path, name):
    """Of a quadratic function the quadrature is exact. It is a lower bound of the log-probability of the integers."""
    generator = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(300, 2, generator=generator) @ torch.tensor([[1.0, 0.7], [0.0, 1.0]]) + 20).round()
    data = data_of(x.to(torch.uint8))
    model, rows = fitted(name, data, tmp_path), train_of(data)
    covariance = np.diag(model.deviation.square()) if name == "baseline" else model.covariance().numpy()
    density = multivariate_normal(model.mean.numpy() + 0.5, covariance)
    np.testing.assert_allclose(np.diag(covariance), rows.var(0) + 1 / 12, rtol=1e-9)
    test = rows[:10]
    expected = sum(
        wa * wb / 4 * density.logpdf(test + (np.array([a, b]) + 1) / 2)
        for (a, wa), (b, wb) in itertools.product(zip(NODES, WEIGHTS, strict=True), repeat=2)
    )
    actual = model.log_density(torch.from_numpy(test).to(torch.uint8)).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
    probability = np.array([density.cdf(row + 1, lower_limit=row) for row in test])
    assert (actual <= np.log(probability) + 1e-6).all()


def test_expected_moments_of_noisy_samples_are_those_of_quadrature_and_the_shrinkage_that_of_scikit_learn():
    z = np.random.default_rng(0).normal(size=(40, 3))
    of = moments.Scatter(torch.from_numpy(z.T @ z / 40), float((z**2).sum(1).__pow__(2).mean()))
    assert moments.ledoit_wolf(of, 40) == pytest.approx(ledoit_wolf_shrinkage(z, assume_centered=True), rel=1e-12)
    noise = np.array([0.5, 0.01, 1.0])
    covariance, fourth = np.zeros((3, 3)), 0.0
    for points in itertools.product(zip(NODES, WEIGHTS, strict=True), repeat=3):
        e = np.array([node for node, _ in points]) * np.sqrt(3 * noise)  # uniform on ± √(3ν)
        weight = np.prod([w / 2 for _, w in points])
        covariance += weight * (z + e).T @ (z + e) / 40
        fourth += weight * float(((z + e) ** 2).sum(1).__pow__(2).mean())
    actual = moments.noisy(of, torch.from_numpy(noise))
    np.testing.assert_allclose(actual.covariance.numpy(), covariance, rtol=1e-12, atol=1e-14)
    assert actual.fourth == pytest.approx(fourth, rel=1e-12)


def test_moments_of_batches_are_those_of_the_whole_split(monkeypatch):
    x = correlated(101, offset=1e6)
    x[:, 3] = 0.1  # its variance is exactly zero
    data = data_of(x)
    monkeypatch.setattr(moments, "MAX_BATCH_VALUES", 4 * 7)
    of, rows = moments.moments(data.samples("train"), 4), train_of(data)
    assert of.samples == len(rows)
    np.testing.assert_allclose(of.mean.numpy(), rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(of.variance.numpy()[:2], rows.var(0)[:2], rtol=1e-8)
    assert float(of.variance[3]) == 0.0


def test_a_pixel_shares_the_average_variance_of_its_channel_as_one_more_sample(tmp_path):
    """Pixels that never vary in training have a density, of floats too: a test image may differ there."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 2, 3, 4, generator=generator)
    x[:, :, 0] = 0.0
    x[:, 1] *= 10
    data = data_of(x, "image")
    rows = train_of(data).reshape(-1, 2, 3, 4)
    variance, count = rows.var(0), len(rows)
    expected = (count * variance + variance.mean((1, 2), keepdims=True)) / (count + 1)
    for name in LEARNERS:
        model = fitted(name, data, tmp_path)
        found = model.deviation.square() if name == "baseline" else model.covariance().diagonal()
        np.testing.assert_allclose(found.numpy().reshape(2, 3, 4), expected, rtol=1e-6)
        assert bool(model.log_density(torch.ones(1, 2, 3, 4)).isfinite().all())


@pytest.mark.parametrize("name", ["baseline", "gaussian"])
@pytest.mark.parametrize("x", [torch.full((20, 3), 5.0), torch.zeros(20, 3), torch.arange(20.0)[:, None].expand(20, 3)])
def test_constant_and_equal_columns_have_a_density_and_samples(tmp_path, name, x):
    model = fitted(name, data_of(x.contiguous()), tmp_path)
    assert bool(model.log_density(x).isfinite().all())
    assert bool(model.sample(4, torch.Generator().manual_seed(0)).isfinite().all())


def test_a_singular_covariance_is_a_usage_error():
    ones = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(UsageError, match="singular with shrinkage 0") as caught:
        whitening(ones, 0.0, ones[0], 10)
    assert "--shrinkage" in caught.value.remedy


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.uint16])
def test_a_sample_is_the_mean_plus_the_factor_times_normal_noise(dtype):
    model = FullGaussian((2, 2), dtype)
    root = torch.tensor([[2.0, 0, 0, 0], [1, 3, 0, 0], [0, -1, 1, 0], [5, 0, 2, 90]], dtype=torch.float64)
    model.mean.copy_(torch.tensor([100.0, 50, 20, 120]))
    model.whitening.copy_(torch.linalg.inv(root))
    z = torch.randn(200, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = model.mean + z @ root.T
    if not dtype.is_floating_point:
        expected = (expected + 0.5).floor().clamp(0, torch.iinfo(dtype).max)
    sample = model.sample(200, torch.Generator().manual_seed(1))
    assert (sample.shape, sample.dtype) == ((200, 2, 2), dtype)
    torch.testing.assert_close(sample.double().flatten(1), expected, rtol=1e-6, atol=1e-4)


def test_the_first_principal_directions_of_many_values_are_those_of_all(monkeypatch):
    x = torch.randn(50, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariance = x.T @ x / 50
    exact = principal_views.principal_directions(covariance, 5)
    monkeypatch.setattr(principal_views, "EXACT", 10)
    for a, b in zip(exact, principal_views.principal_directions(covariance, 5), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
