"""Dynamic time warping: a double loop written here, closed cases, bands, several lengths, z-normalisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from snellen.core.spec import Input
from snellen.nn import dtw
from snellen.nn.dtw import DTWNeighbours, dtw_distances, z_normalized


def plain_dtw(a: list[list[float]], b: list[list[float]], band: float) -> float:
    n, m = len(a), len(b)
    radius = max(math.ceil(band * max(n, m) - 1e-9), abs(n - m))
    cost = [[math.inf] * (m + 1) for _ in range(n + 1)]
    cost[0][0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            if abs(i - j) <= radius:
                square = sum((p - q) ** 2 for p, q in zip(a[i - 1], b[j - 1], strict=True))
                cost[i][j] = square + min(cost[i - 1][j], cost[i][j - 1], cost[i - 1][j - 1])
    return math.sqrt(cost[n][m])


def ragged(lengths: list[int], features: int, seed: int) -> Tensor:
    x = torch.randn(len(lengths), max(lengths), features, generator=torch.Generator().manual_seed(seed))
    for k, length in enumerate(lengths):
        x[k, length:] = torch.nan
    return x.double()


@pytest.mark.parametrize("features", [1, 2, 10])
@pytest.mark.parametrize("band", [0.0, 0.1, 0.3, 1.0])
def test_distances_are_those_of_a_double_loop(features: int, band: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtw, "MAX_ELEMENTS", 40)  # several blocks
    monkeypatch.setattr(dtw, "QUERIES", 2)
    for lengths, others in (([9, 4, 1, 7, 9], [12, 3, 1, 8, 12, 11, 5]), ([6] * 3, [6] * 4), ([5], [8])):
        a, b = ragged(lengths, features, 0), ragged(others, features, 1)
        expected = [
            [plain_dtw(x[:n].tolist(), y[:m].tolist(), band) for y, m in zip(b, others, strict=True)]
            for x, n in zip(a, lengths, strict=True)
        ]
        np.testing.assert_allclose(dtw_distances(a, b, band).numpy(), expected, rtol=0, atol=1e-12)


def test_worked_examples() -> None:
    a = torch.tensor([[[1.0], [3.0], [4.0], [9.0]]])
    b = torch.tensor([[[1.0], [3.0], [7.0], [8.0]]])
    assert float(dtw_distances(a, b)) ** 2 == pytest.approx(6)  # 1-1, 3-3, 4-3, 9-7, 9-8: 0 + 0 + 1 + 4 + 1
    assert float(dtw_distances(a, b, 0.0)) == pytest.approx(float((a - b).norm()))
    slow = torch.tensor([[[0.0], [0.0], [1.0], [1.0], [2.0], [2.0]]])
    fast = torch.tensor([[[0.0], [1.0], [2.0]]])
    assert float(dtw_distances(slow, fast)) == 0


def test_z_normalisation_is_that_of_each_sequence_and_feature() -> None:
    x = ragged([7, 4, 1], 2, 3)
    x[1, :4, 1] = 0.1  # constant
    z = z_normalized(x)
    for k, n in enumerate([7, 4, 1]):
        own = x[k, :n].numpy()
        std = own.std(0)
        expected = np.where(std > 1e-9, (own - own.mean(0)) / np.where(std > 1e-9, std, 1), 0)
        np.testing.assert_allclose(z[k, :n].numpy(), expected, rtol=0, atol=1e-12)
        assert bool(z[k, n:].isnan().all())
    scaled = 5 * x - 3
    np.testing.assert_allclose(z_normalized(scaled).numpy(), z.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("z_normalize", [False, True])
def test_neighbours_of_several_lengths_are_stored_and_loaded(z_normalize: bool) -> None:
    lengths = [9, 4, 1, 7, 9]
    x, y = ragged(lengths, 2, 0), torch.arange(5)
    spec_input = Input(modality="sequence", shape=(None, 2), dtype="float64")
    stored = DTWNeighbours(spec_input, y, 1.0, z_normalize)
    stored.standardize.fit(x)
    stored.store_samples(x, y)
    torch.testing.assert_close(stored.stored(), x, equal_nan=True)
    assert stored.nearest_targets(x, 1)[:, 0].tolist() == [0, 1, 2, 3, 4] or z_normalize
    order = dtw_distances(stored.normalized(x), stored.normalized(x)).argsort(dim=1, stable=True)[:, :3]
    assert stored.nearest_targets(x, 3).tolist() == order.tolist()
    longer = torch.cat([x, torch.full((5, 6, 2), torch.nan)], 1)
    assert stored.nearest_targets(longer, 3).tolist() == order.tolist()
