"""The gradient of a convolution's weights, written as a matrix product."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from snellen.training import convolutions
from snellen.training.convolutions import Convolution, by_products

CASES = [
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (1, 1)),
    ((1, 3), (1, 2), (0, 1)),
    ((2, 2), (2, 2), (0, 0)),
    ((5, 3), (1, 1), (2, 0)),
]


@pytest.mark.parametrize(("kernel", "stride", "padding"), CASES, ids=str)
def test_gradients_are_those_of_finite_differences(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: Convolution.apply(*given, stride, padding), (x, weight, bias))


@pytest.mark.parametrize("most", [1, 500, 3000, 1 << 20], ids=["rows", "some rows", "some samples", "all"])
def test_however_it_is_cut_into_parts_it_is_torchs_gradient(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(convolutions, "MOST", most)
    torch.manual_seed(0)
    x, gradient = torch.randn(5, 4, 9, 8, dtype=torch.float64), torch.randn(5, 6, 5, 4, dtype=torch.float64)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    truth = torch.nn.grad.conv2d_weight(x, list(weight.shape), gradient, stride=2, padding=1)
    torch.testing.assert_close(convolutions.of_weights(x, gradient, weight, (2, 2), (1, 1)), truth)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 8, 1)]
    return nn.Sequential(*layers, nn.Conv2d(8, 8, 3, groups=8))


def test_a_network_learns_alike_and_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "_ahead", lambda device: True)
    model = net().to(memory_format=torch.channels_last)
    truth = copy.deepcopy(model).double()
    x = torch.randn(2, 64, 12, 10).contiguous(memory_format=torch.channels_last)
    with by_products(model, torch.device("cpu")):
        answers = model(x)
        node = answers.grad_fn
        names = set()
        while node is not None:
            names.add(type(node).__name__)
            node = node.next_functions[0][0] if node.next_functions else None
        answers.square().mean().backward()
    assert "ConvolutionBackward" in names  # the first was written out: it is used
    truth(x.double()).square().mean().backward()
    for ours, theirs in zip(model.parameters(), truth.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-6)
    assert not any("forward" in vars(m) for m in model.modules())


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": True})
    model = net()
    with by_products(model, torch.device("cpu")):
        assert not any("forward" in vars(m) for m in model.modules())
