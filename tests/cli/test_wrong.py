"""Wrong commands and wrong data: one line of cause, one of remedy, the right exit code, nothing half-written."""

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
from command import Said, said, two_classes

from snellen.api import load, resume
from snellen.core import files
from snellen.core.record import read_record

TRAIN = ["train", "photos", "--model", "softmax"]

WRONG = [  # words, exit code, what the cause names, what the remedy names
    (["trian", "moons"], 2, "'trian'", "train"),
    (["--budget", "1m"], 2, "--budget", "--help"),
    (["train"], 2, "needs data", "snellen train DATA"),
    (["train", "nowhere"], 3, "nowhere is not there", "moons"),
    (["train", "mnist"], 3, "mnist", "snellen get mnist"),
    (["train", "moons", "--model", "sofmax"], 2, "'sofmax'", "softmax"),
    (["train", "moons", "--model", "least-squares"], 2, "it is one of regress", "Known"),
    (["train", "moons", "--model", "lenet"], 2, "lenet reads image, not vector", "softmax"),
    (["train", "moons", "--task", "clasify"], 2, "'clasify'", "classify"),
    (["train", "moons", "--task", "regress"], 2, "no target for regress", "classify"),
    (["train", "moons", "--epoch", "3"], 2, "--epoch", "--epochs"),
    (["train", "moons", "--model", "softmax", "--hidden", "3"], 2, "--hidden", ""),
    (["train", "moons", "--model", "mlp", "--lr", "-1"], 2, "--lr cannot be -1", "above 0"),
    (["train", "moons", "--model", "mlp", "--lr", "fast"], 2, "--lr cannot be 'fast'", "a number"),
    (["train", "moons", "--model", "mlp", "--lr"], 2, "--lr", "a number"),
    (["train", "moons", "--model", "mlp", "--optimizer", "adm"], 2, "'adm'", "adam"),
    (["train", "moons", "--device", "cda"], 2, "'cda'", "cuda"),
    (["train", "moons", "--threads", "-1"], 2, "--threads", "--help"),
    (["train", "moons", "--seed", "9" * 30], 2, "--seed", "--help"),
    (["train", "moons", "--folds", "1"], 2, "--folds", "--help"),
    (["data", "moons", "--pages", "volume"], 2, "--pages volume needs models of volumes", "first, max or each"),
    (["train", "--resume", "nowhere"], 3, "nowhere", "folder of a run"),
    (["evaluate"], 2, "no run under runs/", "snellen train DATA"),
    (["predict", "x.png"], 2, "no run under runs/", "snellen train DATA"),
    (["compare"], 2, "RUN", "--help"),
    (["compare", "nowhere"], 2, "two runs or more", "RUN RUN"),
    (["compare", "nowhere", "there"], 3, "nowhere", "folder of a run"),
    (["study"], 2, "DATA", "--help"),
    (["study", "moons", "--vary", "lr"], 2, "--vary cannot be 'lr'", "lr=0.001,0.01"),
    (["study", "moons", "--vary", "lrr=1,2"], 2, "no setting 'lrr'", "lr"),
    (["study", "moons", "--vary", "lr=-1,2"], 2, "--lr cannot be -1", "above 0"),
    (["study", "moons", "--vary", "lr=1,2", "--vary", "lr=3"], 2, "given twice", "List its values"),
    (["study", "moons", "--vary", "lr=1,2", "--lr", "3"], 2, "both varied and fixed", "Leave one out"),
    (["study", "moons", "--vary", "model=mlp,softmax", "--model", "mlp"], 2, "both varied and fixed", "--model"),
    (["study", "moons", "--vary", "lr=1,2", "--seeds", "2", "--folds", "2"], 2, "--folds", "one of them"),
    (["study", "moons", "--vary", "lr=1,2", "--budget", "soon"], 2, "'soon'", "10m"),
    (["study", "moons", "--vary", "lr=1,2", "--sedes", "2"], 2, "--sedes", "--seeds"),
    (["study", "nowhere", "--vary", "lr=1,2"], 3, "nowhere is not there", "moons"),
    (["report", "nowhere"], 3, "nowhere", "folder of a run"),
    (["list", "modles"], 2, "'modles'", "--help"),
    (["get", "mnst"], 2, "'mnst'", "mnist"),
    (["data", "moons", "--format", "html"], 2, "'html'", "--help"),
    (["moons", "--budget", "soon"], 2, "'soon'", "10m"),
    (["train", "empty"], 3, "empty holds no picture", "one folder for each class"),
    (["data", "empty"], 3, "empty holds no picture", "one folder for each class"),
    (["train", "one"], 3, "one class only (light)", "second class"),
    (["train", "text.csv"], 3, "row 12, column 'b': 'oops'", "Mend"),
    (["train", "missing.csv"], 3, "row 12, column 'b'", "--impute median"),
    (["train", "zero"], 3, "dark/0.png has 0 bytes", "again"),
    (["train", "photos", "--range", "9,1"], 2, "9,1", "lower number"),
    ([*TRAIN, "--out", "file/run"], 4, "file/run/run.json: Not a directory", "--out"),
    ([*TRAIN, "--out", "file/run", "--folds", "2"], 4, "file/run", "--out"),
]


