"""Encoder and decoder: against torch's fused layers and finite differences; what each step may read."""

from __future__ import annotations

import pytest
import torch

from snellen.nn.encoder_decoder import Cell, EncoderDecoder

CELLS: tuple[Cell, ...] = ("gru", "lstm", "rnn")


def network(cell: Cell, known: int = 0, reconstructs: bool = False, layers: int = 1, hidden: int = 5) -> EncoderDecoder:
    torch.manual_seed(3)
    return EncoderDecoder(2 + known, 2, 4, known, cell, hidden, layers, 0.0, reconstructs).double()


@pytest.mark.parametrize("cell", CELLS)
def test_with_the_truth_of_each_step_the_decoder_is_torchs_layer_over_all_steps(cell: Cell) -> None:
    net, x = network(cell, known=1, layers=2), torch.randn(3, 6, 3, dtype=torch.float64)
    truth = torch.randn(3, 4, 2, dtype=torch.float64)
    read = torch.cat([torch.zeros_like(truth[:, :1]), truth[:, :-1]], 1)
    states, _ = net.decoder.recurrent(torch.cat([read, x[:, -4:, 2:]], 2), net.encode(x))
    expected = read + net.decoder.head(states)
    forced = torch.ones(3, 4, dtype=torch.bool)
    torch.testing.assert_close(net.generate(net.encode(x), x, truth, forced), expected)
    torch.testing.assert_close(net(x), net.generate(net.encode(x), x, truth, ~forced).flatten(1))


def test_only_forced_steps_read_the_truth() -> None:
    net, x = network("gru"), torch.randn(2, 6, 2, dtype=torch.float64)
    truth = torch.randn(2, 4, 2, dtype=torch.float64)
    forced = torch.zeros(2, 4, dtype=torch.bool)
    forced[0, 1] = True
    free, mixed = net.generate(net.encode(x), x), net.generate(net.encode(x), x, truth, forced)
    torch.testing.assert_close(mixed[1], free[1])
    torch.testing.assert_close(mixed[0, :2], free[0, :2])
    assert (mixed[0, 2:] != free[0, 2:]).all()


@pytest.mark.parametrize("cell", CELLS)
def test_backpropagation_through_time_equals_finite_differences(cell: Cell) -> None:
    net = network(cell, reconstructs=True, hidden=2)
    x = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = tuple(net.parameters())

    def outputs(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        state = net.encode(x)
        return torch.cat([net.generate(state, x), net.reconstruct(state, x)], 1)

    assert torch.autograd.gradcheck(outputs, (x, *parameters))


def test_a_known_input_changes_its_step_and_those_after_it() -> None:
    net, x = network("gru", known=1), torch.randn(1, 6, 3, dtype=torch.float64)
    state = net.encode(x)
    changed = x.clone()
    changed[0, -2, 2] += 1  # the third of four steps ahead
    difference = (net.generate(state, changed) - net.generate(state, x))[0].abs().sum(1)
    assert (difference[:2] == 0).all()
    assert (difference[2:] > 0).all()


def test_the_reconstruction_begins_with_the_last_step() -> None:
    net, x = network("rnn", reconstructs=True), torch.randn(2, 6, 2, dtype=torch.float64)
    decoder = net.reconstruction
    assert decoder is not None
    states, _ = decoder.recurrent(torch.zeros(2, 1, 2, dtype=torch.float64), net.encode(x))
    torch.testing.assert_close(net.reconstruct(net.encode(x), x)[:, -1], decoder.head(states[:, 0]))
