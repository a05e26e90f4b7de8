"""Batches gathered in blocks equal batches gathered one by one."""

from __future__ import annotations

import pytest
import torch

from snellen.core.random import permutation
from snellen.core.spec import Preprocessing
from snellen.data import batches as module
from snellen.data.batches import Batches
from snellen.data.dataset import Samples
from snellen.data.source import ArraySource


def samples(count: int) -> Samples:
    x = torch.arange(count * 6, dtype=torch.float32).view(count, 6)
    return Samples(ArraySource(x), torch.arange(100, 100 + count), torch.arange(count) % 3, Preprocessing(), x)


@pytest.mark.parametrize("block", [1, 6 * 4 * 8 * 2, 1 << 20], ids=["one batch", "two batches", "an epoch"])
def test_batches_follow_the_permutation_of_their_epoch(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    data = samples(37)
    loader = Batches(data, 8, seed=5)
    assert len(loader) == 5
    for epoch in range(2):
        epoch_batches = permutation(37, 5, "order", epoch).split(8)
        for index, positions in enumerate(epoch_batches):
            batch = loader.at(epoch * 5 + index)
            assert torch.equal(batch.ids, positions + 100)
            assert torch.equal(batch.y, positions % 3)
            assert torch.equal(batch.x, data.values[positions])  # type: ignore[index]
            assert torch.equal(loader.positions(epoch * 5 + index), positions)


def test_steps_out_of_order_return_the_same_batches() -> None:
    forward, backward = Batches(samples(50), 7, 1), Batches(samples(50), 7, 1)
    forward_ids = [forward.at(step).ids for step in range(20)]
    backward_ids = [backward.at(step).ids for step in reversed(range(20))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward_ids, backward_ids, strict=True))
