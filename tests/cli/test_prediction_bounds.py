"""`predict` names predictions beyond a bound of the training targets, in messages and in JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from command import run_command

BELOW = "defect is below 0, the smallest value in training"


@pytest.fixture
def run(workdir: Path) -> str:
    """Least squares on a fraction that is 0 for a third of the rows, and at most once 0.98."""
    rows = "".join(f"{k},{k % 7},{max(0.0, (k - 50) / 100)}\n" for k in range(149))
    (workdir / "rows.csv").write_text(f"a,b,defect\n{rows}")
    (workdir / "new.csv").write_text("a,b\n-40,1\n80,2\n-10,3\n300,4\n")
    assert run_command(["train", "rows.csv", "--model", "least-squares", "--out", "run"]).code == 0
    return "run"


def test_predictions_beyond_a_bound_are_named_in_each_record_and_counted_once(run: str) -> None:
    result = run_command(["predict", run, "new.csv"])
    assert result.code == 0
    values = [line["defect"] for line in result.lines]
    assert [value < 0 for value in values] == [True, False, True, False]
    assert [line.get("warnings") for line in result.lines] == [[BELOW], None, [BELOW], None]
    (message,) = [line for line in result.err.splitlines() if "defect" in line]
    assert message.endswith(
        f"2 of 4 predictions of defect are below 0, the smallest value in training; the farthest is {values[0]:.4g}. "
        "If defect cannot be below 0, clip the predictions there."
    )


def test_csv_has_the_message_and_no_column_of_it(run: str) -> None:
    result = run_command(["predict", run, "new.csv", "--csv"])
    assert [list(row) for row in csv.DictReader(io.StringIO(result.out))] == [["input", "defect"]] * 4
    assert "2 of 4 predictions of defect are below 0" in result.err


def test_predictions_within_the_bounds_have_no_warning(run: str, workdir: Path) -> None:
    (workdir / "new.csv").write_text("a,b\n80,2\n300,4\n")
    result = run_command(["predict", run, "new.csv"])
    assert all("warnings" not in line for line in result.lines)
    assert "defect" not in result.err


def test_a_run_from_before_the_bounds_were_stored_predicts(run: str, workdir: Path) -> None:
    record = json.loads((workdir / run / "run.json").read_text())
    assert (record["spec"]["target"].pop("lowest"), record["spec"]["target"].pop("highest")) == ([0.0], [None])
    (workdir / run / "run.json").write_text(json.dumps(record))
    result = run_command(["predict", run, "new.csv"])
    assert result.code == 0
    assert all("warnings" not in line for line in result.lines)
