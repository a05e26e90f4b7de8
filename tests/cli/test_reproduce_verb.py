"""`snellen reproduce`: list, measurement, saved results, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import run_command

from snellen.reproduce import TABLES


def test_without_a_name_the_tables_and_verdicts_are_listed() -> None:
    result = run_command(["reproduce"])
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(TABLES)
    assert "3 within interval" in next(line for line in lines if line.startswith("initialisation"))
    assert "12 not run" in next(line for line in lines if line.startswith("imagenet-resnext"))
    as_json = run_command(["reproduce", "--json"]).lines
    assert [line["table"] for line in as_json] == list(TABLES)
    assert as_json[-1]["verdicts"] == {"not run": 12}


def test_a_table_is_measured_with_time_estimate_and_both_values() -> None:
    result = run_command(["reproduce", "optimizers", "--device", "cpu"])
    assert result.code == 0
    assert result.err == "optimizers: 1 seed on cpu, about 0 ms\n"
    assert result.out.startswith("N10: length of the first step of the optimizers\npublished: ")
    row = next(line for line in result.out.splitlines() if line.startswith("Adam as on the slide"))
    assert row.split()[-5:] == ["3.162", "match", "[lecture]", "002,", "computed"]


@pytest.mark.parametrize(
    ("table_format", "start"),
    [
        ("csv", "row,published,measured,verdict,published in"),
        ("markdown", "| row | published | measured | verdict |"),
        ("latex", "\\begin{tabular}{lllll}"),
    ],
)
def test_table_formats(table_format: str, start: str) -> None:
    result = run_command(["reproduce", "optimizers", "--device", "cpu", "--format", table_format])
    assert result.code == 0
    assert result.out.startswith(start)


def test_json_has_one_complete_line_per_row() -> None:
    result = run_command(["reproduce", "initialisation", "--seeds", "3", "--device", "cpu", "--json"])
    assert (result.code, result.err) == (0, "")
    rows = result.lines
    assert len(rows) == 3
    for row in rows:
        assert row["table"] == "initialisation"
        assert row["published"]["source"] == "[lecture] 002, computed"
        assert row["verdict"] == "too few seeds"
        assert row["seeds"] == len(row["measured"]["each"]) == 3
        assert row["hardware"]["cores"].isdigit()


def test_out_saves_the_result(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    result = run_command(["reproduce", "optimizers", "--device", "cpu", "--out", str(folder)])
    assert result.code == 0
    assert f"saved: {folder / 'optimizers.json'}" in result.err
    saved = json.loads((folder / "optimizers.json").read_text())
    assert set(saved["rows"]) == {row.name for row in TABLES["optimizers"].rows}
    assert sorted(folder.iterdir()) == [folder / "optimizers.json"]


def test_stored_shows_the_result_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.reproduce import result as result_module

    monkeypatch.setattr(result_module, "run", lambda *_: pytest.fail("it ran"))
    result = run_command(["reproduce", "initialisation", "imagenet-resnext", "--stored"])
    assert (result.code, result.err) == (0, "")
    assert "measured: 20" in result.out
    assert "measured: not run" in result.out
    assert "needs ImageNet" in result.out


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["optimisers"], "Did you mean optimizers"),
        (["optimizers", "--device", "abacus"], "Unknown device 'abacus'"),
        (["optimizers", "--seeds", "0"], "at least 1"),
        (["optimizers", "--seeds", "2"], "is deterministic"),
        (["optimizers", "--save", "a"], "--save"),
        (["surface", "--stored", "--seeds", "3"], "--seeds does not apply to --stored"),
        (["--stored", "--out", "a"], "--out does not apply to --stored"),
        (["--quick"], "--quick does not apply without the NAME"),
    ],
)
def test_errors_name_the_cause(arguments: list[str], cause: str) -> None:
    result = run_command(["reproduce", *arguments])
    assert result.code == 2
    assert cause in result.err
    assert result.out == ""


def test_an_interrupted_table_keeps_the_measured_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.core.errors import Stopped
    from snellen.data.open_dataset import assemble
    from snellen.data.synthetic.toys import digits
    from snellen.reproduce import mnist, training

    def train(*positional: object, k: int = 0, **settings: object) -> object:
        if k == 5:
            raise Stopped("Stopped by SIGTERM", "Go on.", signal=15)
        return original_train(*positional, k=k, **settings)

    original_train = training.train
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(mnist, "dataset", lambda name: assemble(digits(0), name, 0, None))
    result = run_command(["reproduce", "mnist", "--device", "cpu", "--out", str(tmp_path)])
    assert result.code == 143
    assert "knn was stopped" in result.err
    assert "Finished rows are stored" in result.err
    assert list(json.loads((tmp_path / "mnist.json").read_text())["rows"]) == ["k-NN, k = 1", "k-NN, k = 3"]
