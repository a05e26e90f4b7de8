"""Plan of a ladder from measured costs, and horizontal flips that would change targets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import TooLittleTime
from snellen.core.spec import Preprocessing
from snellen.data.dataset import Dataset, Labelled
from snellen.data.open_dataset import dataset
from snellen.model_selection import ladder_preview, ladder_training
from snellen.model_selection.ladder_preview import plan_ladder
from snellen.model_selection.ladder_training import LadderTraining
from snellen.model_selection.mirroring import harmful_changes, harmless_changes, shift
from snellen.tasks import LEARNERS
from snellen.tasks.classify.baseline import BaselineClassifierSettings, ClassPrior

OPTIONS = RunOptions(threads=1)


def needing(name: str, seconds: float) -> snellen.Learner:  # type: ignore[type-arg]
    """A learner whose complete training takes so many seconds."""

    def fit(c: BaselineClassifierSettings, data: object, model: ClassPrior, run: object) -> None:
        raise TooLittleTime("The time budget allows 1 of 9 steps", needed=seconds)

    return dataclasses.replace(LEARNERS["classify"]["baseline"], name=name, fit=fit)


def test_images_are_planned_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    learners = [LEARNERS["classify"][name] for name in ("baseline", "softmax", "convnet")]
    plan = plan_ladder(dataset("digits"), learners, budget=20, options=OPTIONS)  # asks the best model about flips
    assert [model.name for model in plan.models] == ["baseline", "softmax", "convnet"]
    assert not any(tmp_path.iterdir())


def test_the_plan_says_what_is_trained_completely_what_is_tried_and_what_is_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(float(k) for k in range(100_000))
    monkeypatch.setattr(ladder_preview.time, "monotonic", lambda: 0.0)  # trials take no time
    monkeypatch.setattr(ladder_training.time, "monotonic", lambda: 0.0 * next(now))
    data = dataset("moons")
    candidates = [LEARNERS["classify"]["baseline"], needing("a", 5), needing("b", 90), needing("c", 60)]
    plan = plan_ladder(
        data, [*candidates, needing("d", 1e5), LEARNERS["classify"]["lenet"]], budget=104, options=OPTIONS
    )
    planned = {model.name: model for model in plan.models}
    assert {name: model.training for name, model in planned.items()} == {
        "baseline": "complete",
        "a": "complete",
        "b": "pilot",
        "c": "pilot",
        "d": "none",
        "lenet": "none",
    }
    assert planned["b"].seconds / 90 == planned["c"].seconds / 60 == pytest.approx(0.25 * 95 / 150)
    assert plan.seconds_final == pytest.approx(0.75 * 95)
    assert "image" in planned["lenet"].reason
    assert planned["d"].needed == 1e5


def test_the_plan_is_printed_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["moons", "--plan", "--budget", "20s", "--models", "baseline,softmax,mlp", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:8] if line.split()[:1] and line.split()[0] in LEARNERS["classify"]] == [
        "baseline",
        "softmax",
        "mlp",
    ]
    assert list(tmp_path.iterdir()) == []
    assert main(["moons", "--plan", "--out", "x"]) == 2


def training_of(data: Dataset[Labelled], folder: Path, task: str, name: str) -> LadderTraining:
    """A ladder without a time limit that has trained the baseline and one model."""
    folder.mkdir()
    (folder / "ladder.json").write_text("{}")
    training = LadderTraining(data, folder, 0, 1000.0, float("inf"), OPTIONS)
    for one in ("baseline", name):
        training._train(LEARNERS[task][one], one, 100.0, 1.0)
    return training


def arrows(folder: Path, mirrored_class: bool) -> Path:
    """Images with a bright half: two classes by its side, or by its position above or below."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 60, (300, 12, 12), dtype=np.uint8)
    y = np.arange(300) % 2
    for k in range(300):
        half = slice(0, 6) if y[k] else slice(6, 12)
        if mirrored_class:
            x[k][:, half] += 90
        else:
            x[k][half] += 90
    np.savez(folder / "arrows.npz", x=x, y=y)
    return folder / "arrows.npz"


