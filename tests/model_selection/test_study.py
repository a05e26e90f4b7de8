"""Studies: paired seeds, the budget, kills, the test split opened once, tables with intervals, searches."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

import snellen
from snellen.api import RunOptions
from snellen.api.lookup import reopen
from snellen.core.run import Run
from snellen.data.open_dataset import dataset
from snellen.model_selection.search_space import Between, Choices, axes
from snellen.model_selection.study_results import Study
from snellen.tasks import LEARNERS
from snellen.tasks.classify.baseline import BaselineSettings, Prior

work = importlib.import_module("snellen.model_selection.study")  # the module; snellen.study is the word
ONE = RunOptions(device="cpu", threads=1)
VARY = {"model": "mlp", "lr": [0.001, 0.05], "hidden": "8,8+8", "epochs": 1}


class Killed(BaseException):
    """As sudden as SIGKILL to everything that catches exceptions."""


@pytest.fixture(autouse=True)
def _no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "trial_seconds", lambda *a: 0.01)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "trial_seconds", lambda *a: 0.01)
        folder = tmp_path_factory.mktemp("study") / "s"
        return snellen.study(dataset("moons", seed=3), VARY, seeds=2, out=folder, options=ONE)


def test_every_cell_has_the_same_seeds_and_the_same_split(made: Study) -> None:
    assert [row.cell.values for row in made.rows] == [
        {"lr": lr, "hidden": hidden} for lr in (0.001, 0.05) for hidden in ((8,), (8, 8))
    ]
    splits = []
    for row in made.rows:
        runs = [snellen.load(training.folder) for training in row.trainings]
        assert [run.record.seed for run in runs] == [0, 1]
        assert all(run.record.settings["epochs"] == 1 for run in runs)
        assert [run.record.settings["hidden"] for run in runs] == [list(row.cell.values["hidden"])] * 2
        splits += [reopen(run.record).splits["val"] for run in runs]
    assert all(torch.equal(split, splits[0]) for split in splits)
    assert torch.equal(splits[0], dataset("moons", seed=3).splits["val"])


def test_means_have_students_interval_over_seeds(made: Study) -> None:
    for row in made.rows:
        values = [training.validation.value for training in row.trainings if training.validation is not None]
        low, high = stats.t.interval(0.95, 1, loc=statistics.fmean(values), scale=stats.sem(values))
        assert row.validation is not None
        assert (row.validation.value, row.validation.over) == (pytest.approx(statistics.fmean(values)), "seeds")
        assert (row.validation.low, row.validation.high) == (pytest.approx(low), pytest.approx(high))


def test_the_chosen_is_the_best_on_validation_and_alone_is_tested(made: Study) -> None:
    values = [row.validation.value for row in made.rows if row.validation is not None]
    assert made.chosen == 1 + values.index(max(v for v in values if v is not None))
    assert [row.cell.number for row in made.rows if row.test is not None] == [made.chosen]
    kept = [bool(list((made.folder / f"cell-{k}").glob("seed-*/predictions/test.safetensors"))) for k in (1, 2, 3, 4)]
    assert kept == [k == made.chosen for k in (1, 2, 3, 4)]
    assert made.rows[made.chosen - 1].cell.words in made.verdict


def test_the_files_hold_means_and_every_seed(made: Study) -> None:
    rows = list(csv.DictReader((made.folder / "study.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["mean", "0", "1"] * 4
    assert float(rows[1]["val value"]) == made.rows[0].trainings[0].validation.value  # type: ignore[union-attr]
    markdown = (made.folder / "study.md").read_text()
    assert "| cell | lr | hidden | accuracy (val) | accuracy (test) | trained |  |" in markdown
    assert "Student's t" in markdown
    assert (made.folder / "study.tex").read_text().count("\\begin{tabular}") == 3
    page = (made.folder / "report.html").read_text()
    assert "Against lr" in page
    assert "Against hidden" in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_importance_adds_up_to_at_most_one(made: Study) -> None:
    assert made.importance is not None
    assert set(made.importance) == {"lr", "hidden"}
    assert 0 < sum(made.importance.values()) <= 1


def test_a_finished_study_is_told_again_without_training(made: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "resume", lambda *a, **k: pytest.fail("trained again"))
    again = snellen.study(dataset("moons", seed=3), VARY, seeds=2, out=made.folder, options=ONE)
    assert (again.verdict, again.rows) == (made.verdict, made.rows)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"seeds": 3}, "seeds"),
        ({"vary": {**VARY, "epochs": 2}}, "vary"),
        ({"data": "moons"}, "data"),
        ({"vary": {**VARY, "model": "mlp,softmax", "hidden": 8}}, "no setting 'hidden'"),
    ],
)
def test_a_folder_of_another_study_is_refused(made: Study, more: dict[str, Any], what: str) -> None:
    words = {"data": dataset("moons", seed=3), "vary": VARY, "seeds": 2, **more}
    with pytest.raises(snellen.UsageError, match=what):
        snellen.study(words["data"], words["vary"], seeds=words["seeds"], out=made.folder, options=ONE)


@pytest.mark.parametrize("saves", [3, 8, 16])
def test_a_killed_study_goes_on_to_the_same_figures(
    made: Study, saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, count = Run.save, [0]

    def save(self: Run) -> None:
        honest(self)
        count[0] += 1
        if count[0] == saves:
            raise Killed

    often = dataclasses.replace(ONE, save_every=0.0)
    vary = {**VARY, "batch_size": 128}
    expected = snellen.study(dataset("moons", seed=3), vary, seeds=2, out=tmp_path / "whole", options=ONE)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", save)
        with pytest.raises(Killed):
            snellen.study(dataset("moons", seed=3), vary, seeds=2, out=tmp_path / "killed", options=often)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("model.safetensors")}
    begun = list((tmp_path / "killed").rglob("state/manifest.json"))
    assert len(begun) == len(finished) + 1  # one was half done
    again = snellen.study(dataset("moons", seed=3), vary, seeds=2, out=tmp_path / "killed", options=ONE)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for one, other in zip(expected.rows, again.rows, strict=True):
        assert (one.validation, one.test) == (other.validation, other.test)
    assert again.chosen == expected.chosen


def test_a_stop_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*words: Any, **more: Any) -> None:
        raise snellen.Stopped("Stopped.", signal=2)

    monkeypatch.setattr(work, "resume", stops)
    with pytest.raises(snellen.Stopped) as caught:
        snellen.study("moons", VARY, seeds=1, out=tmp_path / "s", options=ONE)
    assert f"--out {tmp_path / 's'}" in caught.value.remedy
    assert "lr=0.001 hidden=8" in caught.value.cause


def with_clock(monkeypatch: pytest.MonkeyPatch, each: float) -> list[float]:
    """A clock that moves by `each` seconds with every training."""
    now, honest = [0.0], work.resume

    def resume(*words: Any, **more: Any) -> Any:
        now[0] += each
        return honest(*words, **more)

    monkeypatch.setattr(work, "clock", lambda: now[0])
    monkeypatch.setattr(work, "resume", resume)
    monkeypatch.setattr(work, "trial_seconds", lambda *a: each)
    return now


def test_no_training_is_begun_that_does_not_fit_and_those_left_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": [0.01, 0.1], "epochs": 1}
    found = snellen.study("moons", vary, seeds=3, out=tmp_path / "s", options=dataclasses.replace(ONE, seconds=40.0))
    assert now[0] == 30.0  # 40 less 4 for the end: three fit
    assert [row.done for row in found.rows] == [2, 1]
    assert [t.status for row in found.rows for t in row.trainings].count("not run") == 3
    assert found.chosen == 1  # of those with the most trainings
    assert "not run: seed-2" in (tmp_path / "s" / "study.md").read_text()
    assert "3 of 6 trainings were not run: the budget was spent." in found.verdict


def test_what_a_killed_study_has_spent_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": [0.01, 0.1], "epochs": 1}
    limited = dataclasses.replace(ONE, seconds=40.0)
    with monkeypatch.context() as patch:
        patch.setattr(work, "best_of", lambda rows: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            snellen.study("moons", vary, seeds=2, out=tmp_path / "s", options=limited)
    assert json.loads((tmp_path / "s" / "study.json").read_text())["spent"] == 30.0
    snellen.study("moons", vary, seeds=2, out=tmp_path / "s", options=limited)
    assert now[0] == 30.0


def test_a_search_ends_when_no_training_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": "1e-3..1e-1", "epochs": 1}
    found = snellen.study(
        "moons", vary, seeds=2, trials=9, out=tmp_path / "s", options=dataclasses.replace(ONE, seconds=40.0)
    )
    assert [row.done for row in found.rows] == [2, 1]
    assert "15 of 18 trainings were not run" in found.verdict


def test_a_stop_in_the_trial_says_how_to_go_on_with_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*words: Any) -> float:
        raise snellen.Stopped("Stopped.", "Go on with the trial", signal=15)

    monkeypatch.setattr(work, "trial_seconds", stops)
    with pytest.raises(snellen.Stopped) as caught:
        snellen.study("moons", VARY, seeds=1, out=tmp_path / "s", options=ONE)
    assert caught.value.remedy == f"Go on with the same words and --out {tmp_path / 's'}"
    assert caught.value.exit_code == 143


def test_a_choice_stands_once_the_test_split_is_being_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": [0.0001, 0.1], "epochs": 1}
    limited = dataclasses.replace(ONE, seconds=18.0)
    with monkeypatch.context() as patch:
        patch.setattr(work._Work, "_open", lambda *a: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            snellen.study("moons", vary, seeds=1, out=tmp_path / "s", options=limited)
    found = snellen.study("moons", vary, seeds=1, out=tmp_path / "s", options=dataclasses.replace(ONE, seconds=900.0))
    assert (found.chosen, now[0]) == (1, 10.0)
    assert found.rows[0].test is not None


def test_a_damaged_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"about": {}, "spent": "much"}')
    with pytest.raises(snellen.DataError, match="not what was written"):
        snellen.study("moons", VARY, out=tmp_path, options=ONE)


def test_the_number_and_the_time_are_told_before_the_first_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Progress:
        def begin(self, name: str, place: int, of: int) -> None:
            said.append(f"begin {place} of {of}: {name}")

        def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...

        def say(self, message: str) -> None:
            said.append(message)

    monkeypatch.setattr(work, "trial_seconds", lambda *a: 30.0)
    vary = {"model": "softmax", "lr": [0.01, 0.1], "epochs": 1}
    snellen.study("moons", vary, seeds=1, out=tmp_path / "s", options=dataclasses.replace(ONE, progress=Progress()))
    assert said[0].startswith("2 trainings (2 cells × 1 seed), about 1 min 0 s at most")
    assert [line for line in said if line.startswith("begin")] == [
        "begin 0 of 2: lr=0.01 seed-0",
        "begin 1 of 2: lr=0.1 seed-0",
    ]


def test_a_trial_tells_the_time_of_a_whole_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from snellen.model_selection import time_estimate

    monkeypatch.chdir(tmp_path)
    data = dataset("moons")
    short = time_estimate.trial_seconds(data, LEARNERS["classify"]["softmax"], {"epochs": 1}, ONE)
    long = time_estimate.trial_seconds(data, LEARNERS["classify"]["softmax"], {"epochs": 1_000_000}, ONE)
    assert short is not None
    assert long is not None
    assert long > 100 * time_estimate.TRIAL > short  # 22 million steps
    assert (
        time_estimate.trial_seconds(
            data, dataclasses.replace(LEARNERS["classify"]["softmax"], stoppable=False), {}, ONE
        )
        is None
    )
    assert not list(tmp_path.iterdir())


def test_the_test_split_is_opened_once_after_all_have_learned(tmp_path: Path) -> None:
    asked: list[str] = []
    task = LEARNERS["classify"]["mlp"].task
    honest = task.predict

    def predict(model: Any, data: Any, split: str, run: Run) -> Any:
        asked.append(split)
        return honest(model, data, split, run)

    object.__setattr__(task, "predict", predict)
    try:
        snellen.study(
            "moons", {"model": "mlp,softmax", "lr": "0.01,0.1", "epochs": 1}, seeds=2, out=tmp_path / "s", options=ONE
        )
    finally:
        object.__setattr__(task, "predict", honest)
    assert [split for split in asked if split != "train"] == ["val"] * 8 + ["test"] * 2


def test_a_cell_that_fails_ends_alone_with_its_reason(tmp_path: Path) -> None:
    def breaks(c: BaselineSettings, data: Any, model: Prior, run: Run) -> None:
        raise RuntimeError("a bug of its own")

    own = dataclasses.replace(LEARNERS["classify"]["baseline"], name="breaks", fit=breaks)
    found = snellen.study("moons", {"model": [own, "baseline"]}, seeds=1, out=tmp_path / "s", options=ONE)
    assert [row.trainings[0].status for row in found.rows] == ["failed", "done"]
    assert "a bug of its own" in found.rows[0].trainings[0].reason
    assert found.chosen == 2
    assert "a bug of its own" in (tmp_path / "s" / "study.tex").read_text()


def test_each_cell_is_cross_validated(tmp_path: Path) -> None:
    found = snellen.study(
        "moons", {"model": "softmax", "lr": [0.0001, 0.1], "epochs": 1}, folds=3, out=tmp_path / "s", options=ONE
    )
    assert found.over == "folds"
    row = found.rows[(found.chosen or 0) - 1]
    assert row.test is not None
    assert row.test.over == "folds"
    ids = torch.cat([snellen.load(t.folder).predictions("test")["ids"] for t in row.trainings])
    assert torch.equal(ids.sort().values, torch.arange(1000))
    other = found.rows[2 - (found.chosen or 0)]
    assert not list((tmp_path / "s" / other.cell.name).rglob("test.safetensors"))
    with pytest.raises(snellen.UsageError, match="splits of its own"):
        snellen.study("xor", {"model": "softmax"}, folds=2, out=tmp_path / "x", options=ONE)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("vary", "cause", "remedy"),
    [
        ({"learning_rate": "1,2"}, "mlp has no setting 'learning_rate'", ""),
        ({"hiden": "1,2"}, "no setting 'hiden'", "hidden"),
        ({"lr": "0.1,-1"}, "--lr cannot be -1", "above 0"),
        ({"lr": [0.1, "fast"]}, "--lr cannot be 'fast'", "a number"),
        ({"lr": "0.1..0.01"}, "is empty", "lower number first"),
        ({"lr": "0..0.1"}, "--lr cannot be 0", "above 0"),
        ({"hidden": "20..120"}, "it has no range", "List its values"),
        ({"optimizer": "adm,sgd"}, "'adm'", "adam"),
        ({"lr": "0.1,0.1"}, "0.1 twice", "once"),
        ({"lr": ""}, "has no values", "a number"),
        ({"model": "mpl"}, "'mpl'", "mlp"),
        ({"model": "lenet,mlp"}, "lenet reads image", "Learners of classify"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_anything_is_written(
    vary: dict[str, Any], cause: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(snellen.UsageError) as caught:
        snellen.study("moons", {"model": "mlp", **vary}, out=tmp_path / "s", options=ONE)
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_ranges_are_logarithmic_over_more_than_a_decade_and_whole_for_whole_numbers() -> None:
    _, given = axes(
        {"model": "mlp", "lr": "1e-4..1e-1", "epochs": "2..9", "dropout": "0..0.5", "hidden": "20,60+60"},
        dataset("moons").spec,
    )
    assert given == [
        Between(name="lr", low=1e-4, high=0.1, whole=False),
        Between(name="epochs", low=2, high=9, whole=True),
        Between(name="dropout", low=0.0, high=0.5, whole=False),
        Choices(name="hidden", values=((20,), (60, 60))),
    ]
    assert [axis.log for axis in given if isinstance(axis, Between)] == [True, False, False]


def test_a_search_without_optuna_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(snellen.EnvironmentProblem) as caught:
        snellen.study("moons", {"model": "softmax", "lr": "1e-4..1e-1"}, out=tmp_path / "s", options=ONE)
    assert 'pip install "snellen[search]"' in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.fixture
def searching(tmp_path: Path) -> Callable[[str], Study]:
    pytest.importorskip("optuna")
    vary = {"model": "mlp,softmax", "lr": "1e-4..1e-1", "batch_size": "16..64", "epochs": 1}

    def search(name: str) -> Study:
        return snellen.study("moons", vary, seeds=1, trials=5, out=tmp_path / name, options=ONE)

    return search


def test_a_search_stays_within_its_ranges_and_goes_on_the_same_way(
    searching: Callable[[str], Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = searching("whole")
    assert len(whole.rows) == 5
    assert len({row.cell.words for row in whole.rows}) == 5
    for row in whole.rows:
        assert 1e-4 <= row.cell.values["lr"] <= 0.1
        assert isinstance(row.cell.values["batch_size"], int)
        assert 16 <= row.cell.values["batch_size"] <= 64
    assert whole.importance is not None
    assert sum(whole.importance.values()) == pytest.approx(1)
    honest, count = work.resume, [0]

    def resume(*words: Any, **more: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            raise Killed
        return honest(*words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(work, "resume", resume)
        with pytest.raises(Killed):
            searching("killed")
    again = searching("killed")
    assert [row.cell.values for row in again.rows] == [row.cell.values for row in whole.rows]
    assert [row.validation for row in again.rows] == [row.validation for row in whole.rows]
