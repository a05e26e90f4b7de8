"""Every verb on small data: results on stdout in every format, messages on stderr."""

from __future__ import annotations

import argparse
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
from command import run_command, write_images, write_two_classes

from snellen.cli import terminal
from snellen.cli.main import VERBS, main
from snellen.cli.options import run_options

ANSI = "\x1b"


@pytest.fixture(autouse=True)
def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_train_prints_metrics_and_the_report_path(tmp_path: Path) -> None:
    arguments = ["train", "moons", "--model", "softmax", "--epochs", "1", "--out", str(tmp_path / "r")]
    result = run_command(arguments)
    assert result.code == 0
    assert re.search(r"^accuracy +[\d.]+ ± [\d.]+ %$", result.out, re.MULTILINE)
    assert f"report: {tmp_path / 'r' / 'report.html'}" in result.out
    assert "Which class belongs to each sample?" in result.err
    assert "Which class belongs to each sample?" not in result.out


def test_train_json_is_one_line(tmp_path: Path) -> None:
    result = run_command(
        ["train", "moons", "--model", "softmax", "--epochs", "1", "--out", str(tmp_path / "r"), "--json"]
    )
    (line,) = result.lines
    assert line["headline"] == "accuracy"
    assert line["metrics"]["accuracy"]["low"] < line["metrics"]["accuracy"]["value"]
    assert result.err == ""


def test_train_explains_every_setting(tmp_path: Path) -> None:
    result = run_command(
        ["train", "moons", "--model", "softmax", "--epochs", "2", "--explain", "--out", str(tmp_path / "r")]
    )
    assert re.search(r"--epochs +2 +given", result.err)
    assert re.search(r"--optimizer +adam +default", result.err)


def test_train_explains_the_image_size(tmp_path: Path) -> None:
    photos = write_two_classes(tmp_path / "photos")
    write_images(photos / "dark", [np.zeros((20, 18), np.uint8)])  # replaces the first
    arguments = ["train", str(photos), "--model", "lda", "--explain", "--out", str(tmp_path / "r")]
    result = run_command(arguments)
    assert re.search(r"images +16x16 +23 of 24 images are 16x16 ", result.err)
    assert "note: The images have 2 sizes: 23 of 16x16, 1 of 18x20" in result.err
    assert "several sizes (typical 16x16 pixels), 1 channel" in run_command(["data", str(photos)]).out


@pytest.mark.parametrize("table_format", ["text", "csv", "markdown", "latex"])
def test_table_formats(table_format: str) -> None:
    for arguments in (["evaluate", "--format", table_format], ["list", "models", "--format", table_format]):
        result = run_command(arguments)
        assert result.code == 0
        if table_format == "csv":
            rows = list(csv.reader(io.StringIO(result.out)))
            assert {len(row) for row in rows} == {len(rows[0])}
        else:
            patterns = {
                "text": r"^(metric|model) ",
                "markdown": r"^\| (metric|model) \|",
                "latex": r"\\begin\{tabular\}",
            }
            assert re.search(patterns[table_format], result.out, re.MULTILINE)
    assert run_command(["data", "digits", "--format", table_format]).code == 0


def test_latex_and_csv_escape_special_characters() -> None:
    latex = terminal.table(["a_b"], [["50 % & $x$ ± {1}"], ["\\"]], "latex")
    assert "50 \\% \\& \\$x\\$ $\\pm$ \\{1\\}" in latex
    assert "\\textbackslash{}" in latex
    assert list(csv.reader(io.StringIO(terminal.table(["a"], [['x,"y"\nz']], "csv")))) == [["a"], ['x,"y"\nz']]
    assert ANSI not in terminal.table(["a"], [["\x1b[31mred"]])


def test_evaluate_names_the_newest_run_on_stderr() -> None:
    result = run_command(["evaluate"])
    assert result.err == "run: runs/softmax-digits-1 (the newest)\n"
    assert "± 95 % over samples" in result.out
    (line,) = run_command(["evaluate", "runs/softmax-digits-1", "--split", "val", "--json"]).lines
    assert (line["split"], line["run"]) == ("val", "runs/softmax-digits-1")


def test_evaluate_on_other_data_needs_the_same_targets() -> None:
    assert run_command(["evaluate", "--data", "digits"]).code == 0
    result = run_command(["evaluate", "--data", "moons"])
    assert result.code == 3
    assert "moons" in result.err


def test_files_folders_globs_and_stdin_paths_give_the_same_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [f"photos/{k}.png" for k in range(3)]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(files) + "\n"))
    predictions = [
        run_command(["predict", *arguments]).lines for arguments in (files, ["photos"], ["photos/*.png"], ["-"])
    ]
    assert predictions[0] == predictions[1] == predictions[2] == predictions[3]
    assert [line["input"] for line in predictions[0]] == files
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in predictions[0])


