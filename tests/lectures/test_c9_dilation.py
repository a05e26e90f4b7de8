"""Row C9 of the lectures: dilated convolution, with a receptive field of d(k − 1) + 1 pixels a side."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded
from torch import Tensor, nn

from snellen.nn.dense.dilated import DilatedNetwork


def receptive_field(module: nn.Module, channels: int, side: int) -> tuple[int, int]:
    """Receptive field of the central output, in rows and columns, from its gradient; all weights are positive."""
    module = module.double().eval()
    for name, weight in module.named_parameters():
        values = torch.rand(weight.shape, generator=seeded(), dtype=torch.float64) + 0.1
        weight.data.copy_(values / (values.sum() if weight.ndim > 1 else 1), non_blocking="bias" in name)
    x = torch.ones(1, channels, side, side, dtype=torch.float64, requires_grad=True)
    y: Tensor = module(x)
    y[0, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
    assert x.grad is not None
    rows, columns = torch.nonzero(x.grad.abs().sum((0, 1)), as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_c9_the_receptive_field_of_a_dilated_convolution(k: int, d: int) -> None:
    conv = nn.Conv2d(2, 3, k, dilation=d)
    assert receptive_field(conv, 2, 41) == (d * (k - 1) + 1,) * 2
    assert conv.weight.numel() == nn.Conv2d(2, 3, k).weight.numel()


@pytest.mark.parametrize("dilations", [(1,), (1, 2), (1, 1, 2, 4, 1)])
def test_c9_the_receptive_field_of_the_dilated_network(
    dilations: tuple[int, ...],
) -> None:
    net = DilatedNetwork(1, 2, 3, dilations)
    assert receptive_field(net, 1, 61) == (1 + 2 * sum(dilations),) * 2
    assert net(torch.rand(2, 1, 13, 19, dtype=torch.float64)).shape == (2, 2, 13, 19)
