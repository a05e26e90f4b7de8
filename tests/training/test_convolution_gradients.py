"""Convolution weight gradients by matrix products."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from snellen.training import convolution_gradients
from snellen.training.convolution_gradients import MatrixProductConvolution, fast_weight_gradients

CASES = [
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (1, 1)),
    ((1, 3), (1, 2), (0, 1)),
    ((2, 2), (2, 2), (0, 0)),
    ((5, 3), (1, 1), (2, 0)),
]


@pytest.mark.parametrize(("kernel", "stride", "padding"), CASES, ids=str)
def test_gradients_match_finite_differences(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *tensors: MatrixProductConvolution.apply(*tensors, stride, padding), (x, weight, bias)
    )


@pytest.mark.parametrize("max_unfolded", [1, 500, 3000, 1 << 20], ids=["rows", "some rows", "some samples", "all"])
def test_the_weight_gradient_matches_torch_for_any_block_size(
    monkeypatch: pytest.MonkeyPatch, max_unfolded: int
) -> None:
    monkeypatch.setattr(convolution_gradients, "MAX_UNFOLDED", max_unfolded)
    torch.manual_seed(0)
    x, gradient = torch.randn(5, 4, 9, 8, dtype=torch.float64), torch.randn(5, 6, 5, 4, dtype=torch.float64)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    reference = torch.nn.grad.conv2d_weight(x, list(weight.shape), gradient, stride=2, padding=1)
    torch.testing.assert_close(convolution_gradients.weight_gradient(x, gradient, weight, (2, 2), (1, 1)), reference)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 8, 1)]
    return nn.Sequential(*layers, nn.Conv2d(8, 8, 3, groups=8))


def test_network_gradients_match_and_the_network_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_gradients, "_is_faster", lambda device: True)
    model = small_network().to(memory_format=torch.channels_last)
    reference = copy.deepcopy(model).double()
    x = torch.randn(2, 64, 12, 10).contiguous(memory_format=torch.channels_last)
    with fast_weight_gradients(model, torch.device("cpu")):
        output = model(x)
        node = output.grad_fn
        names = set()
        while node is not None:
            names.add(type(node).__name__)
            node = node.next_functions[0][0] if node.next_functions else None
        output.square().mean().backward()
    assert "MatrixProductConvolutionBackward" in names  # the first convolution uses the matrix product
    reference(x.double()).square().mean().backward()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-6)
    assert not any("forward" in vars(m) for m in model.modules())


def test_with_avx512_nothing_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": True})
    model = small_network()
    with fast_weight_gradients(model, torch.device("cpu")):
        assert not any("forward" in vars(m) for m in model.modules())
