"""Run folders of schema 1, written by version 0.1.0 and kept as they were (`make.sh`), are read as before."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

import pytest
import squares

import snellen
from snellen.cli.main import main
from snellen.core import legacy_names
from snellen.core.history import read_history
from snellen.core.serialization import to_plain
from snellen.core.settings import make, values
from snellen.tasks import LEARNERS

HERE = Path(__file__).parent
TASKS = ("classify", "regress", "segment", "pixels", "detect", "instances", "keypoints")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders in a place of their own, beside the images that four of them were trained on."""
    shutil.copytree(HERE / "folders", tmp_path / "runs")
    squares.write(tmp_path / "data")
    for path in (tmp_path / "runs").rglob("run.json"):
        path.write_text(path.read_text().replace("{DATA}", str(tmp_path / "data")))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_loaded_evaluated_and_reported(kept: Path, task: str) -> None:
    stored = json.loads((kept / task / "metrics.json").read_text())["splits"]["test"]
    run = snellen.load(kept / task, device="cpu")
    metrics = run.evaluate()
    assert set(metrics) == set(stored)
    for name, metric in metrics.items():
        before = stored[name]["value"]
        assert metric.value == (before if before is None else pytest.approx(before, rel=1e-3, abs=1e-4)), name
    assert run.report().exists()


def test_two_runs_are_compared(kept: Path) -> None:
    assert main(["compare", str(kept / "ladder" / "baseline"), str(kept / "ladder" / "perceptron")]) == 0


def test_an_interrupted_run_is_resumed_where_it_stopped(kept: Path) -> None:
    before = read_history(kept / "interrupted" / "history.jsonl")
    run = snellen.resume(kept / "interrupted")
    rows = read_history(kept / "interrupted" / "history.jsonl")
    assert rows[: len(before)] == before
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == list(range(len(steps)))
    assert len(steps) > 8
    assert run.record.status == "finished"


def test_a_ladder_is_resumed(kept: Path) -> None:
    made = snellen.ladder("moons", budget=300, learners=("baseline", "perceptron"), out=kept / "ladder-begun")
    assert [rung.status for rung in made.rungs] == ["done", "done"]
    assert made.best == "perceptron"


@pytest.mark.parametrize(("rate", "epochs"), [("rate=0.1,1", "--passes"), ("lr=0.1,1", "--epochs")])
def test_a_finished_study_is_shown_again(
    kept: Path, rate: str, epochs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("model.safetensors")}
    words = f"--model perceptron --vary {rate} {epochs} 2 --seeds 1"
    assert main(["study", "moons", *words.split(), "--out", str(kept / "study"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum("validation" in line and "values" in line for line in lines) > 0
    assert written == {path: path.stat().st_mtime_ns for path in kept.rglob("model.safetensors")}


def test_every_setting_has_a_present_name() -> None:
    """Of each learner that there was, all settings of schema 1 lead to settings that it has now."""
    before = json.loads((HERE / "settings.json").read_text())
    for task, learners in before.items():
        for name, settings in learners.items():
            learner = LEARNERS[legacy_names.TASKS.get(task, task)][name]
            now = values(make(learner.settings, {}))
            upgraded = legacy_names.upgrade_settings(settings, now)
            assert set(upgraded) == set(now), (task, name)
            assert len(upgraded) == len(settings)
            assert to_plain(upgraded) == to_plain(now), (task, name)


FORMER_FLAGS = [
    ("train moons --model mlp --epochs 1 --act tanh --hard 0.5", "--act is now --activation"),
    ("train moons --model bases --epochs 1 --width 0.5", "--width is now --bandwidth"),
    ("train moons --model softmax --epochs 1 --keep-test-closed", "--keep-test-closed is now --skip-test"),
    ("data data/masks --as pairs", "--as is now --data-format"),
    ("train data/depth --task pixels --model baseline", "pixels is now dense-regress"),
    ("train moons --model mlp --epochs 1 --sampling each --average 0.9", "--average is now --ema-decay"),
    ("study moons --model mlp --vary sampling=each,balanced --epochs 1 --seeds 1", ""),
]


@pytest.mark.parametrize(("words", "line"), FORMER_FLAGS)
def test_a_former_flag_answers_and_names_the_present_one(
    kept: Path, words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if words.startswith("data") else ["--out", "new"]
    assert main([*words.split(), *out]) == 0
    assert line in capsys.readouterr().err


def test_former_flags_are_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, flags in legacy_names.FLAGS.items():
        with contextlib.suppress(SystemExit):
            main([verb, "--help"])
        shown = capsys.readouterr().out
        assert not [flag for flag in flags if re.search(rf"{flag}(?![\w-])", shown)], verb
        assert all(present in shown for present in flags.values()), verb
