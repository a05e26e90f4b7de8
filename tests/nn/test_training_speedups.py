"""Faster training steps compute the same gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from snellen.core.spec import Input
from snellen.nn.convnets.lenet import LeNet
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP, backpropagate, cross_entropy
from snellen.training.blocked_layout import blocked_layout


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [p.grad.double() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("sizes", [(7, 3), (7, 5, 3), (300, 64, 40, 3)], ids=str)  # the last is large enough for oneDNN
def test_the_explicit_backward_pass_equals_autograd_in_double_precision(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    mlp = MLP(sizes)
    x, y = torch.randn(32, sizes[0]), torch.randint(0, 3, (32,))
    reference = copy.deepcopy(mlp).double()
    nn.functional.cross_entropy(reference(x.double()), y).backward()
    for backward in (lambda m: backpropagate(m, x, y), lambda m: cross_entropy(m, x, y).backward()):
        model = copy.deepcopy(mlp)
        backward(model)
        for gradient, expected in zip(gradients(model), gradients(reference), strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_the_loss_of_the_explicit_backward_pass_can_be_scaled() -> None:
    torch.manual_seed(0)
    mlp = MLP((4, 5, 3))
    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    nn.functional.cross_entropy(mlp(x), y).backward()
    unscaled = gradients(mlp)
    mlp.zero_grad()
    (3 * cross_entropy(mlp, x, y)).backward()
    for gradient, expected in zip(gradients(mlp), unscaled, strict=True):
        torch.testing.assert_close(gradient, 3 * expected)


def graph_nodes(output: torch.Tensor) -> list[str]:
    """Names of the operations of the backward pass."""
    names, waiting = [], [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            names.append(node.name())
            waiting += [following for following, _ in node.next_functions]
    return names


@pytest.mark.parametrize("channels_last", [False, True])
def test_lenet_in_onednns_layout_has_the_gradients_of_double_precision(channels_last: bool) -> None:
    torch.manual_seed(0)
    net = LeNet(1, (28, 28), 10)
    reference = copy.deepcopy(net).double()
    x, y = torch.randn(8, 1, 28, 28), torch.randint(0, 10, (8,))
    nn.functional.cross_entropy(reference(x.double()), y).backward()
    if channels_last:
        net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    with blocked_layout(net):
        nn.functional.cross_entropy(net(x), y).backward()
        blocked = net(x)
        assert "FirstConvolution" in str(graph_nodes(blocked))
    for gradient, expected in zip(gradients(net), gradients(reference), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    assert "FirstConvolution" not in str(graph_nodes(net(x)))
    torch.testing.assert_close(blocked, net(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_standardised_images_have_mean_zero_and_deviation_one_also_after_loading(channels: int) -> None:
    x = torch.randint(0, 256, (64, channels, 6, 5), dtype=torch.uint8)
    layer = Standardize(Input(modality="image", shape=(channels, 6, 5), dtype="uint8"))
    layer.fit(x)
    z = layer(x).double()
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(channels, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(channels, dtype=torch.float64))
    loaded = Standardize(Input(modality="image", shape=(channels, 6, 5), dtype="uint8"))
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded(x), layer(x))
    assert set(layer.state_dict()) == {"mean", "std", "low", "high"}
    assert x.dtype == torch.uint8
