"""bfloat16 on the CPU: where maps have shrunk to a pixel, gradients are still those of the convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from snellen.training.precision import has_bfloat16, whole_kernels


def spoiled() -> None:
    """Memory that was used and is free again is full of NaN."""
    held = [torch.full((n,), torch.nan) for n in (64, 256, 1024, 4096, 16384) for _ in range(8)]
    del held


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 1), (1, 2), (3, 3)])
def test_columns_that_would_see_padding_alone_have_no_gradient(kernel: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, kernel, stride=2, padding=kernel // 2)
    x = torch.randn(2, 16, height, width)
    expected = torch.autograd.grad(conv(x).square().sum(), conv.weight)[0]
    spoiled()
    with whole_kernels(conv), torch.autocast("cpu", torch.bfloat16):
        said = conv(x)
    spoiled()
    found = torch.autograd.grad(said.float().square().sum(), conv.weight)[0]
    assert said.shape == conv(x).shape
    assert not conv._forward_pre_hooks
    assert float((found - expected).abs().max()) < 0.03 * float(expected.abs().max())
