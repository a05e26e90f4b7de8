"""Lecture rows E: recurrent networks against their equations and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snellen.nn.recurrent import GRU


def by_equations(net: GRU, x: Tensor) -> Tensor:
    """The output for one sequence (T, D), by the equations of torch's GRU in float64."""
    gru = net.recurrent
    weights = {name: p.detach() for name, p in gru.named_parameters()}
    steps = list(x)
    for layer in range(gru.num_layers):
        w_ir, w_iz, w_in = weights[f"weight_ih_l{layer}"].chunk(3)
        w_hr, w_hz, w_hn = weights[f"weight_hh_l{layer}"].chunk(3)
        b_ir, b_iz, b_in = weights[f"bias_ih_l{layer}"].chunk(3)
        b_hr, b_hz, b_hn = weights[f"bias_hh_l{layer}"].chunk(3)
        h = torch.zeros(gru.hidden_size, dtype=x.dtype)
        states = []
        for step in steps:
            r = torch.sigmoid(w_ir @ step + b_ir + w_hr @ h + b_hr)
            z = torch.sigmoid(w_iz @ step + b_iz + w_hz @ h + b_hz)
            n = torch.tanh(w_in @ step + b_in + r * (w_hn @ h + b_hn))
            h = (1 - z) * n + z * h
            states.append(h)
        steps = states
    return net.head.weight.detach() @ h + net.head.bias.detach()


def ragged(lengths: list[int], features: int, steps: int, seed: int = 0) -> Tensor:
    x = torch.full((len(lengths), steps, features), torch.nan, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for k, length in enumerate(lengths):
        x[k, :length] = torch.randn(length, features, generator=generator, dtype=torch.float64)
    return x


@pytest.mark.parametrize("layers", [1, 2])
def test_e3_the_outputs_are_those_of_the_equations(layers: int) -> None:
    torch.manual_seed(0)
    net = GRU(3, 5, layers, 2).double().eval()
    x = ragged([7, 7, 7], 3, 7)
    expected = torch.stack([by_equations(net, sequence) for sequence in x])
    assert torch.allclose(net(x), expected, rtol=0, atol=1e-12)


def test_e3_steps_after_the_end_do_not_change_the_result_or_the_gradients() -> None:
    torch.manual_seed(0)
    net = GRU(2, 6, 2, 3).double()
    lengths = [1, 4, 9, 6]
    x = ragged(lengths, 2, 9)
    together = net(x)
    alone = torch.cat([net(x[k : k + 1, :length]) for k, length in enumerate(lengths)])
    assert torch.allclose(together, alone, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad(together.square().sum(), list(net.parameters()))
    expected = torch.autograd.grad(alone.square().sum(), list(net.parameters()))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(gradients, expected, strict=True))
    longer = torch.cat([x, torch.full((4, 5, 2), torch.nan, dtype=torch.float64)], 1)
    assert torch.equal(net(longer), together)


def test_e3_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    net = GRU(2, 3, 1, 2).double()
    x = ragged([5, 3], 2, 5).requires_grad_()
    inside = ~x.isnan()

    def of_values(values: Tensor) -> Tensor:
        return net(torch.full_like(x, torch.nan).masked_scatter(inside, values))

    assert torch.autograd.gradcheck(of_values, x.detach()[inside].requires_grad_())
