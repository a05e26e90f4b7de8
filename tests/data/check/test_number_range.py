"""Numbers whose squares exceed float64: case table-huge-values and its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import snellen
from snellen.api import RunOptions
from snellen.core.errors import DataError


def write(path: Path, factor: float, target: float = 1.0) -> Path:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 10, 200), rng.uniform(0, 100, 200)
    y = (3 * a - b / 10 + rng.normal(0, 0.3, 200)) * target
    rows = [f"{p * factor!r},{q!r},{t!r}" for p, q, t in zip(a.tolist(), b.tolist(), y.tolist(), strict=True)]
    path.write_text("a,b,y\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("factor", [1e300, 1e160, 1e-300])
def test_columns_out_of_range_are_refused_with_line_and_value(factor: float, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.csv, line \d+: column 'a' is \d\.\d+e[+-]\d+"):
        snellen.dataset(write(tmp_path / "rows.csv", factor))


def test_targets_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="target 'y'"):
        snellen.dataset(write(tmp_path / "rows.csv", 1.0, 1e200))


@pytest.mark.learning
@pytest.mark.parametrize("factor", [1e100, 1e40, 1.0, 1e-40, 1e-100])
@pytest.mark.parametrize("model", ["mlp", "least-squares", "ridge"])
def test_the_unit_of_a_column_does_not_change_the_result(
    model: str, factor: float, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    path = write(tmp_path / "rows.csv", factor)
    more = {"epochs": 100} if model == "mlp" else {}
    run = snellen.train(path, model, out=tmp_path / "run", options=RunOptions(device="cpu", report=False), **more)
    assert_score(run.metrics["R2"].value, above=0.95)
