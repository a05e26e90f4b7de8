"""Run folders of schema 1, written by version 0.1.0 and kept as they were (`make.sh`), are read as before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import squares

import snellen
from snellen.cli.main import main
from snellen.core.history import read_history

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


def test_a_finished_study_is_shown_again(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("model.safetensors")}
    words = "--model perceptron --vary rate=0.1,1 --passes 2 --seeds 1"
    assert main(["study", "moons", *words.split(), "--out", str(kept / "study"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum("validation" in line and "values" in line for line in lines) > 0
    assert written == {path: path.stat().st_mtime_ns for path in kept.rglob("model.safetensors")}