def test_a_table_file_and_stdin_give_the_same_predictions(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    run = "runs/least-squares-rows-1"
    monkeypatch.setattr("sys.stdin", io.StringIO((home / "rows.csv").read_text()))
    first, second = run_command(["predict", run, "rows.csv"]), run_command(["predict", run, "-"])
    assert first.lines == second.lines
    assert first.lines[9]["input"] == "row 10"
    assert first.lines[9]["height"] == pytest.approx(20.5, abs=0.01)


def test_csv_has_the_same_columns_in_every_row() -> None:
    rows = list(csv.reader(io.StringIO(run_command(["predict", "photos", "--csv"]).out)))
    assert rows[0] == ["input", "class", *(f"probabilities[{k}]" for k in range(10))]
    assert [len(row) for row in rows] == [12] * 4
    rows = list(csv.reader(io.StringIO(run_command(["predict", "runs/least-squares-rows-1", "rows.csv", "--csv"]).out)))
    assert (rows[0], len(rows)) == (["input", "height"], 61)


def test_good_files_are_predicted_and_all_bad_files_named(tmp_path: Path, home: Path) -> None:
    bad = [tmp_path / f"bad{k}.png" for k in range(7)]
    for path in bad:
        path.write_bytes(b"")
    result = run_command(["predict", *map(str, bad[:4]), "photos/0.png", *map(str, bad[4:])])
    assert result.code == 3
    assert [line["input"] for line in result.lines] == ["photos/0.png"]
    assert all(f"{path}: has 0 bytes" in result.err for path in bad)


def test_predict_draws(tmp_path: Path) -> None:
    assert run_command(["predict", "photos", "--draw", str(tmp_path / "drawn")]).code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [f"{k}.png" for k in range(3)]
    result = run_command(["predict", "runs/least-squares-rows-1", "rows.csv", "--draw", str(tmp_path / "none")])
    assert result.code == 2
    assert not (tmp_path / "none").exists()


def test_report_prints_its_path(home: Path) -> None:
    page = home / "runs" / "softmax-digits-1" / "report.html"
    page.unlink()
    assert run_command(["report"]).out == "runs/softmax-digits-1/report.html\n"
    assert page.stat().st_size > 10_000


def test_list_and_doctor_as_json() -> None:
    lines = run_command(["list", "--json"]).lines
    assert {line["list"] for line in lines} == {"tasks", "models", "data"}
    assert {"softmax", "least-squares"} <= {line.get("model") for line in lines}
    (facts,) = run_command(["doctor", "--json"]).lines
    assert facts["torch"]
    assert "torch" in run_command(["doctor"]).out


def test_data_prints_the_spec_and_the_findings(tmp_path: Path) -> None:
    folder = write_two_classes(tmp_path / "pictures")
    (folder / "dark" / "red\x1b[31m.png").write_bytes((folder / "dark" / "0.png").read_bytes())
    result = run_command(["data", str(folder)])
    assert result.code == 0
    assert ANSI not in result.out
    assert "Exact duplicates (1)" in result.out
    (line,) = run_command(["data", str(folder), "--json"]).lines
    assert line["spec"]["sizes"]["train"] > 10
    assert "copies" in {finding["kind"] for finding in line["findings"]}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("get", "ladder")])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from snellen.cli.main import main

    with contextlib.suppress(SystemExit):
        main([verb, "--help"])
    assert f"snellen {verb}" in capsys.readouterr().out


def run_process(arguments: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snellen", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **extra},
    )


def test_output_without_terminal_has_no_colour_and_no_progress_bar(tmp_path: Path) -> None:
    arguments = ["train", "moons", "--model", "softmax", "--epochs", "3", "--out", str(tmp_path / "r")]
    result = run_process(arguments, FORCE_COLOR="")
    assert result.returncode == 0, result.stderr
    assert ANSI not in result.stdout + result.stderr
    assert "\r" not in result.stdout + result.stderr
    assert "━" not in result.stderr
    assert len(result.stderr.splitlines()) < 8


def test_the_progress_bar_respects_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal._bar().console.no_color


def test_a_broken_pipe_exits_silently() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "snellen", "list"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_at_stdout_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "snellen", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 4
    assert result.stderr.splitlines()[0].startswith("snellen: ")
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system with arbitrary bytes in names")
def test_undecodable_file_names(tmp_path: Path, home: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.png"
    with open(name, "wb") as file:
        file.write((home / "photos" / "0.png").read_bytes())
    result = run_process(["predict", os.fsdecode(name)])
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["input"] == os.fsdecode(name)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory, home: Path) -> str:
    run = tmp_path_factory.mktemp("compared") / "baseline"
    assert run_command(["train", "digits", "--model", "baseline", "--out", str(run)]).code == 0
    return str(run)


