"""An output at every step of a sequence: GRU in one direction and in both, and MLP of a window, against references."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from torch import nn

from snellen.nn.dense.step_recurrent import StepRecurrent
from snellen.nn.dense.step_window import StepWindow
from snellen.nn.recurrent import Layer, gru_layer, lstm_layer, rnn_layer


def gru_states(x: np.ndarray, layer: nn.GRU) -> np.ndarray:
    """States (T, H) of the equations of Cho et al. 2014, in the form of torch, from a state of zeros."""
    weights = [p.detach().double().numpy() for p in (layer.weight_ih_l0, layer.weight_hh_l0)]
    (w_r, w_z, w_n), (u_r, u_z, u_n) = (np.split(w, 3) for w in weights)
    biases = [p.detach().double().numpy() for p in (layer.bias_ih_l0, layer.bias_hh_l0)]
    (b_r, b_z, b_n), (c_r, c_z, c_n) = (np.split(b, 3) for b in biases)
    h, states = np.zeros(len(b_r)), []
    for v in x:
        r = 1 / (1 + np.exp(-(w_r @ v + b_r + u_r @ h + c_r)))
        z = 1 / (1 + np.exp(-(w_z @ v + b_z + u_z @ h + c_z)))
        n = np.tanh(w_n @ v + b_n + r * (u_n @ h + c_n))
        h = (1 - z) * n + z * h
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize("causal", [False, True])
def test_e4_the_outputs_of_every_step_are_those_of_a_loop(causal: bool) -> None:
    torch.manual_seed(0)
    net = StepRecurrent(gru_layer, 2, 3, 2, 4, causal).eval()
    x = torch.randn(2, 7, 2)
    x[1, 5:] = torch.nan
    y = net(x)
    assert y.shape == (2, 4, 7)
    for sequence, outputs in ((x[0], y[0]), (x[1, :5], y[1, :, :5])):
        states = sequence.double().numpy()
        for k, layer in enumerate(net.forwards):
            directions = [gru_states(states, layer)]
            if not causal:
                directions.append(gru_states(states[::-1], net.backwards[k])[::-1])
            states = np.concatenate(directions, 1)
        head = net.head
        expected = states @ head.weight.detach().double().numpy().T + head.bias.detach().double().numpy()
        assert outputs.detach().T.numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("layer", [gru_layer, lstm_layer, rnn_layer])
@pytest.mark.parametrize("causal", [False, True])
def test_e4_steps_after_the_end_change_no_output(causal: bool, layer: Layer) -> None:
    torch.manual_seed(0)
    net = StepRecurrent(layer, 3, 4, 2, 2, causal).eval()
    x = torch.randn(3, 6, 3)
    padded = torch.cat([x, torch.full((3, 5, 3), torch.nan)], 1)
    assert torch.allclose(net(padded)[..., :6], net(x), atol=1e-6)


def test_e4_only_a_causal_network_ignores_later_steps() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 2, requires_grad=True)
    for causal in (True, False):
        net = StepRecurrent(gru_layer, 2, 4, 2, 1, causal)
        (gradient,) = torch.autograd.grad(net(x)[0, 0, 3], x)
        reached = gradient[0].abs().sum(1) > 0  # steps on which the output at step 3 depends
        assert reached.tolist() == [True] * 4 + [not causal] * 4


@pytest.mark.parametrize(("causal", "activation"), [(False, "relu"), (True, "tanh")])
def test_e4_the_outputs_of_an_mlp_are_those_of_each_window(causal: bool, activation: Literal["relu", "tanh"]) -> None:
    """Those of scikit-learn's MLP with the same weights, on windows cut from each sequence alone."""
    torch.manual_seed(0)
    context, net = 3, StepWindow(2, 3, (5, 4), 2, causal, activation).double().eval()
    x = torch.randn(3, 9, 2, dtype=torch.float64)
    lengths = (9, 6, 1)
    for k, length in enumerate(lengths):
        x[k, length:] = torch.nan
    first, *rest = [layer.weight.detach() for layer in net.layers]  # (H, D, window), and (K, H, 1)
    reference = MLPRegressor(hidden_layer_sizes=(5, 4), activation=activation, max_iter=1)
    window = context + 1 if causal else 2 * context + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference.fit(np.zeros((4, 2 * window)), np.zeros((4, 2)))
    reference.coefs_ = [w.flatten(1).T.numpy() for w in (first.transpose(1, 2), *rest)]  # step by step
    reference.intercepts_ = [layer.bias.detach().numpy() + 0.1 for layer in net.layers]
    for layer in net.layers:
        layer.bias.data += 0.1
    y = net(x).detach()
    assert y.shape == (3, 2, 9)
    for sequence, outputs, length in zip(x, y, lengths, strict=True):
        outside = np.zeros((context, 2))
        steps = np.concatenate([outside, sequence[:length].numpy(), outside])
        windows = np.stack([steps[t : t + window].ravel() for t in range(length)])
        assert outputs[:, :length].T.numpy() == pytest.approx(reference.predict(windows), abs=1e-9)


def test_e4_an_mlp_depends_on_the_steps_of_its_window_only() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 9, 2, requires_grad=True)
    for causal, window in ((True, range(2, 5)), (False, range(2, 7))):
        net = StepWindow(2, 2, (16,), 1, causal, "tanh")
        (gradient,) = torch.autograd.grad(net(x)[0, 0, 4], x)
        reached = gradient[0].abs().sum(1) > 0
        assert reached.nonzero().flatten().tolist() == list(window)
