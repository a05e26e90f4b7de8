"""1D ConvNet: padding in value, statistics and gradient; convolution and pooling by NumPy; finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from snellen.architectures import ARCHITECTURES
from snellen.core.errors import UsageError
from snellen.core.settings import make
from snellen.nn.convnets.convnet1d import ConvNet1d

LENGTHS = [9, 5, 1]


def network() -> ConvNet1d:
    torch.manual_seed(0)
    return ConvNet1d(2, (4, 3), (4, 3), 2).double()


def sequences(extra: int = 0) -> Tensor:
    x = torch.randn(3, 9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for k, length in enumerate(LENGTHS):
        x[k, length:] = torch.nan
    return torch.cat([x, torch.full((3, extra, 2), torch.nan)], 1)


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_neither_outputs_nor_statistics_nor_gradients(training: bool) -> None:
    results = []
    for extra in (0, 6):
        net = network().train(training)
        y = net(sequences(extra))
        y.square().sum().backward()
        results.append([y, *net.buffers(), *(p.grad for p in net.parameters())])
    for a, b in zip(*results, strict=True):
        assert a is not None
        assert b is not None
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_a_sequence_alone_has_the_same_answer() -> None:
    net = network()
    net(sequences())
    net.eval()
    x = sequences()
    alone = torch.cat([net(x[k : k + 1, :length]) for k, length in enumerate(LENGTHS)])
    torch.testing.assert_close(net(x), alone, rtol=0, atol=1e-12)


def test_one_block_is_a_correlation_a_normalisation_and_a_mean() -> None:
    torch.manual_seed(0)
    net = ConvNet1d(1, (1,), (3,), 1).double().train()
    x = sequences()[:, :, :1]
    w = net.convolutions[0].weight.detach().numpy()[0, 0]
    steps = [np.correlate(np.pad(x[k, :n, 0].numpy(), 1), w, "valid") for k, n in enumerate(LENGTHS)]
    every = np.concatenate(steps)
    means = [np.maximum((s - every.mean()) / np.sqrt(every.var() + 1e-5), 0).mean() for s in steps]
    expected = np.array(means)[:, None] * net.head.weight.item() + net.head.bias.item()
    np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=0, atol=1e-12)


def test_gradients_are_finite_differences() -> None:
    net = network()
    x = sequences()
    inside = ~x.isnan()

    def outputs(values: Tensor) -> Tensor:
        return net(torch.full_like(x, torch.nan).masked_scatter(inside, values))

    assert torch.autograd.gradcheck(outputs, x[inside].clone().requires_grad_())


def test_kernels_fit_the_channels() -> None:
    architecture = ARCHITECTURES["convnet1d"]
    body = architecture.body(make(architecture.settings, {"channels": (4, 4), "kernel_size": (3,)}), (9, 2), 3)
    assert body(sequences().float()).shape == (3, 3)
    with pytest.raises(UsageError, match="--kernel-size has 3 numbers, --channels 2"):
        architecture.body(make(architecture.settings, {"channels": (4, 4)}), (9, 2), 3)