@pytest.mark.parametrize("mirrored_class", [True, False])
def test_flips_are_suggested_only_where_mirrored_images_keep_their_class(tmp_path: Path, mirrored_class: bool) -> None:
    data = dataset(arrows(tmp_path, mirrored_class))
    run = snellen.train(data, "softmax", out=tmp_path / "run", options=OPTIONS)
    assert set(harmful_changes(run, data)) == ({"hflip"} if mirrored_class else set())
    training = training_of(data, tmp_path / "ladder", "classify", "softmax")
    suggestion = training._suggest_augmentation(LEARNERS["classify"]["convnet"])
    assert (suggestion["hflip"].value is False) if mirrored_class else suggestion == {}


@pytest.mark.parametrize(("more", "fewer", "harmful"), [(6, 2, False), (20, 2, True)])
def test_a_change_is_harmful_only_if_errors_are_significantly_larger(
    tmp_path: Path, more: int, fewer: int, harmful: bool
) -> None:
    before = torch.zeros(200)
    before[:20] = 1
    after = before.clone()
    after[:fewer] = 0
    after[20 : 20 + more] = 1
    task = SimpleNamespace(predict=lambda *args: after, errors=lambda errors, spec: errors)
    record = SimpleNamespace(preprocessing=Preprocessing(), learner="softmax", device="cpu")
    run: Any = SimpleNamespace(
        task=task, record=record, folder=tmp_path, model=None, spec=None, predictions=lambda split: before
    )
    assert bool(harmful_changes(run, dataset("digits"))) == harmful


def bars(folder: Path, is_position: bool) -> Path:
    """Images of noise with a bright bar: its width is the number, or its left edge."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 60, (300, 16, 16), dtype=np.uint8)
    left, width = rng.integers(0, 10, 300), rng.integers(2, 7, 300)
    for k, top in enumerate(rng.integers(0, 11, 300)):
        x[k][top : top + 6, left[k] : left[k] + width[k]] += 150
    np.savez(folder / "bars.npz", x=x, y=(left if is_position else width) + 0.01 * rng.random(300))
    return folder / "bars.npz"


@pytest.mark.parametrize("is_position", [True, False])
def test_flips_are_suggested_for_numbers_that_they_keep_and_no_crops_that_cut(
    tmp_path: Path, is_position: bool
) -> None:
    data = dataset(bars(tmp_path, is_position))
    assert torch.equal(shift(torch.arange(32.0).view(1, 1, 1, 32))[0, 0, 0, 4:], torch.arange(28.0))
    training = training_of(data, tmp_path / "ladder", "regress", "lenet")
    suggestions = training._suggest_augmentation(LEARNERS["regress"]["convnet"])
    assert {name: suggestion.value for name, suggestion in suggestions.items()} == (
        {} if is_position else {"hflip": True}
    ), "a crop cuts bars at the edge: their width changes"
    baseline = training.trained["baseline"]
    errors = baseline.task.errors(baseline.predictions("val"), baseline.spec)
    assert harmless_changes(baseline, data, errors) == {}, "the baseline cannot tell"


def test_a_ladder_is_resumed_by_its_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "rows.csv").write_text("x,kind\n" + "".join(f"{k},{'ab'[k % 2]}\n" for k in range(60)))
    monkeypatch.chdir(tmp_path)
    begin = ["rows.csv", "--budget", "1h", "--models", "baseline,softmax", "--threads", "1", "--out", "l"]
    assert main(begin) == 0
    stored = json.loads((tmp_path / "l" / "ladder.json").read_text())["arguments"]
    assert stored == [str(tmp_path / "rows.csv"), *begin[1:-2]]
    (tmp_path / "l" / "softmax" / "metrics.json").unlink()  # as if it had been stopped there
    monkeypatch.chdir(tmp_path / "a")
    capsys.readouterr()
    assert main(["ladder", "--resume", "../l", "--json"]) == 0
    rungs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(rung["name"], rung["status"]) for rung in rungs] == [("baseline", "done"), ("softmax", "done")]
    assert main(["ladder", "--resume", "nothere"]) == 2
    assert "contains no ladder" in capsys.readouterr().err
    assert main(["ladder", "--resume"]) == 2


def test_a_training_that_was_finished_before_a_ladder_was_resumed_needs_no_time(tmp_path: Path) -> None:
    training = training_of(dataset("moons"), tmp_path / "ladder", "classify", "lda")
    assert training._fits("lda", 1e9, 0.0)
    assert not training._fits("mlp", 1e9, 0.0)
    assert training._fits("mlp", 10.0, 12.0)
