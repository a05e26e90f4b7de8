"""N3: the image surface, networks trained in one batched product, and the table."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch

from snellen.core.random import permutation, seeded
from snellen.nn.layers import activation
from snellen.nn.mlp import MLP
from snellen.reproduce import TABLES, surface
from snellen.reproduce.image_surface import grid, intensity, standardised
from snellen.reproduce.mlp_ensemble import Recipe, fit, initial_ensemble, predict
from snellen.reproduce.result import Result, load_result, resolve_options, run, verdicts
from snellen.reproduce.table import MeasureOptions
from snellen.training.schedules import schedule

TABLE = TABLES["surface"]


def run_result(**options: Any) -> Result:
    return run(TABLE, resolve_options(TABLE, MeasureOptions(device="cpu", **options)), "here")


@pytest.mark.parametrize("activation_name", ["tanh", "relu", "sigmoid"])
def test_networks_trained_together_equal_each_trained_alone(activation_name: str) -> None:
    """The oracle is the package's MLP with PyTorch's Adam, one seed at a time, in float64."""
    x, y = standardised(7)  # 49 samples: the last batch is smaller
    recipe, seeds, sizes = Recipe(epochs=3, batch_size=20, lr=0.01), (0, 3, 4), (2, 6, 5, 1)
    ensemble = initial_ensemble(sizes, activation_name, seeds).double()
    fit(ensemble, x, y, seeds, recipe)
    outputs = predict(ensemble, x)
    assert outputs.shape == (3, 49, 1)
    rate = schedule("one-cycle", 9)
    for k, seed in enumerate(seeds):
        with seeded(seed, "reproduce", "mlp-ensemble", activation_name, *sizes):
            alone = MLP(sizes, "linear").double()
        alone.activation = activation(activation_name)
        adam = torch.optim.Adam(alone.parameters())
        step = itertools.count()
        for epoch in range(recipe.epochs):
            for batch in permutation(49, seed, "reproduce", "mlp-ensemble", epoch).split(20):
                adam.param_groups[0]["lr"] = 0.01 * rate(next(step))
                adam.zero_grad()
                torch.nn.functional.mse_loss(alone(x[batch]), y[batch]).backward()
                adam.step()
        torch.testing.assert_close(outputs[k], alone(x).detach(), rtol=1e-9, atol=1e-11)
    assert not torch.equal(outputs[0], outputs[1])


def test_the_image_has_edges_and_smooth_parts_and_is_standardised() -> None:
    points = grid(64)
    assert points[0].tolist() == [-1 + 1 / 64, 1 - 1 / 64]  # the first pixel is at the top left
    assert points[-1].tolist() == [1 - 1 / 64, -1 + 1 / 64]
    grey = intensity(points)
    assert 0 <= float(grey.min()) < float(grey.max()) <= 1
    steps = np.abs(np.diff(grey.reshape(64, 64).numpy(), axis=1))
    assert np.quantile(steps, 0.9) < 0.02  # smooth nearly everywhere
    assert steps.max() > 0.4  # the edges of the house
    x, y = standardised(64)
    assert x.shape == (4096, 2)
    np.testing.assert_allclose((y.mean(), y.var(correction=0)), (0, 1), atol=1e-12)
    expected = (grey.numpy() - grey.numpy().mean()) / grey.numpy().std()
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize(("hidden", "weights"), list(zip(surface.PRINTED, (501, 501, 477, 541, 837), strict=True)))
def test_the_networks_have_the_published_number_of_weights(hidden: tuple[int, ...], weights: int) -> None:
    by_hand = sum((a + 1) * b for a, b in itertools.pairwise((2, *hidden, 1)))
    ensemble = initial_ensemble((2, *hidden, 1), "tanh", range(3))
    alone = MLP((2, *hidden, 1), "tanh")
    assert ensemble.num_weights() == by_hand == sum(p.numel() for p in alone.parameters()) == weights
    assert surface.PRINTED[hidden][0] == str(weights)


def test_the_loss_of_a_constant_is_one_and_its_square() -> None:
    """The mean of (b − y)² over grey values y of mean 0 and variance 1 is 1 + b²."""
    ensemble = initial_ensemble((2, 3, 1), "tanh", range(3))
    for parameter in ensemble.parameters():
        torch.nn.init.zeros_(parameter)
    ensemble.biases[-1].data[:, 0, 0] = torch.tensor([0.0, -0.5, 2.0])
    losses = surface.final_losses(ensemble, MeasureOptions(device="cpu", quick=True))
    assert losses == pytest.approx([1, 1.25, 5], rel=1e-5)


def test_a_quick_run_is_scaled_down_except_for_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "QUICK_SIDE", 12)
    monkeypatch.setattr(surface, "QUICK_RECIPE", Recipe(epochs=2, batch_size=64, lr=0.003))
    result = run_result(quick=True)
    row_verdicts = verdicts(TABLE, result)
    assert set(row_verdicts) == set(result.rows)
    for row, verdict in row_verdicts.items():
        assert verdict == ("match" if row.endswith("weights") else "scaled down"), row
    row = result.rows["20-20, loss"]
    assert row.deviations == ("12×12 pixels, 2 epochs",)
    assert row.over == f"5 seeds, median {statistics.median(row.each):.4g}"
    losses = {hidden: result.rows[f"{surface.label(hidden)}, loss"].each for hidden in surface.PRINTED}
    medians = [statistics.median(values) for values in losses.values()]
    assert result.rows[surface.ORDER].value == sum(b < a for a, b in itertools.pairwise(medians))
    assert result.rows[surface.RATIO].each == pytest.approx(
        [a / b for a, b in zip(losses[125,], losses[20, 20], strict=True)]
    )
    # Two seeds of a full measurement would have no verdict.
    few = {name: dataclasses.replace(row, each=row.each[:2], scaled=False) for name, row in result.rows.items()}
    few_verdicts = verdicts(TABLE, dataclasses.replace(result, rows=few))
    assert {few_verdicts[row] for row in few if not row.endswith("weights")} == {"too few seeds"}


def test_the_stored_result_is_of_at_least_five_seeds_and_holds_the_claims_of_the_lecture() -> None:
    result = load_result(TABLE)
    assert result is not None
    assert result.seeds >= 5
    assert not result.quick
    row_verdicts = verdicts(TABLE, result)
    for hidden in surface.PRINTED:
        assert row_verdicts[f"{surface.label(hidden)}, weights"] == "match"
        assert len(result.rows[f"{surface.label(hidden)}, loss"].each) == result.seeds
    assert row_verdicts[surface.ORDER] == "match"
    assert row_verdicts[surface.RATIO] in ("match", "within interval")
    # The published ratio is that of the printed losses.
    assert math.isclose(0.24 / 0.0831, 2.9, abs_tol=0.05)
