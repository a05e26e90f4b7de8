"""3D U-Net: size of the output, pooling, gradients by finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from snellen.nn.dense.unet3d import UNet3D, max_pool_3d


def test_pooling_equals_that_of_torch() -> None:
    x = torch.randn(2, 3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(max_pool_3d(x), nn.functional.max_pool3d(x, 2))


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 6, 7), (8, 4, 12)])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_output_of_the_3d_unet_has_the_size_of_its_input(size: tuple[int, int, int], depth: int) -> None:
    net = UNet3D(2, 3, 4, depth, "group").eval()
    assert net(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_the_gradient_of_the_3d_unet_passes_finite_differences() -> None:
    torch.manual_seed(0)
    net = UNet3D(1, 1, 2, 1, "group").double()
    parameters = dict(net.named_parameters())

    def loss(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(parameters, values, strict=True)), (x,)).square().mean()

    x = torch.randn(1, 1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (x, *parameters.values()), fast_mode=True)
