"""Numbers that stand for missing values in tables and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snellen


@pytest.mark.parametrize(
    ("low", "high", "value", "doubted"),
    [(1, 99, -999, True), (0, 1, -9999, True), (0, 1, 99, True), (-2000, 2000, -999, False), (0, 98, 99, False)],
)
def test_values_far_outside_a_column_are_doubted(
    low: float, high: float, value: float, doubted: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(low, high, (100, 2))
    x[::10, 0] = value
    rows = [f"{a:.4f},{b:.4f},{'yn'[k % 2]}" for k, (a, b) in enumerate(x.tolist())]
    (tmp_path / "rows.csv").write_text("a,b,label\n" + "\n".join(rows) + "\n")
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(100) % 2)
    for name in ("rows.csv", "rows.npz"):
        found = [finding for finding in snellen.dataset(tmp_path / name).findings if finding.kind == "sentinel"]
        assert bool(found) == doubted
        if doubted:
            assert f"{value:g} in 10 rows" in found[0].message
            assert "--impute" in found[0].remedy
