"""Truncated backpropagation through time: against cuts by hand, finite differences and full backpropagation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from snellen.nn import recurrent
from snellen.nn.recurrent import GRU, LSTM, RNN, RecurrentNetwork, similar_lengths

NETWORKS: dict[str, Callable[..., RecurrentNetwork]] = {
    "rnn": RNN,
    "lecture": lambda *sizes, **more: RNN(*sizes, form="lecture", **more),
    "lstm": LSTM,
    "gru": GRU,
}
LENGTHS = [11, 4, 8, 1, 6]


def ragged(lengths: list[int], features: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(lengths), max(lengths), features, generator=generator, dtype=torch.float64)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = torch.nan
    return x


def network(name: str, layers: int = 2, **more: int) -> RecurrentNetwork:
    torch.manual_seed(0)
    return NETWORKS[name](2, 5, layers, 3, **more).double()


def gradients(net: RecurrentNetwork, y: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(y.square().sum(), list(net.parameters())))


def cut_by_hand(net: RecurrentNetwork, sequence: Tensor, steps: int) -> Tensor:
    """The output for one sequence (T, D), one step at a time; the state is detached after every `steps` steps."""
    state = None
    for t, step in enumerate(sequence):
        if state is not None and t % steps == 0:
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        states, state = net.recurrent(step[None, None], state)
    y: Tensor = net.head(states[:, 0])
    return y


@pytest.mark.parametrize("steps", [1, 3, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_a_state_that_is_detached_by_hand(name: str, steps: int) -> None:
    net, x = network(name, bptt=steps), ragged(LENGTHS)
    expected = torch.cat([cut_by_hand(net, row[:length], steps) for row, length in zip(x, LENGTHS, strict=True)])
    assert torch.allclose(net(x), expected, rtol=0, atol=1e-12)
    for a, b in zip(gradients(net, net(x)), gradients(net, expected), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_cuts_change_gradients_only_and_none_cut_changes_nothing(name: str) -> None:
    full, x = network(name), ragged(LENGTHS)
    expected = gradients(full, full(x))
    for steps in (11, 50):
        whole = network(name, bptt=steps)
        assert all(torch.equal(a, b) for a, b in zip(gradients(whole, whole(x)), expected, strict=True))
    cut = network(name, bptt=3)
    assert torch.allclose(cut(x), full(x), rtol=0, atol=1e-12)
    assert not torch.allclose(gradients(cut, cut(x))[0], expected[0], rtol=1e-3)
    assert torch.equal(cut.eval()(x), full.eval()(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_a_part_is_that_of_finite_differences(name: str) -> None:
    """With the state before the last cut as a constant, the loss depends on the inputs after the cut only."""
    net, x = network(name, 1, bptt=3), ragged([5])
    parameters = dict(net.named_parameters())
    with torch.no_grad():
        _, state = net.recurrent(x[:, :3])

    def after_the_cut(*values: Tensor) -> Tensor:
        def call(part: Tensor) -> Tensor:
            states = torch.func.functional_call(
                net.recurrent, {n[10:]: v for n, v in named.items() if n.startswith("recurrent.")}, (part, state)
            )[0]
            return states[:, -1] @ named["head.weight"].T + named["head.bias"]

        named = dict(zip(parameters, values, strict=True))
        return call(x[:, 3:])

    values = [p.detach().clone().requires_grad_() for p in parameters.values()]
    assert torch.autograd.gradcheck(after_the_cut, values)
    expected = torch.autograd.grad(after_the_cut(*values).square().sum(), values)
    for a, b in zip(gradients(net, net(x)), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bptt", [None, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_long_batch_in_parts_of_similar_lengths_is_the_batch_in_one(
    name: str, bptt: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [2, 40, 3, 0, 2, 17, 1]
    x, net = ragged(lengths), network(name, **({} if bptt is None else {"bptt": bptt}))
    y = net(x)
    expected = gradients(net, y)
    monkeypatch.setattr(recurrent, "LONG_BATCH", 20)
    seen: list[tuple[int, ...]] = []
    net.recurrent.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[:2])))
    in_parts = net(x)
    assert torch.allclose(in_parts, y, rtol=0, atol=1e-12)
    for a, b in zip(gradients(net, in_parts), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)
    assert sum(a * b for a, b in seen) <= recurrent.MAX_PADDING * sum(lengths)


@pytest.mark.parametrize("name", NETWORKS)
def test_sequences_of_one_length_are_read_as_those_of_several(name: str) -> None:
    """Training on full sequences takes the last state without a gather: the same outputs and gradients."""
    net, x = network(name), ragged([6, 6, 6])
    longer = torch.cat([x, torch.full((3, 1, 2), torch.nan, dtype=torch.float64)], 1)
    assert torch.allclose(net(x), net(longer), rtol=0, atol=1e-12)
    for a, b in zip(gradients(net, net(x)), gradients(net, net(longer)), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_parts_of_similar_lengths_hold_every_row_once() -> None:
    lengths = torch.tensor([5, 1000, 7, 0, 6, 990, 5])
    parts = similar_lengths(lengths)
    assert sorted(torch.cat(parts).tolist()) == list(range(7))
    assert len(parts) > 1
    for part in parts:
        assert len(part) * int(lengths[part].max()) <= recurrent.MAX_PADDING * int(lengths[part].sum())
    assert [len(part) for part in similar_lengths(torch.zeros(3, dtype=torch.int64))] == [3]
