"""bfloat16 convolutions on the CPU: gradients are correct where feature maps have shrunk to one pixel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from snellen.training.precision import avoid_padding_only_columns, has_bfloat16


def fill_free_memory_with_nan() -> None:
    """Allocate and free memory filled with NaN."""
    tensors = [torch.full((n,), torch.nan) for n in (64, 256, 1024, 4096, 16384) for _ in range(8)]
    del tensors


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 1), (1, 2), (3, 3)])
def test_kernel_columns_over_padding_alone_have_zero_gradient(kernel: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, kernel, stride=2, padding=kernel // 2)
    x = torch.randn(2, 16, height, width)
    expected = torch.autograd.grad(conv(x).square().sum(), conv.weight)[0]
    fill_free_memory_with_nan()
    with avoid_padding_only_columns(conv), torch.autocast("cpu", torch.bfloat16):
        output = conv(x)
    fill_free_memory_with_nan()
    gradient = torch.autograd.grad(output.float().square().sum(), conv.weight)[0]
    assert output.shape == conv(x).shape
    assert not conv._forward_pre_hooks
    assert float((gradient - expected).abs().max()) < 0.03 * float(expected.abs().max())