@pytest.fixture(autouse=True)
def _wrong_data(here: Path) -> None:
    two_classes(here / "photos")
    two_classes(here / "zero")
    two_classes(here / "one")
    shutil.rmtree(here / "one" / "dark")
    (here / "zero" / "dark" / "0.png").write_bytes(b"")
    (here / "empty").mkdir()
    (here / "file").write_text("no folder")
    rows = [f"{k},{k * k % 11},{k / 2 + 0.25}" for k in range(30)]
    for name, cell in (("text.csv", "oops"), ("missing.csv", "")):
        (here / name).write_text("\n".join(["a,b,y", *rows[:10], f"1,{cell},2.5", *rows[10:]]) + "\n")


def complaint(done: Said) -> tuple[str, str]:
    """The one line of cause and the one of remedy on stderr; between them only bad samples may be listed."""
    assert "Traceback" not in done.err
    assert done.out == ""
    lines = done.err.splitlines()
    (place,) = [k for k, line in enumerate(lines) if line.startswith("snellen: ")]
    cause, *listed, remedy = lines[place:]
    assert remedy.startswith("  ")
    assert len(remedy.strip()) > 8
    assert all(line.startswith("  - ") for line in listed)
    return cause, remedy


@pytest.mark.parametrize(
    ("words", "code", "cause", "remedy"),
    WRONG,
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_named_with_its_remedy(
    words: list[str], code: int, cause: str, remedy: str, here: Path
) -> None:
    before = {path: path.stat().st_size for path in here.rglob("*") if path.is_file()}
    done = said(words)
    assert done.code == code
    told = complaint(done)
    assert cause in told[0]
    assert remedy in told[1]
    assert {path: path.stat().st_size for path in here.rglob("*") if path.is_file()} == before


def test_a_loss_that_is_no_number_ends_with_5_and_leaves_a_run_that_can_be_looked_at(here: Path) -> None:
    done = said(["train", "moons", "--model", "mlp", "--lr", "1e30", "--optimizer", "sgd", "--out", "run"])
    assert done.code == 5
    cause, remedy = complaint(done)
    assert "step" in cause
    assert "--lr" in remedy
    assert read_record(here / "run").status == "training"
    assert not (here / "run" / "model.safetensors").exists()
    assert said(["evaluate", "run"]).code == 3


def test_a_disk_that_is_full_ends_with_4_and_leaves_a_valid_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = os.fsync, [2]

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = said([*TRAIN, "--epochs", "2", "--out", "run"])
    assert done.code == 4
    cause, remedy = complaint(done)
    assert "No space left" in cause
    assert "bytes are needed" in remedy
    assert not list((here / "run").rglob("*.part"))
    assert resume(here / "run").metrics["accuracy"].value is not None


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root, to mount a disk that is tiny")
def test_a_real_disk_that_is_full(here: Path) -> None:
    tiny = here / "tiny"
    tiny.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(tiny)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        done = said([*TRAIN, "--epochs", "2", "--out", "tiny/run"])
        assert done.code == 4
        assert "No space left" in complaint(done)[0]
        for path in (tiny / "run").rglob("*.json"):
            files.read_json(path)
        assert not list(tiny.rglob("*.part"))
    finally:
        subprocess.run(["umount", tiny], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_ctrl_c_saves_says_how_to_go_on_and_ends_with_130(here: Path) -> None:
    words = ["train", "moons", "--model", "mlp", "--epochs", "5000", "--save-every", "0", "--out", "run"]
    command = [sys.executable, "-m", "snellen", *words]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (here / "run" / "state" / "manifest.json").exists() and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    cause, remedy = complaint(Said(running.returncode, out, err))
    assert running.returncode == 130
    assert "SIGINT" in cause
    assert "snellen train --resume run" in remedy
    assert read_record(here / "run").status == "training"


def test_a_run_of_a_class_that_is_gone_is_named(here: Path) -> None:
    assert said([*TRAIN, "--epochs", "1", "--out", "run"]).code == 0
    shutil.rmtree(here / "photos" / "light")
    done = said(["evaluate", "run"])
    assert done.code == 3
    assert "one class only" in complaint(done)[0]
    assert load(here / "run").metrics["accuracy"].value is not None
