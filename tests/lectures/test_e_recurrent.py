"""Lecture rows E: recurrent networks against their equations and finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from snellen.nn.recurrent import GRU, LSTM, RNN, RecurrentNetwork, RNNForm, lstm_states

NETWORKS: dict[str, Callable[[int, int, int, int], RecurrentNetwork]] = {
    "e1 tanh": RNN,
    "e1 lecture": lambda *sizes: RNN(*sizes, form="lecture"),
    "e2": LSTM,
    "e2 without biases": lambda *sizes: LSTM(*sizes, bias=False),
    "e3": GRU,
}


def rnn_output(net: RNN, x: Tensor, lecture: bool) -> Tensor:
    """The output for one sequence (T, D), by a loop over its steps."""
    parameters = [p.detach() for p in net.recurrent.parameters()]
    steps = list(x)
    for k in range(0, len(parameters), 4):  # of each layer
        u, w, *biases = parameters[k : k + 4]
        state = torch.zeros(len(w), dtype=x.dtype)
        states = []
        for step in steps:
            state = (
                w @ torch.tanh(state) + u @ step + sum(biases)
                if lecture
                else torch.tanh(w @ state + u @ step + sum(biases))
            )
            states.append(state)
        steps = states
    return net.head.weight.detach() @ state + net.head.bias.detach()


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


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", ["tanh", "lecture"])
def test_e1_the_outputs_are_those_of_a_loop(form: RNNForm, layers: int) -> None:
    torch.manual_seed(0)
    net = RNN(3, 5, layers, 2, form=form).double().eval()
    x = ragged([7, 7, 7], 3, 7)
    expected = torch.stack([rnn_output(net, sequence, form == "lecture") for sequence in x])
    assert torch.allclose(net(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_e2_the_six_equations_give_the_outputs_and_gradients_of_torch(bias: bool) -> None:
    torch.manual_seed(0)
    net = LSTM(3, 5, 1, 2, bias=bias).double()
    x = ragged([8, 8], 3, 8).requires_grad_()
    parameters = list(net.recurrent.parameters())
    w, u, *biases = parameters
    states, memories = lstm_states(x, w, u, biases[0] + biases[1] if bias else None)
    expected, (_, last_memory) = net.recurrent(x)
    assert torch.allclose(states, expected, rtol=0, atol=1e-12)
    assert torch.allclose(memories[:, -1], last_memory[0], rtol=0, atol=1e-12)
    assert torch.allclose(net.head(states[:, -1]), net(x), rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(y.square().sum(), [x, *parameters]) for y in (states, expected)]
    assert all(torch.allclose(a, b, rtol=0, atol=1e-11) for a, b in zip(*gradients, strict=True))


def test_e2_forget_gates_are_open_at_the_start() -> None:
    net = LSTM(3, 5, 2, 2)
    assert isinstance(net.recurrent, nn.LSTM)
    for k in range(2):
        total = getattr(net.recurrent, f"bias_ih_l{k}") + getattr(net.recurrent, f"bias_hh_l{k}")
        assert torch.equal(total[5:10], torch.ones(5))  # gates i, f, g, o


@pytest.mark.parametrize("network", NETWORKS)
def test_e3_steps_after_the_end_do_not_change_the_result_or_the_gradients(network: str) -> None:
    torch.manual_seed(0)
    net = NETWORKS[network](2, 6, 2, 3).double()
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


def gradients_are_those_of_finite_differences(net: RecurrentNetwork) -> bool:
    """Backpropagation through time against finite differences, for inputs of several lengths and all parameters."""
    x = ragged([5, 3], 2, 5)
    inside = ~x.isnan()
    names = [name for name, _ in net.named_parameters()]

    def output(values: Tensor, *parameters: Tensor) -> Tensor:
        sequences = torch.full_like(x, torch.nan).masked_scatter(inside, values)
        y: Tensor = torch.func.functional_call(net, dict(zip(names, parameters, strict=True)), sequences)
        return y

    inputs = [x[inside], *(p.detach() for p in net.parameters())]
    return torch.autograd.gradcheck(output, [one.clone().requires_grad_() for one in inputs])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", ["tanh", "lecture"])
def test_e1_gradients_are_those_of_finite_differences(form: RNNForm, layers: int) -> None:
    torch.manual_seed(0)
    assert gradients_are_those_of_finite_differences(RNN(2, 3, layers, 2, form=form).double())


@pytest.mark.parametrize("bias", [True, False])
def test_e2_gradients_are_those_of_finite_differences(bias: bool) -> None:
    torch.manual_seed(0)
    assert gradients_are_those_of_finite_differences(LSTM(2, 3, 1, 2, bias=bias).double())


def test_e3_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    assert gradients_are_those_of_finite_differences(GRU(2, 3, 1, 2).double())
