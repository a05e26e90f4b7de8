"""Lecture rows E1 and E2: gradients vanish or explode with the lag, and the LSTM remembers where the RNN does not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snellen.data.source import ArraySource
from snellen.data.synthetic.long_lags import copy_problem
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


def accuracy_on_copies(make: Callable[[], RecurrentNetwork], lag: int, seed: int, epochs: int) -> float:
    """Test accuracy on the copy problem after training with Adam, a one-cycle schedule and clipped gradients."""
    raw = copy_problem(seed, lag)
    assert isinstance(raw.source, ArraySource)
    assert isinstance(raw.truth, Tensor)
    (x, test_x), (y, test_y) = raw.source.values.split([1200, 800]), raw.truth.split([1200, 800])
    torch.manual_seed(seed)
    net, order = make(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=epochs * 30)
    for _ in range(epochs):
        for rows in torch.randperm(1200, generator=order).split(40):
            loss = functional.cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return float((net(test_x).argmax(1) == test_y).double().mean())


@pytest.mark.learning
def test_e2_the_lstm_solves_the_copy_problem_at_a_lag_where_the_rnn_does_not() -> None:
    lag = 80
    assert accuracy_on_copies(lambda: LSTM(4, 48, 1, 4, forget_bias=math.log(lag)), lag, 0, 8) > 0.9
    assert accuracy_on_copies(lambda: RNN(4, 48, 1, 4), lag, 0, 8) < 0.6
