"""Every verb on small data: results on stdout, messages on stderr, in every form that is offered."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import pictures, said, two_classes

from snellen.cli import terminal
from snellen.cli.main import VERBS

ANSI = "\x1b"


@pytest.fixture(autouse=True)
def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_train_prints_figures_and_the_way_to_the_report(tmp_path: Path) -> None:
    words = ["train", "moons", "--model", "softmax", "--epochs", "1", "--out", str(tmp_path / "r")]
    done = said(words)
    assert done.code == 0
    assert re.search(r"^accuracy +[\d.]+ ± [\d.]+ %$", done.out, re.MULTILINE)
    assert f"report: {tmp_path / 'r' / 'report.html'}" in done.out
    assert "Which class is this?" in done.err
    assert "Which class is this?" not in done.out


def test_train_as_json_is_one_line_and_nothing_else(tmp_path: Path) -> None:
    done = said(["train", "moons", "--model", "softmax", "--epochs", "1", "--out", str(tmp_path / "r"), "--json"])
    (line,) = done.lines
    assert line["headline"] == "accuracy"
    assert line["metrics"]["accuracy"]["low"] < line["metrics"]["accuracy"]["value"]
    assert done.err == ""


def test_train_explains_every_setting(tmp_path: Path) -> None:
    done = said(["train", "moons", "--model", "softmax", "--epochs", "2", "--explain", "--out", str(tmp_path / "r")])
    assert re.search(r"--epochs +2 +given", done.err)
    assert re.search(r"--optimizer +adam +default", done.err)


def test_train_explains_the_size_that_pictures_are_read_at(tmp_path: Path) -> None:
    photos = two_classes(tmp_path / "photos")
    pictures(photos / "dark", [np.zeros((20, 18), np.uint8)])  # in the place of the first
    words = ["train", str(photos), "--model", "lda", "--explain", "--out", str(tmp_path / "r")]
    done = said(words)
    assert re.search(r"pictures +16x16 +23 of 24 pictures are 16x16 ", done.err)
    assert "note: the pictures have 2 sizes: 23 of 16x16, 1 of 18x20" in done.err
    assert "1 x any x any (usually 16 x 16)" in said(["data", str(photos)]).out


@pytest.mark.parametrize("form", ["text", "csv", "markdown", "latex"])
def test_tables_come_in_four_forms(form: str) -> None:
    for words in (["evaluate", "--format", form], ["list", "models", "--format", form]):
        done = said(words)
        assert done.code == 0
        if form == "csv":
            rows = list(csv.reader(io.StringIO(done.out)))
            assert {len(row) for row in rows} == {len(rows[0])}
        else:
            marks = {"text": r"^(metric|model) ", "markdown": r"^\| (metric|model) \|", "latex": r"\\begin\{tabular\}"}
            assert re.search(marks[form], done.out, re.MULTILINE)
    assert said(["data", "digits", "--format", form]).code == 0


def test_latex_and_csv_escape_what_they_must() -> None:
    latex = terminal.table(["a_b"], [["50 % & $x$ ± {1}"], ["\\"]], "latex")
    assert "50 \\% \\& \\$x\\$ $\\pm$ \\{1\\}" in latex
    assert "\\textbackslash{}" in latex
    assert list(csv.reader(io.StringIO(terminal.table(["a"], [['x,"y"\nz']], "csv")))) == [["a"], ['x,"y"\nz']]
    assert ANSI not in terminal.table(["a"], [["\x1b[31mred"]])


def test_evaluate_names_the_newest_run_on_stderr() -> None:
    done = said(["evaluate"])
    assert done.err == "run: runs/softmax-digits-1 (the newest)\n"
    assert "± 95 % over samples" in done.out
    (line,) = said(["evaluate", "runs/softmax-digits-1", "--split", "val", "--json"]).lines
    assert (line["split"], line["run"]) == ("val", "runs/softmax-digits-1")


def test_evaluate_on_other_data_needs_the_same_targets() -> None:
    assert said(["evaluate", "--data", "digits"]).code == 0
    done = said(["evaluate", "--data", "moons"])
    assert done.code == 3
    assert "moons" in done.err


def test_files_folders_globs_and_paths_on_stdin_get_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [f"photos/{k}.png" for k in range(3)]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(files) + "\n"))
    answers = [said(["predict", *words]).lines for words in (files, ["photos"], ["photos/*.png"], ["-"])]
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert [line["input"] for line in answers[0]] == files
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in answers[0])


def test_a_table_and_a_table_on_stdin_get_the_same_answers(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    run = "runs/least-squares-rows-1"
    monkeypatch.setattr("sys.stdin", io.StringIO((home / "rows.csv").read_text()))
    first, second = said(["predict", run, "rows.csv"]), said(["predict", run, "-"])
    assert first.lines == second.lines
    assert first.lines[9]["input"] == "row 10"
    assert first.lines[9]["height"] == pytest.approx(20.5, abs=0.01)


def test_csv_has_the_same_columns_in_every_row() -> None:
    rows = list(csv.reader(io.StringIO(said(["predict", "photos", "--csv"]).out)))
    assert rows[0] == ["input", "class", *(f"probabilities[{k}]" for k in range(10))]
    assert [len(row) for row in rows] == [12] * 4
    rows = list(csv.reader(io.StringIO(said(["predict", "runs/least-squares-rows-1", "rows.csv", "--csv"]).out)))
    assert (rows[0], len(rows)) == (["input", "height"], 61)


def test_good_files_are_answered_and_all_bad_ones_named(tmp_path: Path, home: Path) -> None:
    bad = [tmp_path / f"bad{k}.png" for k in range(7)]
    for path in bad:
        path.write_bytes(b"")
    done = said(["predict", *map(str, bad[:4]), "photos/0.png", *map(str, bad[4:])])
    assert done.code == 3
    assert [line["input"] for line in done.lines] == ["photos/0.png"]
    assert all(f"{path}: has 0 bytes" in done.err for path in bad)


def test_predict_draws(tmp_path: Path) -> None:
    assert said(["predict", "photos", "--draw", str(tmp_path / "drawn")]).code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [f"{k}.png.png" for k in range(3)]
    done = said(["predict", "runs/least-squares-rows-1", "rows.csv", "--draw", str(tmp_path / "none")])
    assert done.code == 2
    assert not (tmp_path / "none").exists()


def test_report_prints_the_path_of_the_page(home: Path) -> None:
    page = home / "runs" / "softmax-digits-1" / "report.html"
    page.unlink()
    assert said(["report"]).out == "runs/softmax-digits-1/report.html\n"
    assert page.stat().st_size > 10_000


def test_list_and_doctor_as_json() -> None:
    lines = said(["list", "--json"]).lines
    assert {line["list"] for line in lines} == {"tasks", "models", "data"}
    assert {"softmax", "least-squares"} <= {line.get("model") for line in lines}
    (facts,) = said(["doctor", "--json"]).lines
    assert facts["torch"]
    assert "torch" in said(["doctor"]).out


def test_data_says_what_it_found_and_what_is_wrong(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "pictures")
    (folder / "dark" / "red\x1b[31m.png").write_bytes((folder / "dark" / "0.png").read_bytes())
    done = said(["data", str(folder)])
    assert done.code == 0
    assert ANSI not in done.out
    assert "1 exact copies" in done.out
    (line,) = said(["data", str(folder), "--json"]).lines
    assert line["spec"]["sizes"]["train"] > 10
    assert "copies" in {finding["kind"] for finding in line["findings"]}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("get", "ladder")])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from snellen.cli.main import main

    with contextlib.suppress(SystemExit):
        main([verb, "--help"])
    assert f"snellen {verb}" in capsys.readouterr().out


def process(words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snellen", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **more},
    )


def test_a_real_process_off_a_terminal_writes_no_colour_and_no_bar(tmp_path: Path) -> None:
    words = ["train", "moons", "--model", "softmax", "--epochs", "3", "--out", str(tmp_path / "r")]
    done = process(words, FORCE_COLOR="")
    assert done.returncode == 0, done.stderr
    assert ANSI not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert "━" not in done.stderr
    assert len(done.stderr.splitlines()) < 8


def test_no_color_is_heeded_by_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal._bar().console.no_color


def test_a_reader_that_has_gone_ends_the_program_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "snellen", "list"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_results_that_cannot_be_written_are_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "snellen", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 4
    assert done.stderr.splitlines()[0].startswith("snellen: ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="such names need a system that allows them")
def test_names_in_no_encoding_are_answered(tmp_path: Path, home: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.png"
    with open(name, "wb") as file:
        file.write((home / "photos" / "0.png").read_bytes())
    done = process(["predict", os.fsdecode(name)])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["input"] == os.fsdecode(name)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory, home: Path) -> str:
    run = tmp_path_factory.mktemp("compared") / "baseline"
    assert said(["train", "digits", "--model", "baseline", "--out", str(run)]).code == 0
    return str(run)


def test_compare_gives_a_verdict_in_every_form(baseline: str) -> None:
    words = ["compare", baseline, "runs/softmax-digits-1"]
    done = said(words)
    assert re.search(r"^runs/softmax-digits-1 +softmax .* the best here$", done.out, re.MULTILINE)
    assert re.search(
        r"^runs/softmax-digits-1 is better than \S+ by [\d.]+ ± [\d.]+ points over 269 samples\.$",
        done.out,
        re.MULTILINE,
    )
    assert "± is a 95 % interval over 269 samples; p is by McNemar's test." in done.out
    (line,) = said([*words, "--json"]).lines
    assert (line["first"], line["second"], line["better"]) == ("runs/softmax-digits-1", baseline, True)
    assert line["difference"]["low"] > 0
    rows = list(csv.reader(io.StringIO(said([*words, "--format", "csv"]).out)))
    assert [row[1] for row in rows] == ["model", "softmax", "baseline"]
    assert said([*words, "--format", "markdown"]).out.startswith("| run | model |")
    assert "\\begin{tabular}" in said([*words, "--format", "latex"]).out


def test_compare_tells_other_test_data_apart() -> None:
    done = said(["compare", "runs/softmax-digits-1", "runs/least-squares-rows-1"])
    assert done.code == 2
    assert "the task 'classify' and 'regress'" in done.err


STUDY = ["study", "moons", "--model", "softmax", "--vary", "lr=0.01,0.1", "--epochs", "1", "--seeds", "2"]


def test_study_prints_the_means_what_matters_and_the_best(tmp_path: Path) -> None:
    words = [*STUDY, "--out", str(tmp_path / "s")]
    done = said(words)
    assert done.code == 0
    assert re.search(r"4 trainings \(2 cells × 2 seeds\), about .* by a short trial", done.err)
    assert re.search(r"^[* ] 1 +0\.01 +[\d.]+ ± [\d.]+ % .* 2 of 2$", done.out, re.MULTILINE)
    assert re.search(r"^lr +100 %$", done.out, re.MULTILINE)
    assert "is the best on validation. On the test split, opened once and for it alone: accuracy" in done.out
    lines = said([*words, "--json"]).lines
    assert [line["label"] for line in lines if "label" in line] == ["seed-0", "seed-1"] * 2
    (chosen,) = (line for line in lines if line.get("chosen"))
    assert chosen["test"]["over"] == "seeds"
    assert said([*words, "--format", "markdown"]).out.startswith("| cell | lr |")
    assert said([*words, "--format", "latex"]).out.count("\\begin{tabular}") == 3
    assert said([*words, "--format", "csv"]).out.startswith("cell,lr,accuracy (val)")


def test_a_study_gone_on_with_by_other_words_is_refused(tmp_path: Path) -> None:
    words = [*STUDY[:-1], "1", "--out", str(tmp_path / "s")]
    assert said(words).code == 0
    done = said([*words, "--batch-size", "16"])
    assert done.code == 2
    assert "holds a study of other vary" in done.err
    assert said([*words, "--seed", "1"]).code == 2


def test_several_numbers_are_one_value_where_a_setting_is_fixed() -> None:
    from snellen.cli.study import varied

    assert varied(["hidden=20,60+60", "batch-size=8,16"], {"milestones": "3,5"}, "mlp", ()) == {
        "hidden": "20,60+60",
        "batch_size": "8,16",
        "milestones": "3+5",
        "model": ["mlp"],
    }
