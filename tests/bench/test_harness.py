"""The harness on a workload that is nothing: what it reports, and what it refuses to compare."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"

SCRIPT = """
import sys
from pathlib import Path
from harness import Bar, Bench, main


def counting(answer, seconds=None):
    def make(options):
        print("a library that chatters")
        count = iter(range(100))
        def once():
            k = next(count)
            return lambda: {"answer": answer, "rounds": k, **({} if seconds is None else {"seconds": seconds})}
        return once
    return make


def broken(options):
    raise ImportError("no such peer")


BENCH = Bench(
    name="nothing", work="Nothing.", ours={"ours": counting(1.0, 2.0), "g: ours": counting(1.0, 2.0)},
    peers={"plain": counting(1.0, 4.0), "other": counting(2.0), "missing": broken, "limit": counting(0.0, 1.0)},
    bars=[Bar(ours="ours", peer="plain", max_value=0.6),
          Bar(ours="ours", peer="plain", max_value=-3.0, kind="difference"),
          Bar(ours="ours", max_value=2.5, kind="value"), Bar(ours="ours", peer="other", max_value=0.1)],
    same=lambda a, b: None if a["answer"] == b["answer"] else "the answer differs",
)

if __name__ == "__main__":
    main(BENCH, __file__)
"""


@pytest.fixture(scope="module")
def harness() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield importlib.import_module("harness")


@pytest.fixture(scope="module")
def result(harness: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a bench with a peer that agrees, one that does not, one that is not installed."""
    folder = tmp_path_factory.mktemp("nothing")
    script = folder / "nothing.py"
    script.write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(BENCH))
        patch.syspath_prepend(str(folder))
        bench = importlib.import_module("nothing").BENCH
        measured = harness.measure(bench, script, [*bench.ours, *bench.peers], 3, harness.Options())
    return {
        "entries": {row["name"]: row for row in harness.entry_rows(bench, measured)},
        "ratios": {row["peer"]: row for row in harness.compare(bench, measured)},
        "bars": harness.evaluate_bars(bench, measured),
    }


def test_a_ratio_is_ours_over_the_peer_and_the_limit_is_a_share(result: dict[str, Any]) -> None:
    assert result["ratios"]["plain"] | {"cpu_ratio": None} == {
        "ours": "ours",
        "peer": "plain",
        "ratio": 0.5,
        "low": 0.5,
        "high": 0.5,
        "cpu_ratio": None,
    }
    assert result["entries"]["plain"]["share_of_limit"] == 0.25
    assert result["entries"]["plain"]["peak_bytes"] > 0


def test_each_round_is_done_once_after_one_to_warm_up(result: dict[str, Any]) -> None:
    assert result["entries"]["plain"]["output"]["rounds"] == (1 + 2 + 3) / 3


def test_no_ratio_where_the_output_differs_or_the_peer_is_missing(result: dict[str, Any]) -> None:
    assert result["ratios"]["other"]["no_ratio"] == "the answer differs"
    assert result["ratios"]["missing"]["no_ratio"] == "ImportError: no such peer"
    assert result["entries"]["missing"]["not_run"] == "ImportError: no such peer"


def test_only_members_of_a_group_are_compared_and_never_the_limit(result: dict[str, Any]) -> None:
    assert set(result["ratios"]) == {"plain", "other", "missing"}


def test_bars_say_whether_they_are_reached_and_are_silent_where_the_output_differs(result: dict[str, Any]) -> None:
    said = [(bar["kind"], bar["value"], bar["reached"]) for bar in result["bars"]]
    assert said == [("ratio", 0.5, True), ("difference", -2.0, False), ("value", 2.0, True)]


def test_the_page_is_written_from_the_results(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any]
) -> None:
    table = importlib.import_module("table")
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    whole = {
        **harness.result_header("nothing", "Nothing.", 3, 1),
        "unit": "s",
        "entries": list(result["entries"].values()),
        "ratios": list(result["ratios"].values()),
        "bars": result["bars"],
    }
    for commit, load, other, verdict in (
        ("abc", 0.1, None, "**missed**"),
        ("abc", 1.2, 0.04, "**missed**"),  # after another benchmark
        ("abc+", 0.1, 0.0, "undecided: files differed from the commit"),
        ("abc", 0.6, None, "undecided: the machine was busy (load average 0.6 at the start)"),
        ("abc", 0.1, 0.6, "undecided: the machine was busy (other processes kept 0.6 cores busy)"),
    ):
        whole["commit"] = commit
        whole["hardware"] |= {"load_average": load, "other_load": other}
        (tmp_path / "nothing.json").write_text(json.dumps(whole))
        page = table.page()
        assert "| ours | plain | 0.50 | 0.50 – 0.50 |" in page
        assert "not run: ImportError" in page
        assert page.count(verdict) >= 1
        assert ("reached." in page) == (verdict == "**missed**")


def test_the_load_of_other_processes_is_measured_and_not_the_own(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, own, clock = [100.0], [7.0], [50.0]
    monkeypatch.setattr(harness.OtherLoad, "_busy", staticmethod(lambda: busy[0]))
    monkeypatch.setattr(harness.OtherLoad, "_own", staticmethod(lambda: own[0]))
    monkeypatch.setattr(harness.time, "monotonic", lambda: clock[0])
    other = harness.OtherLoad()
    busy[0], own[0], clock[0] = 115.0, 17.0, 60.0  # 15 s in 10 s, of which 10 s are the benchmark's
    assert other.cores() == 0.5
    busy[0] = None
    assert other.cores() is None


def test_each_row_of_accuracy_has_the_seeds_of_its_command(harness: Any) -> None:
    rows = json.loads((BENCH / "results" / "accuracy.json").read_text())["rows"]
    for row in rows:
        words = row["command"].split()
        given = dict(zip(words[2::2], words[3::2], strict=True))
        assert row["name"] in given.get("--learners", row["name"]).split(",")
        assert row["seeds"] == row["rounds"] == int(given.get("--seeds", 3)) == len(row["ours"]["each"])
        assert row["threads"] == int(given.get("--threads", 1))
    page = importlib.import_module("table").page().partition("## accuracy")[2].partition("\n## ")[0]
    for row in rows:
        (line,) = [line for line in page.splitlines() if f"`{row['command']}`" in line]
        assert row["name"] in line.partition(":")[0]
        assert f"| {row['name']} ({row['seeds']} seeds) |" in page


def test_the_page_of_benchmarks_is_that_of_the_results(harness: Any) -> None:
    table = importlib.import_module("table")
    assert table.PAGE.read_text(encoding="utf-8").rstrip("\n") == table.page().rstrip("\n")
