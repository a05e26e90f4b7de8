"""What is said of a measured figure, the intervals it is said by, and how results are kept."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
import statistics
from pathlib import Path

import pytest
import scipy.stats

from snellen.core.errors import DataError, EnvironmentProblem, Stopped, UsageError
from snellen.reproduce import TABLES
from snellen.reproduce.result import Result, compared, run, settled, store, stored, story, verdicts
from snellen.reproduce.table import (
    How,
    Measured,
    Published,
    Row,
    above,
    between,
    figure,
    not_run,
    of_draws,
    over_seeds,
    tried,
    verdict,
    written,
)

PRINTED = figure("96.8", "[lecture] 004")
CLAIM = above(0, "[lecture] 003")
OPTIMIZERS = TABLES["optimizers"]


def measured(value: float, half: float = 0.0) -> Measured:
    return Measured(value=value) if not half else Measured(value=value, low=value - half, high=value + half)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("96.8", 96.75, 96.85),
        ("61,706", 61705.5, 61706.5),
        ("9e20", 8.5e20, 9.5e20),
        ("-5321.83", -5321.835, -5321.825),
    ],
)
def test_a_printed_figure_is_all_that_rounds_to_it(text: str, low: float, high: float) -> None:
    made = figure(text, "here")
    assert (made.low, made.high) == pytest.approx((low, high), rel=1e-12)
    assert made.text == text


@pytest.mark.parametrize(
    ("printed", "found", "said"),
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
        (CLAIM, measured(0.2, 0.3), "within interval"),
        (CLAIM, measured(-0.2, 0.3), "within interval"),
        (CLAIM, measured(-0.2, 0.1), "not reproduced"),
        (between("94", "98", "here"), measured(98.4, 0.3), "match"),
        (between("94", "98", "here"), measured(98.6, 0.3), "within interval"),
        (between("94", "98", "here"), measured(98.9, 0.3), "not reproduced"),
        (between("94", "98", "here"), measured(93.1, 0.3), "not reproduced"),
    ],
)
def test_every_verdict_is_given_where_it_is_due(printed: Published, found: Measured | None, said: str) -> None:
    assert verdict(Row(name="a", published=printed), found) == said


@pytest.mark.parametrize("count", [2, 5, 40])
def test_the_interval_over_seeds_is_that_of_scipy(count: int) -> None:
    each = [random.Random(seed).gauss(3, 2) for seed in range(count)]
    found = over_seeds(each)
    oracle = scipy.stats.t.interval(0.95, count - 1, loc=statistics.fmean(each), scale=scipy.stats.sem(each))
    assert (found.low, found.high) == pytest.approx(oracle, rel=1e-9)
    assert found.over == f"{count} seeds"
    assert found.each == (tuple(each) if count < 30 else ())


def test_a_further_draw_lies_in_its_interval_19_times_in_20() -> None:
    drawn = random.Random(0)
    hits = 0
    for _ in range(2000):
        found = of_draws([drawn.gauss(0, 1) for _ in range(6)])
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= drawn.gauss(0, 1) <= found.high
    assert 0.935 < hits / 2000 < 0.965  # three standard errors about 0.95


def test_one_seed_has_no_interval() -> None:
    assert over_seeds([4.0]) == Measured(value=4.0, each=(4.0,))
    assert of_draws([4.0]) == Measured(value=4.0, each=(4.0,))


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
def test_figures_are_written_with_the_digits_that_tell_them_apart(value: float, text: str) -> None:
    assert written(value) == text


def test_what_cannot_be_run_is_a_row_but_a_signal_ends_the_table() -> None:
    def raises(error: Exception) -> Measured:
        raise error

    assert tried(lambda: raises(UsageError("No model is called x", "Take y."))) == not_run("No model is called x")
    with pytest.raises(Stopped):
        tried(lambda: raises(Stopped("stopped", signal=2)))
    with pytest.raises(ZeroDivisionError):
        tried(lambda: measured(1 / 0))


def ran() -> Result:
    return run(OPTIMIZERS, settled(OPTIMIZERS, How()), "snellen reproduce optimizers")


def test_a_result_knows_how_it_came_about_and_reads_back(tmp_path: Path) -> None:
    seen: list[int] = []
    result = run(OPTIMIZERS, settled(OPTIMIZERS, How(seeds=1)), "words", lambda part: seen.append(len(part.rows)))
    assert seen == [1, 2, 3, 4, 5]  # it can be kept after each row
    store(result, tmp_path)
    assert stored(OPTIMIZERS, tmp_path) == result
    assert (result.table, result.seeds, result.device, result.command) == ("optimizers", 1, "cpu", "words")
    assert set(result.hardware) == {"processor", "cores", "memory"}
    assert set(result.versions) == {"python", "snellen", "torch", "numpy"}
    assert all(row.seconds >= 0 for row in result.rows.values())
    lines = story(OPTIMIZERS, result)
    assert "; seed 0; cpu" in lines[-1]
    assert result.commit in lines[-1]
    assert "; seeds 0 … 4; " in story(OPTIMIZERS, dataclasses.replace(result, seeds=5))[-1]


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
    assert result.commit() == clean  # results are no part of what was measured
    (package / "result.py").write_text("")
    assert result.commit() == clean + "+"


def test_rows_without_a_result_say_why() -> None:
    units = TABLES["cifar10-units"]
    assert stored(units) is None or set(verdicts(units, stored(units)).values()) == {"not run"}
    assert set(verdicts(units, None).values()) == {"not run"}
    assert all(row[-1].startswith("needs CIFAR-10 and a GPU") for row in compared(units, None))
    assert story(units, None)[-1] == "measured: not run"


def test_a_result_that_is_damaged_or_of_another_table_is_refused(tmp_path: Path) -> None:
    store(dataclasses.replace(ran(), rows={"no such row": measured(1.0)}), tmp_path)
    with pytest.raises(DataError, match="no such row"):
        stored(OPTIMIZERS, tmp_path)
    path = tmp_path / "optimizers.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        stored(OPTIMIZERS, tmp_path)


def test_devices_are_settled_before_anything_is_measured() -> None:
    assert settled(OPTIMIZERS, How()).device in ("cpu", "cuda", "mps")
    assert settled(TABLES["curve-fit"], How(quick=True)).seeds == TABLES["curve-fit"].few
    with pytest.raises((UsageError, EnvironmentProblem)):
        settled(OPTIMIZERS, How(device="abacus"))
    with pytest.raises(UsageError, match="draws nothing"):
        settled(OPTIMIZERS, How(seeds=2))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_figure_has_a_source_and_every_kept_result_is_of_rows_that_there_are(name: str) -> None:
    table = TABLES[name]
    assert table.name == name
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    for row in table.rows:
        assert row.published.source.startswith(("[lecture] 0", "[paper] ")), row
        assert row.published.low <= row.published.high
    result = stored(table)
    if result is not None:
        assert not re.search(r"(^|\s)/", " ".join([*result.hardware.values(), result.command]))  # no path of a machine
