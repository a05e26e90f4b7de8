"""Gates of LSTM and GRU step by step: states equal those of the fused layers; views lie within each sequence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from snellen.architectures.recurrent_views import gate_views
from snellen.core.views import Plot
from snellen.nn.dense.step_recurrent import StepRecurrent
from snellen.nn.gates import gate_activations
from snellen.nn.recurrent import GRU, LSTM, RNN, gru_layer


def ragged(lengths: list[int], features: int = 3) -> Tensor:
    x = torch.full((len(lengths), max(lengths), features), torch.nan)
    for k, length in enumerate(lengths):
        x[k, :length] = torch.randn(length, features, generator=torch.Generator().manual_seed(k))
    return x


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_states_equal_those_of_the_fused_layer(kind: type[nn.LSTM | nn.GRU], bidirectional: bool, bias: bool) -> None:
    torch.manual_seed(0)
    layer = kind(3, 5, 1 if bidirectional else 2, batch_first=True, bias=bias, bidirectional=bidirectional).double()
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    expected = layer(x)[0][..., :5]  # forwards in time
    result = gate_activations(layer, x)
    if not bidirectional:
        result = gate_activations(layer, result.states, 1)
    assert torch.allclose(result.states, expected, atol=1e-14)


def test_gates_are_the_sigmoid_of_their_rows_of_the_weights() -> None:
    layer = nn.LSTM(2, 3, batch_first=True).double()
    x = torch.randn(1, 2, 2, dtype=torch.float64)
    gates, states = gate_activations(layer, x)
    w, u, b = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0 + layer.bias_hh_l0
    for name, rows in (("input", slice(0, 3)), ("forget", slice(3, 6)), ("output", slice(9, 12))):
        expected = torch.sigmoid(w[rows] @ x[0, 1] + u[rows] @ states[0, 0] + b[rows])
        assert torch.allclose(gates[name][0, 1], expected)
    assert list(gate_activations(nn.GRU(2, 3, batch_first=True), x.float()).gates) == ["reset", "update"]


@pytest.mark.parametrize(("network", "names"), [(LSTM, ["input", "forget", "output"]), (GRU, ["reset", "update"])])
def test_views_show_the_mean_of_each_gate_within_the_length_of_a_sequence(
    network: type[LSTM | GRU], names: list[str]
) -> None:
    torch.manual_seed(0)
    model, x = network(3, 6, 2, 4).eval(), ragged([8, 5, 2, 8])
    views = gate_views(model, x)  # a sequence of two steps is not drawn, nor a fourth one
    assert [len(view.series[0].x) for view in views if isinstance(view, Plot)] == [8, 5]
    first = views[0]
    assert isinstance(first, Plot)
    assert [line.name for line in first.series] == [f"{name} gate" for name in names]
    recurrent = model.recurrent
    assert isinstance(recurrent, nn.LSTM | nn.GRU)
    with torch.no_grad():
        below = gate_activations(recurrent, x[:1]).states
        gates = gate_activations(recurrent, below, 1).gates
    for line in first.series:
        expected = gates[line.name.removesuffix(" gate")][0].mean(1)
        assert torch.tensor(line.y) == pytest.approx(expected, abs=1e-6)
        assert all(a <= b <= c for a, b, c in zip(line.low, line.y, line.high, strict=True))
    assert "last layer" in first.caption


def test_packed_inputs_and_inputs_in_the_order_of_time_are_read() -> None:
    class Packed(nn.Module):
        def __init__(self, batch_first: bool) -> None:
            super().__init__()
            self.layer = nn.GRU(3, 4, batch_first=batch_first, bidirectional=True)

        def forward(self, x: Tensor) -> Tensor:
            x = x.nan_to_num()
            if not self.layer.batch_first:
                return self.layer(x.transpose(0, 1))[0]
            lengths = torch.tensor([6, 4])
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.layer(packed)[0].data

    x = ragged([6, 4])
    for batch_first in (True, False):
        views = gate_views(Packed(batch_first).eval(), x)
        assert [len(view.series[0].x) for view in views if isinstance(view, Plot)] == [6, 4]


@pytest.mark.parametrize("causal", [True, False])
def test_a_network_with_an_output_at_every_step_shows_its_first_layer(causal: bool) -> None:
    torch.manual_seed(0)
    model, x = StepRecurrent(gru_layer, 3, 4, 2, 2, causal).eval(), ragged([8, 5])
    views = gate_views(model, x)
    assert [len(view.series[0].x) for view in views if isinstance(view, Plot)] == [8, 5]
    first, layer = views[0], model.forwards[0]
    assert isinstance(first, Plot)
    assert isinstance(layer, nn.GRU)
    with torch.no_grad():
        expected = gate_activations(layer, x[:1]).gates["update"][0].mean(1)
    assert torch.tensor(first.series[1].y) == pytest.approx(expected, abs=1e-6)
    assert "first layer, forwards in time" in first.caption


def test_a_network_without_gates_has_no_views() -> None:
    x = ragged([8, 5])
    assert gate_views(RNN(3, 6, 1, 4).eval(), x) == []
    assert gate_views(nn.Flatten(), x) == []
    assert gate_views(LSTM(3, 6, 1, 4).eval(), x[:, :2]) == []
