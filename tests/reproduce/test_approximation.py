"""B22: the table of universal approximation."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from snellen.reproduce import TABLES, approximation
from snellen.reproduce.mlp_ensemble import Recipe
from snellen.reproduce.result import Result, load_result, resolve_options, run, verdicts
from snellen.reproduce.table import MeasureOptions

TABLE = TABLES["approximation"]


def run_result(**options: Any) -> Result:
    return run(TABLE, resolve_options(TABLE, MeasureOptions(device="cpu", **options)), "here")


def test_a_quick_run_compares_the_networks_that_its_rows_name(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[approximation.Trial] = []

    def errors(trial: approximation.Trial, options: MeasureOptions) -> list[float]:
        trained.append(trial)
        return [trial.depth + 1 / trial.width + seed for seed in range(options.seeds)]

    monkeypatch.setattr(approximation, "trained_errors", errors)
    result = run_result(quick=True)
    assert len(set(trained)) == len(trained) == 36  # functions × activations × depths × widths
    row_verdicts = verdicts(TABLE, result)
    assert set(row_verdicts) == set(result.rows)
    assert {row_verdicts[approximation.interpolation_row(pieces)] for pieces in approximation.PIECES} == {"match"}
    row = result.rows["sin πx, ReLU, 2 layers: error of 2 units less that of 8"]
    assert row.value == pytest.approx(1 / 2 - 1 / 8)
    assert row.over == "5 seeds, medians 4.5 and 4.125"
    assert (row.scaled, row.deviations) == (True, ("100 epochs",))
    assert result.rows["sin 3πx, sigmoid, 8 units: error of 1 layer less that of 2"].value == pytest.approx(-1)
    full = run_result(seeds=5)
    claims = {name: verdict for name, verdict in verdicts(TABLE, full).items() if "interpolation" not in name}
    assert {verdict for name, verdict in claims.items() if "units less" in name} == {"match"}
    assert {verdict for name, verdict in claims.items() if "less that of 2" in name and "layer l" in name} == {
        "not reproduced"
    }


def test_a_network_is_trained_on_the_function_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximation, "RECIPE", Recipe(epochs=100, batch_size=64, lr=0.02))
    options = MeasureOptions(seeds=3, device="cpu")
    medians = [
        statistics.median(approximation.trained_errors(approximation.Trial("sin πx", "relu", 1, width), options))
        for width in (1, 32)
    ]
    assert medians[1] < 0.8 * medians[0], medians


def test_the_stored_result_shows_that_the_error_of_one_layer_falls_with_the_width() -> None:
    result = load_result(TABLE)
    assert result is not None
    assert result.seeds >= 5
    assert not result.quick
    row_verdicts = verdicts(TABLE, result)
    for name in ("sigmoid", "ReLU"):
        for before, after in ((2, 8), (8, 32)):
            row = f"sin πx, {name}, 1 layer: error of {before} units less that of {after}"
            assert row_verdicts[row] == "match", row