def test_compare_prints_a_verdict_in_every_format(baseline: str) -> None:
    arguments = ["compare", baseline, "runs/softmax-digits-1"]
    result = run_command(arguments)
    assert re.search(r"^runs/softmax-digits-1 +softmax .* best$", result.out, re.MULTILINE)
    assert re.search(
        r"^runs/softmax-digits-1 is significantly better than \S+: "
        r"by [\d.]+ ± [\d.]+ percentage points over 270 samples\.$",
        result.out,
        re.MULTILINE,
    )
    assert (
        "± is half the width of the 95 % confidence interval over 270 samples; p is from McNemar's test" in result.out
    )
    (line,) = run_command([*arguments, "--json"]).lines
    assert (line["first"], line["second"], line["better"]) == ("runs/softmax-digits-1", baseline, True)
    assert line["difference"]["low"] > 0
    rows = list(csv.reader(io.StringIO(run_command([*arguments, "--format", "csv"]).out)))
    assert [row[1] for row in rows] == ["model", "softmax", "baseline"]
    assert run_command([*arguments, "--format", "markdown"]).out.startswith("| run | model |")
    assert "\\begin{tabular}" in run_command([*arguments, "--format", "latex"]).out


def test_compare_rejects_different_test_data() -> None:
    result = run_command(["compare", "runs/softmax-digits-1", "runs/least-squares-rows-1"])
    assert result.code == 2
    assert "the task 'classify' and 'regress'" in result.err


def test_coco_annotations_needs_coco() -> None:
    result = run_command(["predict", "photos", "--coco-annotations", "a.json"])
    assert result.code == 2
    assert "--coco-annotations needs --coco" in result.err


def test_allow_skipped_reaches_the_data_options(tmp_path: Path) -> None:
    folder = write_two_classes(tmp_path / "images")
    (folder / "dark" / "bad.png").write_bytes(b"no image")
    arguments = ["data", str(folder), "--full", "--quarantine"]
    assert run_command(arguments).code == 3
    assert run_command([*arguments, "--allow-skipped"]).code == 0


STUDY = ["study", "moons", "--model", "mlp", "--vary", "lr=0.01,0.1", "--epochs", "1", "--seeds", "2"]


def test_study_prints_means_importance_and_the_best_cell(tmp_path: Path) -> None:
    arguments = [*STUDY, "--out", str(tmp_path / "s")]
    result = run_command(arguments)
    assert result.code == 0
    assert re.search(r"4 training runs \(2 cells × 2 seeds\), at most about .* from a short run", result.err)
    assert re.search(r"^[* ] 1 +0\.01 +[\d.]+ ± [\d.]+ % .* 2 of 2$", result.out, re.MULTILINE)
    assert re.search(r"^lr +(?:not distinguishable from chance|\d.* %)", result.out, re.MULTILINE)
    assert "is the best cell on the validation split" in result.out
    assert "the runner-up, lr=" in result.out
    assert "Its result on the test split, which was evaluated for this cell only: accuracy" in result.out
    lines = run_command([*arguments, "--json"]).lines
    assert [line["label"] for line in lines if "label" in line] == ["seed-0", "seed-1"] * 2
    (chosen,) = (line for line in lines if line.get("chosen"))
    assert chosen["test"]["over"] == "seeds"
    assert run_command([*arguments, "--format", "markdown"]).out.startswith("| cell | lr |")
    assert run_command([*arguments, "--format", "latex"]).out.count("\\begin{tabular}") == 3
    assert run_command([*arguments, "--format", "csv"]).out.startswith("cell,lr,accuracy (val)")


def test_a_study_folder_of_other_arguments_is_rejected(tmp_path: Path) -> None:
    arguments = [*STUDY[:-1], "1", "--out", str(tmp_path / "s")]
    assert run_command(arguments).code == 0
    result = run_command([*arguments, "--batch-size", "16"])
    assert result.code == 2
    assert "contains a study with different vary" in result.err
    assert run_command([*arguments, "--seed", "1"]).code == 2


def test_a_fixed_setting_of_several_numbers_is_one_value() -> None:
    from snellen.cli.study import parse_axes

    assert parse_axes(["hidden=20,60+60", "batch-size=8,16"], {"milestones": "3,5"}, "mlp", ()) == {
        "hidden": "20,60+60",
        "batch_size": "8,16",
        "milestones": "3+5",
        "model": ["mlp"],
    }


def test_compute_options_reach_the_run_options() -> None:
    args = argparse.Namespace(device="cpu", threads=1, save_every=7.5, other=0)
    options = run_options(args)
    assert (options.device, options.threads, options.save_every) == ("cpu", 1, 7.5)


def test_keys_of_data_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read these keys; CHANGELOG names every change of them."""
    assert main(["data", "moons", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"taken_for", "spec", "files", "findings"}


def test_without_a_terminal_a_line_every_30_seconds_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    bar, quiet = terminal.ProgressBar(), terminal.ProgressBar(quiet=True)
    bar.live = False
    for step in range(1, 101):
        now = float(step)
        bar.update("train", step, 200, {"loss": 1.0})
        quiet.update("train", step, 200, {"loss": 1.0})
    assert capsys.readouterr().err.splitlines() == [
        "train: step 30 of 200, about 2.8 min left",
        "train: step 60 of 200, about 2.3 min left",
        "train: step 90 of 200, about 110.0 s left",
    ]
