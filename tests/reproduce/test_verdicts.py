"""Verdicts on measured values, their intervals, and storage of results."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import scipy.stats

from snellen.core.errors import DataError, EnvironmentProblem, Stopped, UsageError
from snellen.reproduce import TABLES
from snellen.reproduce.result import (
    Result,
    comparison_rows,
    load_result,
    provenance,
    resolve_options,
    run,
    save_result,
    verdicts,
)
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedValue,
    TableRow,
    claim_above,
    format_value,
    mean_over_seeds,
    measure_or_skip,
    not_run,
    prediction_interval,
    printed_range,
    printed_value,
    verdict,
)

PRINTED = printed_value("96.8", "[lecture] 004")
CLAIM = claim_above(0, "[lecture] 003")
OPTIMIZERS = TABLES["optimizers"]


def measured(value: float, half: float = 0.0) -> Measurement:
    return Measurement(value=value) if not half else Measurement(value=value, low=value - half, high=value + half)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("96.8", 96.75, 96.85),
        ("61,706", 61705.5, 61706.5),
        ("9e20", 8.5e20, 9.5e20),
        ("-5321.83", -5321.835, -5321.825),
    ],
)
def test_values_that_round_to_a_printed_value_match(text: str, low: float, high: float) -> None:
    value_range = printed_value(text, "here")
    assert (value_range.low, value_range.high) == pytest.approx((low, high), rel=1e-12)
    assert value_range.text == text


@pytest.mark.parametrize(
    ("printed", "measurement", "expected"),
    [
        (PRINTED, measured(96.84), "match"),
        (PRINTED, measured(96.84, 0.001), "match"),
        (PRINTED, measured(96.91, 0.35), "within interval"),
        (PRINTED, measured(96.50, 0.35), "within interval"),
        (PRINTED, measured(96.91, 0.01), "not reproduced"),
        (PRINTED, measured(96.91), "not reproduced"),
        (PRINTED, measured(97.21, 0.35), "not reproduced"),
        (PRINTED, dataclasses.replace(measured(96.8), scaled=True), "scaled down"),
        (PRINTED, not_run("no data"), "not run"),
        (PRINTED, None, "not run"),
        (CLAIM, measured(2.7, 0.3), "match"),
        (CLAIM, measured(2.7), "match"),
        (CLAIM, measured(0.2, 0.3), "undecided"),
        (CLAIM, measured(-0.2, 0.3), "undecided"),
        (CLAIM, measured(-0.2, 0.1), "not reproduced"),
        (printed_value("-5321.83", "here"), measured(268.9, 6761), "undecided"),  # a ninth-degree polynomial's
        (printed_value("0.31", "here"), measured(0.31, 0.32), "undecided"),  # as near by luck
        (printed_value("0.31", "here"), measured(0.31, 0.30), "match"),
        (printed_value("0.31", "here"), measured(0.50, 0.30), "within interval"),
        (printed_value("0.0", "here"), measured(0.2, 0.3), "undecided"),
        (printed_value("0", "here"), measured(0.0), "match"),
        (printed_range("94", "98", "here"), measured(98.4, 0.3), "match"),
        (printed_range("94", "98", "here"), measured(98.6, 0.3), "within interval"),
        (printed_range("94", "98", "here"), measured(98.9, 0.3), "not reproduced"),
        (printed_range("94", "98", "here"), measured(93.1, 0.3), "not reproduced"),
    ],
)
def test_each_verdict(printed: PublishedValue, measurement: Measurement | None, expected: str) -> None:
    assert verdict(TableRow(name="a", published=printed), measurement) == expected


@pytest.mark.parametrize("make", [mean_over_seeds, prediction_interval])
@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_fewer_than_five_seeds_give_no_verdict(make: Callable[[list[float]], Measurement], count: int) -> None:
    """Neither "not reproduced" of one seed, nor "within" the wide interval of two."""
    row = TableRow(name="a", published=printed_value("96.8", "[lecture] 004"))
    near = make([96.1 + 0.3 * seed for seed in range(count)])
    assert verdict(row, near) == ("within interval" if count == 5 else "too few seeds")
    exact = make([96.8 + 0.001 * seed for seed in range(count)])
    assert verdict(row, exact) == ("match" if count == 5 else "too few seeds")
    assert verdict(row, dataclasses.replace(near, scaled=True)) == "scaled down"


def test_the_width_of_an_interval_is_shown() -> None:
    result = dataclasses.replace(run_result(), rows={OPTIMIZERS.rows[0].name: mean_over_seeds([1.0, 2, 3, 4, 5])})
    assert "(width 3.926)" in comparison_rows(OPTIMIZERS, result)[0][3]  # 2 · 2.776 · √(2.5 / 5)


@pytest.mark.parametrize("count", [2, 5, 40])
def test_the_interval_over_seeds_is_that_of_scipy(count: int) -> None:
    each = [random.Random(seed).gauss(3, 2) for seed in range(count)]
    measurement = mean_over_seeds(each)
    oracle = scipy.stats.t.interval(0.95, count - 1, loc=statistics.fmean(each), scale=scipy.stats.sem(each))
    assert (measurement.low, measurement.high) == pytest.approx(oracle, rel=1e-9)
    assert measurement.over == f"{count} seeds"
    assert measurement.each == (tuple(each) if count < 30 else ())


def test_a_further_draw_is_in_the_prediction_interval_with_95_percent_probability() -> None:
    rng = random.Random(0)
    hits = 0
    for _ in range(2000):
        measurement = prediction_interval([rng.gauss(0, 1) for _ in range(6)])
        assert measurement.low is not None
        assert measurement.high is not None
        hits += measurement.low <= rng.gauss(0, 1) <= measurement.high
    assert 0.935 < hits / 2000 < 0.965  # three standard errors about 0.95


def test_one_seed_has_no_interval() -> None:
    assert mean_over_seeds([4.0]) == Measurement(value=4.0, each=(4.0,))
    assert prediction_interval([4.0]) == Measurement(value=4.0, each=(4.0,))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (61706.0, "61,706"),
        (9.5349e20, "9.535e+20"),
        (-0.02567, "-0.02567"),
        (96.91, "96.91"),
        (1.0, "1"),
    ],
)
def test_values_are_formatted_with_four_significant_digits(value: float, text: str) -> None:
    assert format_value(value) == text


def test_an_error_is_a_reason_of_a_row_but_a_signal_ends_the_table() -> None:
    def raises(error: Exception) -> Measurement:
        raise error

    assert measure_or_skip(lambda: raises(UsageError("No model is called x", "Take y."))) == not_run(
        "No model is called x"
    )
    with pytest.raises(Stopped):
        measure_or_skip(lambda: raises(Stopped("stopped", signal=2)))
    with pytest.raises(ZeroDivisionError):
        measure_or_skip(lambda: measured(1 / 0))


def run_result() -> Result:
    return run(OPTIMIZERS, resolve_options(OPTIMIZERS, MeasureOptions()), "snellen reproduce optimizers")


def test_a_result_has_its_provenance_and_is_read_back(tmp_path: Path) -> None:
    row_counts: list[int] = []
    result = run(
        OPTIMIZERS,
        resolve_options(OPTIMIZERS, MeasureOptions(seeds=1)),
        "words",
        lambda part: row_counts.append(len(part.rows)),
    )
    assert row_counts == [1, 2, 3, 4, 5]  # the result can be stored after each row
    save_result(result, tmp_path)
    assert load_result(OPTIMIZERS, tmp_path) == result
    assert (result.table, result.seeds, result.device, result.command) == ("optimizers", 1, "cpu", "words")
    assert set(result.hardware) == {"processor", "cores", "memory"}
    assert set(result.versions) == {"python", "snellen", "torch", "numpy"}
    assert all(row.seconds >= 0 for row in result.rows.values())
    lines = provenance(OPTIMIZERS, result)
    assert "; seed 0; cpu" in lines[-1]
    assert result.commit in lines[-1]
    assert "; seeds 0 … 4; " in provenance(OPTIMIZERS, dataclasses.replace(result, seeds=5))[-1]


def test_the_commit_is_that_of_the_checkout_or_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.reproduce import result

    package = tmp_path / "src" / "snellen" / "reproduce"
    package.mkdir(parents=True)
    monkeypatch.setattr(result, "__file__", str(shutil.copy(result.__file__, package)))
    assert result.commit().startswith("version ")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        assert result.subprocess.run([*git, *words], cwd=tmp_path).returncode == 0
    clean = result.commit()
    assert len(clean) == 12
    (package / "results").mkdir()
    (package / "results" / "a.json").write_text("{}")
    assert result.subprocess.run([*git, "add", "."], cwd=tmp_path).returncode == 0
    assert result.commit() == clean  # results are not part of the measuring code
    (package / "result.py").write_text("")
    assert result.commit() == clean + "+"


def test_rows_without_a_result_have_a_reason() -> None:
    units = TABLES["cifar10-units"]
    assert load_result(units) is None or set(verdicts(units, load_result(units)).values()) == {"not run"}
    assert set(verdicts(units, None).values()) == {"not run"}
    assert all(row[-1].startswith("needs CIFAR-10 and a GPU") for row in comparison_rows(units, None))
    assert provenance(units, None)[-1] == "measured: not run"


def test_a_damaged_result_or_one_of_another_table_is_an_error(tmp_path: Path) -> None:
    save_result(dataclasses.replace(run_result(), rows={"no such row": measured(1.0)}), tmp_path)
    with pytest.raises(DataError, match="no such row"):
        load_result(OPTIMIZERS, tmp_path)
    path = tmp_path / "optimizers.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        load_result(OPTIMIZERS, tmp_path)


def test_options_are_resolved_before_anything_is_measured() -> None:
    assert resolve_options(OPTIMIZERS, MeasureOptions()).device in ("cpu", "cuda", "mps")
    assert resolve_options(TABLES["curve-fit"], MeasureOptions(quick=True)).seeds == TABLES["curve-fit"].quick_seeds
    with pytest.raises((UsageError, EnvironmentProblem)):
        resolve_options(OPTIMIZERS, MeasureOptions(device="abacus"))
    with pytest.raises(UsageError, match="is deterministic"):
        resolve_options(OPTIMIZERS, MeasureOptions(seeds=2))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_value_has_a_source_and_every_stored_result_has_known_rows(name: str) -> None:
    table = TABLES[name]
    assert table.name == name
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    for row in table.rows:
        assert row.published.source.startswith(("[lecture] 0", "[paper] ", "[documentation] ")), row
        assert row.published.low <= row.published.high
    result = load_result(table)
    if result is not None:
        assert not re.search(r"(^|\s)/", " ".join([*result.hardware.values(), result.command]))  # no path of a machine
