"""Lecture rows E1 and E2: gradients vanish or explode with the lag, and the LSTM remembers where the RNN does not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import snellen
from snellen.api import RunOptions
from snellen.nn.gradient_lag import gradient_norms_by_lag
from snellen.nn.recurrent import LSTM, RNN, RecurrentNetwork, RNNForm

STEPS = 30


def norms_at_zero(net: RecurrentNetwork) -> Tensor:
    """(T,) gradient norms by lag of one output, for inputs of zeros."""
    x = torch.zeros(1, STEPS, 4, dtype=torch.float64)
    return gradient_norms_by_lag(net.double().eval(), x, lambda y: y[:, 0])[0]


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("form", ["tanh", "lecture"])
def test_e1_the_gradient_vanishes_or_explodes_as_a_power_of_the_recurrent_weights(form: RNNForm, radius: float) -> None:
    torch.manual_seed(0)
    net = RNN(4, 4, 1, 2, form=form).double()
    u, w, b_u, b_w = net.recurrent.parameters()
    with torch.no_grad():
        w.copy_(radius * torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0])
        u.copy_(torch.eye(4, dtype=torch.float64))
        b_u.zero_()
        b_w.zero_()
    norms = norms_at_zero(net)
    assert torch.allclose(norms / norms[0], radius ** torch.arange(STEPS, dtype=torch.float64), rtol=1e-9)


@pytest.mark.parametrize("forget_bias", [1.0, 4.6])
def test_e2_the_gradient_through_the_memory_shrinks_by_the_forget_gate(forget_bias: float) -> None:
    torch.manual_seed(0)
    net = LSTM(4, 4, 1, 2, forget_bias=forget_bias).double()
    assert isinstance(net.recurrent, nn.LSTM)
    with torch.no_grad():
        net.recurrent.weight_hh_l0.zero_()
        net.recurrent.bias_ih_l0.zero_()[4:8] = forget_bias
        net.recurrent.bias_hh_l0.zero_()
    norms = norms_at_zero(net)
    kept = 1 / (1 + math.exp(-forget_bias))
    assert torch.allclose(norms / norms[0], kept ** torch.arange(STEPS, dtype=torch.float64), rtol=1e-9)


def test_e1_norms_by_lag_are_those_of_each_sequence_alone() -> None:
    torch.manual_seed(0)
    net = RNN(2, 3, 1, 2).double()
    x = torch.randn(2, 6, 2, dtype=torch.float64)
    x[1, 4:] = torch.nan
    norms = gradient_norms_by_lag(net, x, lambda y: y.square().sum(1))
    for sequence, found in ((x[:1], norms[0]), (x[1:, :4], norms[1])):
        inputs = sequence.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net(inputs).square().sum(), inputs)
        steps = sequence.shape[1]
        assert torch.allclose(found[:steps], gradient[0].norm(dim=1).flip(0), rtol=1e-9)
        assert found[steps:].isnan().all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_e2_the_lstm_solves_the_copy_problem_at_a_lag_where_the_rnn_does_not(seed: int, tmp_path: Path) -> None:
    """A minute a seed. Measured with seeds 0 to 4 and one thread: see docs/guide/sequences.md."""
    accuracy = {}
    for model in ("lstm", "rnn"):
        options = RunOptions(threads=1, report=False)
        run = snellen.train("copy-200", model, seed=seed, out=tmp_path / model, options=options)
        accuracy[model] = run.metrics["accuracy"].value or 0.0
    assert accuracy["lstm"] >= 0.98
    assert accuracy["rnn"] <= 0.95
