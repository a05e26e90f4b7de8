"""GRU: sequences without steps, and statistics of sequences."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Input
from snellen.nn.layers import Standardize
from snellen.nn.recurrent import GRU


def ragged(lengths: list[int], features: int, steps: int, seed: int = 0) -> Tensor:
    x = torch.full((len(lengths), steps, features), torch.nan, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for k, length in enumerate(lengths):
        x[k, :length] = torch.randn(length, features, generator=generator, dtype=torch.float64)
    return x


def test_a_sequence_without_steps_has_the_state_zero() -> None:
    net = GRU(2, 4, 1, 3)
    assert torch.equal(net(torch.full((1, 5, 2), torch.nan)), net.head.bias[None])


def test_statistics_are_those_of_each_feature_over_the_steps_of_all_sequences() -> None:
    x = ragged([4, 6, 2], 2, 6) * torch.tensor([3.0, 0.1]) + torch.tensor([100.0, -1.0])
    rows = np.concatenate([x[k, :n].numpy() for k, n in enumerate([4, 6, 2])])
    layer = Standardize(Input(modality="sequence", shape=(None, 2), dtype="float64"))
    layer.fit(x)
    assert np.allclose(layer.mean, rows.mean(0), rtol=1e-12)
    assert np.allclose(layer.std, rows.std(0), rtol=1e-12)
    y = layer(x)
    assert torch.equal(y.isnan(), x.isnan())
    assert torch.allclose(y.nan_to_num(), ((x - layer.mean) / layer.std).float().nan_to_num())
    assert torch.allclose(layer(x.float()).nan_to_num(), y.nan_to_num(), atol=1e-3)
