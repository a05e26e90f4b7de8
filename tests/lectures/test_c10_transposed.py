"""Row C10 of the lectures: a transposed convolution is the adjoint of a convolution; its size is (d − 1)s − 2p + k."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_datasets import seeded

from snellen.nn.dense.upsampling import bilinear_kernel, deconvolution


@settings(max_examples=60)
@given(k=st.integers(1, 5), s=st.integers(1, 4), p=st.integers(0, 2), d=st.integers(1, 6), seed=st.integers(0, 99))
def test_c10_adjoint_and_size(k: int, s: int, p: int, d: int, seed: int) -> None:
    """⟨Ax, y⟩ = ⟨x, Aᵀy⟩ for A the convolution with the same weights."""
    side = (d - 1) * s - 2 * p + k
    if side < 1 or p >= k:
        return
    generator = seeded(seed)
    w = torch.randn(3, 2, k, k, generator=generator, dtype=torch.float64)  # of A: 2 channels to 3
    x = torch.randn(1, 2, side, side, generator=generator, dtype=torch.float64)
    y = torch.randn(1, 3, d, d, generator=generator, dtype=torch.float64)
    forth, back = F.conv2d(x, w, stride=s, padding=p), F.conv_transpose2d(y, w, stride=s, padding=p)
    assert back.shape[2:] == (side, side)
    assert forth.shape[2:] == (d, d)
    assert float((forth * y).sum()) == pytest.approx(float((x * back).sum()), rel=1e-12, abs=1e-12)


def test_c10_each_input_pixel_adds_the_kernel() -> None:
    """Brute force: Aᵀy is the sum of the kernel times each pixel, shifted by the stride."""
    w, y = torch.randn(1, 1, 3, 3, generator=seeded()), torch.randn(1, 1, 4, 4, generator=seeded(1))
    expected = torch.zeros(9, 9)
    for row in range(4):
        for column in range(4):
            expected[2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += y[0, 0, row, column] * w[0, 0]
    assert torch.allclose(F.conv_transpose2d(y, w, stride=2)[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_c10_the_initial_weights_interpolate_bilinearly(factor: int) -> None:
    """Away from the border it equals PyTorch's bilinear interpolation."""
    layer = deconvolution(3, 3, factor).double()
    with torch.no_grad():
        layer.weight[range(3), range(3)] = bilinear_kernel(factor).double()
        x = torch.randn(2, 3, 7, 6, generator=seeded(), dtype=torch.float64)
        output = layer(x)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    assert output.shape == expected.shape == (2, 3, 7 * factor, 6 * factor)
    inside = (..., slice(factor // 2, -factor // 2), slice(factor // 2, -factor // 2))
    assert torch.allclose(output[inside], expected[inside], atol=1e-12)
    assert not torch.allclose(output, expected)  # the border differs: it is padded with zeros
