"""Pooling and its gradient equal those of torch and finite differences; ties go to the first largest value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.core.errors import UsageError
from snellen.filters import pool, pool_gradient
from snellen.filters.pooling import POOLINGS

TORCH: dict[str, Any] = {"max": torch.nn.functional.max_pool2d, "mean": torch.nn.functional.avg_pool2d}


@given(
    st.sampled_from(sorted(POOLINGS)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 999),
)
@settings(max_examples=100)
def test_values_and_gradients_equal_torch_with_ties(
    kind: str, shape: tuple[int, int], size: int, stride: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 4, (2, *shape)).astype(float)  # few values: many ties
    if size > min(shape):
        with pytest.raises(UsageError, match="longer than"):
            pool(image, kind, size=size, stride=stride)
        return
    pooled = pool(image, kind, size=size, stride=stride)
    x = torch.from_numpy(image).requires_grad_()
    out = TORCH[kind](x, size, stride)
    upstream = rng.normal(size=tuple(out.shape))
    out.backward(torch.from_numpy(upstream))
    np.testing.assert_allclose(pooled.values, out.detach().numpy(), atol=1e-15)
    np.testing.assert_allclose(pool_gradient(upstream, pooled), x.grad.numpy(), atol=1e-15)


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 4, 5)])
def test_gradients_equal_finite_differences(kind: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image = rng.permutation(int(np.prod(shape))).reshape(shape) * 0.1  # no ties
    pooled = pool(image, kind, size=3, stride=2)
    upstream = rng.normal(size=pooled.values.shape)
    gradient = pool_gradient(upstream, pooled)
    assert gradient.shape == shape
    for place in np.ndindex(shape):
        step = np.zeros(shape)
        step[place] = 1e-6
        high, low = (pool(image + sign * step, kind, size=3, stride=2).values for sign in (1, -1))
        assert ((high - low) * upstream).sum() / 2e-6 == pytest.approx(gradient[place], abs=1e-8)
