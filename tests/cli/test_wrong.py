"""Errors of commands and data: one line of cause, one of remedy, exit code, no partial files."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import Result, run_command, write_two_classes

from snellen.api import load, resume
from snellen.core import file_io
from snellen.core.record import read_record

TRAIN = ["train", "photos", "--model", "softmax"]

ERRORS = [  # arguments, exit code, part of the cause, part of the remedy
    (["trian", "moons"], 2, "'trian'", "train"),
    (["--budget", "1m"], 2, "--budget", "--help"),
    (["train"], 2, "needs data", "snellen train DATA"),
    (["train", "nowhere"], 3, "nowhere does not exist", "moons"),
    (["train", "mnist"], 3, "mnist", "snellen get mnist"),
    (["train", "moons", "--model", "sofmax"], 2, "'sofmax'", "softmax"),
    (["train", "moons", "--model", "least-squares"], 2, "it is a model of regress", "Known"),
    (["train", "moons", "--model", "lenet"], 2, "lenet reads audio or image, not vector", "softmax"),
    (["train", "moons", "--task", "clasify"], 2, "'clasify'", "classify"),
    (["train", "moons", "--task", "regress"], 2, "no target for regress", "classify"),
    (["moons", "--models", "lda,sofmax"], 2, "'sofmax'", "softmax"),
    (["moons", "--explain"], 2, "--explain needs --plan", "--plan"),
    (["train", "moons", "--epoch", "3"], 2, "--epoch", "--epochs"),
    (["train", "moons", "--model", "softmax", "--hidden", "3"], 2, "--hidden", ""),
    (["train", "moons", "--learning-rates", "3"], 2, "--learning-rates", "See snellen train --help."),
    (["train", "photos", "--model", "svm", "--momentum", "9"], 2, "no setting --momentum", "Known: --"),
    (["train", "photos", "--model", "lenet", "--max-size", "9"], 2, "no setting --max-size", "Did you mean --"),
    (["train", "--resume", "run", "--data", "photos"], 2, "--data", "Give DATA without a flag: snellen train DATA"),
    (["report", "--run=run"], 2, "--run=run", "Give RUN without a flag: snellen report RUN"),
    (["evaluate", "--data", "nope"], 3, "nope does not exist", "Known: "),
    (["train", "moons", "--model", "mlp", "--lr", "-1"], 2, "--lr cannot be -1", "above 0"),
    (["train", "moons", "--model", "mlp", "--lr", "fast"], 2, "--lr cannot be 'fast'", "a number"),
    (["train", "moons", "--model", "mlp", "--lr"], 2, "--lr", "a number"),
    (["train", "moons", "--model", "mlp", "--optimizer", "adm"], 2, "'adm'", "adam"),
    (["train", "moons", "--device", "cda"], 2, "'cda'", "cuda"),
    (["train", "moons", "--threads", "-1"], 2, "--threads", "--help"),
    (["train", "moons", "--seed", "9" * 30], 2, "--seed", "--help"),
    (["train", "moons", "--folds", "1"], 2, "--folds", "--help"),
    (["data", "moons", "--pages", "volume"], 2, "--pages volume needs volumetric models", "first, max or each"),
    (["train", "--resume", "nowhere"], 3, "nowhere", "folder of a run"),
    (["evaluate"], 2, "no run in runs/", "snellen train DATA"),
    (["predict", "photos"], 2, "no run in runs/", "snellen train DATA"),
    (["predict", "phots"], 3, "phots is neither a run nor data", "Did you mean photos?"),
    (["predict", "runs/none", "text.csv"], 3, "runs/none is neither a run nor data", "predict RUN FILE"),
    (["compare"], 2, "RUN", "--help"),
    (["compare", "nowhere"], 2, "two or more runs", "RUN RUN"),
    (["compare", "nowhere", "there"], 3, "nowhere", "folder of a run"),
    (["study"], 2, "DATA", "--help"),
    (["study", "moons", "--vary", "lr"], 2, "--vary cannot be 'lr'", "lr=0.001,0.01"),
    (["study", "moons", "--vary", "lrr=1,2"], 2, "no setting 'lrr'", "lr"),
    (["study", "moons", "--vary", "lr=-1,2"], 2, "--lr cannot be -1", "above 0"),
    (["study", "moons", "--vary", "lr=1,2", "--vary", "lr=3"], 2, "given twice", "List its values"),
    (["study", "moons", "--vary", "lr=1,2", "--lr", "3"], 2, "both varied and fixed", "Omit --vary lr=... or --lr"),
    (["study", "moons", "--vary", "model=mlp,softmax", "--model", "mlp"], 2, "both varied and fixed", "--model"),
    (["study", "moons", "--vary", "lr=1,2", "--seeds", "2", "--folds", "2"], 2, "--folds", "one of them"),
    (["study", "moons", "--vary", "lr=1,2", "--budget", "soon"], 2, "'soon'", "10m"),
    (["study", "moons", "--vary", "lr=1,2", "--sedes", "2"], 2, "--sedes", "--seeds"),
    (["study", "nowhere", "--vary", "lr=1,2"], 3, "nowhere does not exist", "moons"),
    (["report", "nowhere"], 3, "nowhere", "folder of a run"),
    (["list", "modles"], 2, "'modles'", "--help"),
    (["get", "mnst"], 2, "'mnst'", "mnist"),
    (["data", "moons", "--format", "html"], 2, "'html'", "--help"),
    (["moons", "--budget", "soon"], 2, "'soon'", "10m"),
    (["train", "empty"], 3, "empty holds no image", "one folder for each class"),
    (["data", "empty"], 3, "empty holds no image", "one folder for each class"),
    (["train", "one"], 3, "only one class (light)", "second class"),
    (["train", "text.csv"], 3, "line 12, column 'b': 'oops'", "Fix"),
    (["train", "missing.csv"], 3, "line 12, column 'b'", "--impute median"),
    (["train", "zero"], 3, "dark/0.png has 0 bytes", "again"),
    (["train", "photos", "--range", "9,1"], 2, "9,1", "lower number"),
    ([*TRAIN, "--out", "file/run"], 4, "file/run/run.json: Not a directory", "--out"),
    ([*TRAIN, "--out", "file/run", "--folds", "2"], 4, "file/run", "--out"),
]


@pytest.fixture(autouse=True)
def _wrong_data(workdir: Path) -> None:
    write_two_classes(workdir / "photos")
    write_two_classes(workdir / "zero")
    write_two_classes(workdir / "one")
    shutil.rmtree(workdir / "one" / "dark")
    (workdir / "zero" / "dark" / "0.png").write_bytes(b"")
    (workdir / "empty").mkdir()
    (workdir / "file").write_text("no folder")
    rows = [f"{k},{k * k % 11},{k / 2 + 0.25}" for k in range(30)]
    for name, cell in (("text.csv", "oops"), ("missing.csv", "")):
        (workdir / name).write_text("\n".join(["a,b,y", *rows[:10], f"1,{cell},2.5", *rows[10:]]) + "\n")


def error_lines(result: Result) -> tuple[str, str]:
    """The lines of cause and remedy on stderr; only a list of findings may stand between them."""
    assert "Traceback" not in result.err
    assert result.out == ""
    lines = result.err.splitlines()
    (place,) = [k for k, line in enumerate(lines) if line.startswith("snellen: ")]
    cause, *findings, remedy = lines[place:]
    assert remedy.startswith("  ")
    assert len(remedy.strip()) > 8
    assert all(line.startswith("  - ") for line in findings)
    return cause, remedy


@pytest.mark.parametrize(
    ("arguments", "code", "cause", "remedy"),
    ERRORS,
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_errors_name_cause_and_remedy(arguments: list[str], code: int, cause: str, remedy: str, workdir: Path) -> None:
    before = {path: path.stat().st_size for path in workdir.rglob("*") if path.is_file()}
    result = run_command(arguments)
    assert result.code == code
    lines = error_lines(result)
    assert cause in lines[0]
    assert remedy in lines[1]
    assert {path: path.stat().st_size for path in workdir.rglob("*") if path.is_file()} == before


def test_a_diverged_training_exits_with_5_and_leaves_a_valid_run(workdir: Path) -> None:
    result = run_command(["train", "moons", "--model", "mlp", "--lr", "1e30", "--optimizer", "sgd", "--out", "run"])
    assert result.code == 5
    cause, remedy = error_lines(result)
    assert "step" in cause
    assert "--lr" in remedy
    assert read_record(workdir / "run").status == "training"
    assert not (workdir / "run" / "model.safetensors").exists()
    assert run_command(["evaluate", "run"]).code == 3


def test_a_full_disk_exits_with_4_and_leaves_a_valid_run(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, remaining = os.fsync, [2]

    def failing_fsync(handle: int) -> None:
        remaining[0] -= 1
        if remaining[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_fsync)
        result = run_command([*TRAIN, "--epochs", "2", "--out", "run"])
    assert result.code == 4
    cause, remedy = error_lines(result)
    assert "No space left" in cause
    assert "bytes are needed" in remedy
    assert not list((workdir / "run").rglob("*.part"))
    assert resume(workdir / "run").metrics["accuracy"].value is not None


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_real_full_disk(workdir: Path) -> None:
    small_disk = workdir / "tiny"
    small_disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(small_disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted")
    try:
        result = run_command([*TRAIN, "--epochs", "2", "--out", "tiny/run"])
        assert result.code == 4
        assert "No space left" in error_lines(result)[0]
        for path in (small_disk / "run").rglob("*.json"):
            file_io.read_json(path)
        assert not list(small_disk.rglob("*.part"))
    finally:
        subprocess.run(["umount", small_disk], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_saves_prints_how_to_resume_and_exits_with_130(workdir: Path) -> None:
    arguments = ["train", "moons", "--model", "mlp", "--epochs", "5000", "--save-every", "0", "--out", "run"]
    command = [sys.executable, "-m", "snellen", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (workdir / "run" / "state" / "manifest.json").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    cause, remedy = error_lines(Result(process.returncode, out, err))
    assert process.returncode == 130
    assert "SIGINT" in cause
    assert "snellen train --resume run" in remedy
    assert read_record(workdir / "run").status == "training"


def test_a_mistyped_run_is_neither_a_run_nor_data(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    result = run_command(["predict", "softmax-digits-2", "photos"])
    assert result.code == 3
    assert "the newest" not in result.err
    cause, remedy = error_lines(result)
    assert cause == "snellen: softmax-digits-2 is neither a run nor data"
    assert remedy == f"  Did you mean {Path('runs', 'softmax-digits-1')}?"


def test_a_value_too_large_to_compute_with_is_an_error_of_the_input(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text("a,b\n1,2\n1e308,2\n")
    result = run_command(["predict", str(home / "runs" / "least-squares-rows-1"), str(table)])
    assert result.code == 3
    cause, remedy = error_lines(result)
    assert "new.csv: line 3, column 'a': '1e308' exceeds" in cause
    assert "unit" in remedy


def test_an_input_whose_prediction_is_not_finite_is_named(workdir: Path) -> None:
    rows = [f"{k},{k * k % 11},{k / 2 + 0.25}" for k in range(60)]
    Path("rows.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    assert run_command(["train", "rows.csv", "--model", "polynomial", "--degree", "9", "--out", "run"]).code == 0
    Path("new.csv").write_text("a,b\n1,2\n3,1e38\n")
    result = run_command(["predict", "run", "new.csv"])
    assert result.code == 3
    cause, remedy = error_lines(result)
    assert cause.startswith(
        "snellen: row 2: the prediction is NaN or infinite; the value of largest magnitude is 1e+38"
    )
    assert "column 'b'" in cause
    assert "training data" in remedy


def test_moved_data_names_a_command_that_accepts_another_place(workdir: Path) -> None:
    assert run_command([*TRAIN, "--epochs", "1", "--out", "run"]).code == 0
    (workdir / "photos").rename(workdir / "moved")
    for arguments in (["report", "run"], ["evaluate", "run"]):
        result = run_command(arguments)
        assert result.code == 3
        cause, remedy = error_lines(result)
        assert "photos, the data of the run, does not exist" in cause
        assert "snellen evaluate RUN --data PATH" in remedy


def test_missing_class_folder_of_a_run(workdir: Path) -> None:
    assert run_command([*TRAIN, "--epochs", "1", "--out", "run"]).code == 0
    shutil.rmtree(workdir / "photos" / "light")
    result = run_command(["evaluate", "run"])
    assert result.code == 3
    assert "only one class" in error_lines(result)[0]
    assert load(workdir / "run").metrics["accuracy"].value is not None
