"""`snellen reproduce`: the list, a run, what is kept, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import said

from snellen.reproduce import TABLES


def test_without_a_name_it_lists_the_tables_and_how_they_came_out() -> None:
    done = said(["reproduce"])
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(TABLES)
    assert "3 within interval" in next(line for line in lines if line.startswith("initialisation"))
    assert "12 not run" in next(line for line in lines if line.startswith("imagenet-resnext"))
    as_json = said(["reproduce", "--json"]).lines
    assert [line["table"] for line in as_json] == list(TABLES)
    assert as_json[-1]["verdicts"] == {"not run": 12}


def test_with_a_name_it_tells_the_time_runs_and_shows_both_figures() -> None:
    done = said(["reproduce", "optimizers", "--device", "cpu"])
    assert done.code == 0
    assert done.err == "optimizers: 1 seed on cpu, about 0 ms\n"
    assert done.out.startswith("N10: the first step of the optimizers\npublished: ")
    row = next(line for line in done.out.splitlines() if line.startswith("Adam as on the slide"))
    assert row.split()[-5:] == ["3.162", "match", "[lecture]", "002,", "computed"]


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("csv", "row,published,measured,verdict,published in"),
        ("markdown", "| row | published | measured | verdict |"),
        ("latex", "\\begin{tabular}{lllll}"),
    ],
)
def test_the_table_comes_in_every_form(form: str, start: str) -> None:
    done = said(["reproduce", "optimizers", "--device", "cpu", "--format", form])
    assert done.code == 0
    assert done.out.startswith(start)


def test_as_json_every_row_stands_alone() -> None:
    done = said(["reproduce", "initialisation", "--seeds", "3", "--device", "cpu", "--json"])
    assert (done.code, done.err) == (0, "")
    rows = done.lines
    assert len(rows) == 3
    for row in rows:
        assert row["table"] == "initialisation"
        assert row["published"]["source"] == "[lecture] 002, computed"
        assert row["verdict"] in ("within interval", "match", "not reproduced")
        assert row["seeds"] == len(row["measured"]["each"]) == 3
        assert row["hardware"]["cores"].isdigit()


def test_what_was_measured_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    done = said(["reproduce", "optimizers", "--device", "cpu", "--out", str(folder)])
    assert done.code == 0
    assert f"kept: {folder / 'optimizers.json'}" in done.err
    kept = json.loads((folder / "optimizers.json").read_text())
    assert set(kept["rows"]) == {row.name for row in TABLES["optimizers"].rows}
    assert sorted(folder.iterdir()) == [folder / "optimizers.json"]


def test_a_stored_result_is_shown_without_running(monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.reproduce import result

    monkeypatch.setattr(result, "run", lambda *_: pytest.fail("it ran"))
    done = said(["reproduce", "initialisation", "imagenet-resnext", "--stored"])
    assert (done.code, done.err) == (0, "")
    assert "measured: 20" in done.out
    assert "measured: not run" in done.out
    assert "needs ImageNet" in done.out


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["optimisers"], "Did you mean optimizers"),
        (["optimizers", "--device", "abacus"], "No device is called 'abacus'"),
        (["optimizers", "--seeds", "0"], "at least 1"),
        (["optimizers", "--seeds", "2"], "draws nothing"),
        (["optimizers", "--save", "a"], "--save"),
    ],
)
def test_what_cannot_be_is_told_in_two_lines(words: list[str], cause: str) -> None:
    done = said(["reproduce", *words])
    assert done.code == 2
    assert cause in done.err
    assert done.out == ""


def test_a_table_that_is_stopped_keeps_the_rows_that_were_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.core.errors import Stopped
    from snellen.data.open_dataset import assemble
    from snellen.data.synthetic.toys import digits
    from snellen.reproduce import mnist, training

    def train(*given: object, k: int = 0, **settings: object) -> object:
        if k == 5:
            raise Stopped("Stopped by SIGTERM", "Go on.", signal=15)
        return trained(*given, k=k, **settings)

    trained = training.train
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(mnist, "dataset", lambda name: assemble(digits(0), name, 0, None))
    done = said(["reproduce", "mnist", "--device", "cpu", "--out", str(tmp_path)])
    assert done.code == 143
    assert "knn was stopped" in done.err
    assert "Rows that were done are kept" in done.err
    assert list(json.loads((tmp_path / "mnist.json").read_text())["rows"]) == ["k-NN, k = 1", "k-NN, k = 3"]
