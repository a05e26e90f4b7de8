"""Standardisation of raw inputs of any bit depth, and activations."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded

from snellen.core.spec import Input
from snellen.nn.layers import Standardize, activation, robust_range


def vector(columns: int, dtype: str = "float64") -> Standardize:
    return Standardize(Input(modality="vector", shape=(columns,), dtype=dtype))


def image(channels: int, dtype: str = "uint8") -> Standardize:
    return Standardize(Input(modality="image", shape=(channels, 8, 8), dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_are_standardised_to_mean_0_and_variance_1(dtype: torch.dtype) -> None:
    x = (torch.randn(500, 3, generator=seeded()) * torch.tensor([1.0, 100, 0.01]) + torch.tensor([0, 50, -3])).to(dtype)
    layer = vector(3, str(dtype).removeprefix("torch."))
    layer.fit(x)
    y = layer(x)
    assert y.dtype == torch.float32
    assert torch.allclose(y.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(y.std(0, correction=0), torch.ones(3), atol=1e-4)


def test_small_differences_on_a_large_offset_survive_in_float64() -> None:
    """Seconds since 1970 that differ by milliseconds: float32 cannot represent them."""
    small = torch.randn(200, 1, generator=seeded(), dtype=torch.float64)
    x = 1.7e9 + 1e-3 * small
    layer = vector(1)
    layer.fit(x)
    expected = (small - small.mean()) / small.std(correction=0)
    assert torch.allclose(layer(x), expected.float(), atol=1e-3)


def test_a_constant_column_becomes_zero_and_not_nan() -> None:
    x = torch.stack([torch.full((20,), 7.0), torch.arange(20.0)], dim=1)
    layer = vector(2, "float32")
    layer.fit(x)
    assert torch.equal(layer(x)[:, 0], torch.zeros(20))
    assert bool(torch.isfinite(layer(x + 1)).all())


def test_columns_in_tiny_units_are_not_constant() -> None:
    """A spread of 1e-15 (farads) is standardised; 0.1 repeated is constant."""
    x = torch.stack([1e-15 * torch.arange(101).double(), torch.full((101,), 0.1).double()], dim=1)
    layer = vector(2)
    layer.fit(x)
    y = layer(x)
    assert float(y[:, 0].std(correction=0)) == pytest.approx(1, rel=1e-6)
    assert float(y[:, 1].abs().max()) < 1e-12


def test_8_bit_images_are_standardised_by_channel() -> None:
    x = torch.randint(256, (40, 3, 8, 8), generator=seeded(), dtype=torch.uint8)
    x[:, 1] //= 10
    layer = image(3)
    layer.fit(x)
    y = layer(x)
    assert torch.allclose(y.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(y.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    assert (float(layer.low), float(layer.high)) == (0, 255)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_a_hot_pixel_does_not_set_the_scale_of_high_bit_depth_images(dtype: str) -> None:
    kind = getattr(torch, dtype)
    x = 1000 + torch.randint(20, (50, 1, 8, 8), generator=seeded())  # 20 grey levels of a 12-bit camera
    x[3, 0, 2, 2] = 65535
    layer = image(1, dtype)
    layer.fit(x.to(kind))
    y = layer(x.to(kind))
    assert (float(layer.low), float(layer.high)) == (1000, 1019)
    assert float(y.abs().max()) < 2  # of a uniform distribution: √3
    assert len(y.unique()) == 20  # every level is distinct
    assert float(y[3, 0, 2, 2]) == float(y.max())


def test_a_given_range_replaces_the_robust_range() -> None:
    x = torch.rand(50, 1, 8, 8, generator=seeded()) * 1000
    layer = image(1, "float32")
    layer.fit(x, value_range=(100.0, 200.0))
    assert (float(layer.low), float(layer.high)) == (100, 200)
    y = layer(x)
    assert torch.equal(y[x < 100].unique(), y.min().reshape(1))
    assert torch.equal(y[x > 200].unique(), y.max().reshape(1))


def test_tables_are_not_clamped() -> None:
    layer = vector(1, "float32")
    layer.fit(torch.randn(100, 1, generator=seeded()))
    assert float(layer(torch.tensor([[1000.0]]))) > 500


def test_fitted_statistics_are_saved_with_the_network() -> None:
    layer, other = image(3), image(3)
    layer.fit(torch.randint(256, (9, 3, 8, 8), generator=seeded(), dtype=torch.uint8))
    other.load_state_dict(layer.state_dict())
    x = torch.randint(256, (2, 3, 8, 8), generator=seeded(1), dtype=torch.uint8)
    assert torch.equal(layer(x), other(x))


def test_the_robust_range_equals_torchs_quantiles_and_is_never_empty() -> None:
    x = torch.randn(10_000, generator=seeded(), dtype=torch.float64)
    low, high = robust_range(x)
    assert low == pytest.approx(float(torch.quantile(x, 0.001)))
    assert high == pytest.approx(float(torch.quantile(x, 0.999)))
    assert robust_range(torch.full((10,), 3.0)) == (3.0, 4.0)
    low, high = robust_range(torch.linspace(0, 1, 3_000_001))  # more than torch.quantile supports
    assert (low, high) == (pytest.approx(0.001, abs=1e-4), pytest.approx(0.999, abs=1e-4))


def test_maxout_is_the_maximum_of_two_lines_and_passes_the_gradient_to_it() -> None:
    x = torch.tensor([[1.0, 3.0, -2.0, -5.0]], dtype=torch.float64, requires_grad=True)
    y = activation("maxout")(x)
    assert y.tolist() == [[3.0, -2.0]]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]]
    distinct = torch.tensor([[0.3, 0.1, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activation("maxout"), distinct)


def test_step_is_the_heaviside_function() -> None:
    x = torch.tensor([-1000.0, -0.5, 0.0, 0.5, 1000.0])
    assert torch.equal(activation("step")(x), torch.heaviside(x, torch.tensor(0.0)))
