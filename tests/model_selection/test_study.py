"""Studies: paired seeds, time budget, kill and resume, one test evaluation, tables with intervals, searches."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import snellen
from snellen.api import RunOptions
from snellen.api.lookup import reopen_data
from snellen.core.run import Run
from snellen.core.views import Metric
from snellen.data.open_dataset import dataset
from snellen.model_selection.cross_validation import mean_with_interval
from snellen.model_selection.importance import importance
from snellen.model_selection.runner_up import paired_p_value, runner_up_sentence
from snellen.model_selection.search_space import ChoiceAxis, RangeAxis, StudyCell, parse_axes
from snellen.model_selection.study_plan import score
from snellen.model_selection.study_results import (
    CellResult,
    Study,
    Training,
    caption,
    importance_table,
    mean_table,
)
from snellen.nn.reset import parts_without_reset, reset_weights
from snellen.tasks import LEARNERS
from snellen.tasks.classify.baseline import BaselineClassifierSettings, ClassPrior

study_module = importlib.import_module("snellen.model_selection.study")  # the module; snellen.study is the function
OPTIONS = RunOptions(device="cpu", threads=1)
VARY = {"model": "mlp", "lr": [0.001, 0.05], "hidden": "8,8+8", "epochs": 1}


class Killed(BaseException):
    """Simulated SIGKILL: not caught by `except Exception`."""


@pytest.fixture(autouse=True)
def _no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "trial_seconds", lambda *a: 0.01)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Study:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "trial_seconds", lambda *a: 0.01)
        folder = tmp_path_factory.mktemp("study") / "s"
        return snellen.study(dataset("moons", seed=3), VARY, seeds=2, out=folder, options=OPTIONS)


def test_every_cell_has_the_same_seeds_and_splits(result: Study) -> None:
    assert [row.cell.values for row in result.rows] == [
        {"lr": lr, "hidden": hidden} for lr in (0.001, 0.05) for hidden in ((8,), (8, 8))
    ]
    splits = []
    for row in result.rows:
        runs = [snellen.load(training.folder) for training in row.trainings]
        assert [run.record.seed for run in runs] == [0, 1]
        assert all(run.record.settings["epochs"] == 1 for run in runs)
        assert [run.record.settings["hidden"] for run in runs] == [list(row.cell.values["hidden"])] * 2
        splits += [reopen_data(run.record).splits["val"] for run in runs]
    assert all(torch.equal(split, splits[0]) for split in splits)
    assert torch.equal(splits[0], dataset("moons", seed=3).splits["val"])


def test_means_have_students_interval_over_seeds(result: Study) -> None:
    for row in result.rows:
        values = [training.validation.value for training in row.trainings if training.validation is not None]
        low, high = stats.t.interval(0.95, 1, loc=statistics.fmean(values), scale=stats.sem(values))
        assert row.validation is not None
        assert (row.validation.value, row.validation.over) == (pytest.approx(statistics.fmean(values)), "seeds")
        assert (row.validation.low, row.validation.high) == (pytest.approx(low), pytest.approx(high))


def test_only_the_cell_that_is_best_on_validation_is_tested(result: Study) -> None:
    values = [row.validation.value for row in result.rows if row.validation is not None]
    assert result.chosen == 1 + values.index(max(v for v in values if v is not None))
    assert [row.cell.number for row in result.rows if row.test is not None] == [result.chosen]
    has_test = [
        bool(list((result.folder / f"cell-{k}").glob("seed-*/predictions/test.safetensors"))) for k in (1, 2, 3, 4)
    ]
    assert has_test == [k == result.chosen for k in (1, 2, 3, 4)]
    assert result.rows[result.chosen - 1].cell.label in result.verdict


def test_the_files_contain_means_and_every_seed(result: Study) -> None:
    rows = list(csv.DictReader((result.folder / "study.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["mean", "0", "1"] * 4
    assert float(rows[1]["val value"]) == result.rows[0].trainings[0].validation.value  # type: ignore[union-attr]
    markdown = (result.folder / "study.md").read_text()
    assert "| cell | lr | hidden | accuracy (val) | accuracy (test) | trained |  |" in markdown
    assert "Student's t" in markdown
    assert (result.folder / "study.tex").read_text().count("\\begin{tabular}") == 3
    page = (result.folder / "report.html").read_text()
    assert "accuracy against lr" in page
    assert "accuracy against hidden" in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_importance_has_an_interval_and_a_p_value(result: Study) -> None:
    assert result.importance is not None
    assert set(result.importance) == {"lr", "hidden"}
    for effect in result.importance.values():
        assert 0 <= effect.low <= effect.fraction <= effect.high <= 1
        assert 0 <= effect.chance <= 1


def study_of(values: list[list[float]], over: str = "seeds", labels: Sequence[str] = ("a", "b")) -> Study:
    """A study of one setting with the given validation results, nothing trained."""
    learner = LEARNERS["classify"]["baseline"]
    cells = [
        StudyCell(number=k, learner=learner, settings={}, values={"x": label}) for k, label in enumerate(labels, 1)
    ]
    rows = []
    for cell, row in zip(cells, values, strict=True):
        metrics = [Metric(value=v, low=v - 0.1, high=v + 0.1, over="samples") for v in row]
        rows.append(
            CellResult(
                cell=cell,
                trainings=tuple(
                    Training(cell=cell.number, label=f"{over[:-1]}-{k}", status="done", validation=m)
                    for k, m in enumerate(metrics)
                ),
                validation=mean_with_interval(metrics, over),
            )
        )
    best = max(range(len(values)), key=lambda k: statistics.fmean(values[k]))
    return Study(
        folder=Path(),
        headline="accuracy",
        over=over,
        of=sum(map(len, values)),
        rows=tuple(rows),
        chosen=best + 1,
        test=mean_with_interval(
            [Metric(value=v, low=v - 0.1, high=v + 0.1, over="samples") for v in values[best]], over
        ),
        runner_up=runner_up_sentence([cell.label for cell in cells], values, best, over),
        importance=importance(cells, values, [], over),
        is_search=False,
    )


def test_noise_is_not_distinguishable_from_chance() -> None:
    study = study_of([[0.91, 0.93, 0.90], [0.92, 0.90, 0.93]])
    (row,) = importance_table(study)[1]
    assert row[-1] == "not distinguishable from chance"
    assert str(row[2]).startswith("0 to ")
    assert "does not differ significantly from the runner-up, x=a (paired over 3 seeds)" in study.verdict
    study = study_of([[0.91, 0.93, 0.90], [0.812, 0.829, 0.802]])
    (row,) = importance_table(study)[1]
    assert row[-1] == ""
    assert "It is significantly better than the runner-up, x=b" in study.verdict


def test_the_importance_of_a_range_is_that_of_a_polynomial_on_its_scale() -> None:
    rng = np.random.default_rng(0)
    learner = LEARNERS["classify"]["baseline"]
    axes = [RangeAxis(name=name, low=1e-4, high=1.0, is_integer=False) for name in ("lr", "decay")]
    exponents = rng.uniform(-4, 0, (20, 2))
    cells = [
        StudyCell(number=k, learner=learner, settings={}, values={"lr": 10**a, "decay": 10**b})
        for k, (a, b) in enumerate(exponents.tolist(), 1)
    ]
    x = (exponents - exponents.mean(0)) / exponents.std(0)
    y = 0.9 - 0.01 * (exponents[:, 0] + 2) ** 2 + 0.002 * rng.normal(size=20)  # best at 0.01
    found = importance(cells, y[:, None].tolist(), axes, "seeds")
    assert found is not None
    residuals = [
        np.linalg.lstsq(np.stack([np.ones(20), *columns], 1), y, rcond=None)[1][0]
        for columns in ((x[:, 0], x[:, 0] ** 2, x[:, 1], x[:, 1] ** 2), (x[:, 1], x[:, 1] ** 2))
    ]
    p = stats.f.sf((residuals[1] - residuals[0]) / 2 / (residuals[0] / 15), 2, 15)
    assert found["lr"].chance == pytest.approx(min(1, 2 * p))  # Holm
    assert found["lr"].low > 0.5
    assert found["decay"].low == 0


def test_one_seed_has_no_importance_and_no_test() -> None:
    study = study_of([[0.91], [0.5]])
    assert importance_table(study)[1] == []
    assert "Importance is not shown" in caption(study)
    assert "One seed cannot show whether it differs from the runner-up, x=b." in study.verdict


def test_a_learner_that_no_seed_varies_has_the_interval_over_samples() -> None:
    study = study_of([[0.9] * 3, [0.8] * 3])
    assert str(study.rows[0].validation) == "0.90 ± 0.10"
    assert "equal for all seeds, ± over samples" in str(mean_table(study)[1][0][-1])
    assert "0.90 ± 0.10, over samples; all 3 seeds give the same result" in study.verdict
    assert study.importance is None


def test_an_interval_over_seeds_states_what_it_leaves_out() -> None:
    study = study_of([[0.9, 0.91], [0.8, 0.83]])
    assert "over 2 seeds (split fixed, test sampling not included)" in study.verdict
    assert "over seeds (split fixed, test sampling not included; Student's t" in caption(study)
    assert "Nadeau and Bengio" in caption(study_of([[0.9, 0.91], [0.8, 0.83]], over="folds"))


@pytest.mark.parametrize("over", ["seeds", "folds"])
def test_the_runner_up_is_tested_paired_and_corrected_for_the_number_of_cells(over: str) -> None:
    """Fifteen equal cells: the best is rarely called significantly better than the second."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 15, 5)) + 5 * rng.normal(size=(200, 1, 5))
    labels = [f"{k}" for k in range(15)]
    sentences = [runner_up_sentence(labels, v.tolist(), int(v.mean(1).argmax()), over) for v in values]
    assert sum("It is significantly better" in sentence for sentence in sentences) <= 4
    gains = [0.02, 0.03, 0.015, 0.025]
    assert paired_p_value(gains) == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)


def test_a_module_starts_every_seed_from_new_weights_and_one_that_cannot_is_an_error(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    snellen.study("moons", {"model": module, "epochs": 1, "lr": [1e-6]}, seeds=2, out=tmp_path / "s", options=OPTIONS)
    first, second = (snellen.load(tmp_path / "s" / "cell-1" / f"seed-{k}", learner=module) for k in (0, 1))
    weights = [dict(run.model.named_parameters())["network.body.0.weight"] for run in (first, second)]
    assert (weights[0] - weights[1]).abs().max() > 0.05  # far more than training with this rate changes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())

    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

    with pytest.raises(snellen.UsageError, match=r"Own holds parameters and has no reset_parameters\(\)"):
        snellen.study("moons", {"model": Own()}, seeds=2, out=tmp_path / "own", options=OPTIONS)
    assert not (tmp_path / "own").exists()


def test_frozen_parts_of_a_module_keep_their_weights() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 2), torch.nn.MultiheadAttention(4, 2))
    module[0].requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert parts_without_reset(module) == []
    reset_weights(module)
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"1.weight", "1.bias", "2.in_proj_weight", "2.out_proj.weight"}


def test_a_finished_study_is_returned_without_training(result: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "resume", lambda *a, **k: pytest.fail("trained again"))
    again = snellen.study(dataset("moons", seed=3), VARY, seeds=2, out=result.folder, options=OPTIONS)
    assert (again.verdict, again.rows) == (result.verdict, result.rows)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"seeds": 3}, "seeds"),
        ({"vary": {**VARY, "epochs": 2}}, "vary"),
        ({"data": "moons"}, "data"),
        ({"vary": {**VARY, "model": "mlp,softmax", "hidden": 8}}, "no setting 'hidden'"),
    ],
)
def test_a_folder_of_another_study_is_an_error(result: Study, more: dict[str, Any], what: str) -> None:
    arguments = {"data": dataset("moons", seed=3), "vary": VARY, "seeds": 2, **more}
    with pytest.raises(snellen.UsageError, match=what):
        snellen.study(
            arguments["data"], arguments["vary"], seeds=arguments["seeds"], out=result.folder, options=OPTIONS
        )


@pytest.mark.parametrize("saves", [3, 8, 16])
def test_a_killed_study_resumes_to_the_same_results(
    result: Study, saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, count = Run.save, [0]

    def save(self: Run) -> None:
        original(self)
        count[0] += 1
        if count[0] == saves:
            raise Killed

    often = dataclasses.replace(OPTIONS, save_every=0.0)
    vary = {**VARY, "batch_size": 128}
    expected = snellen.study(dataset("moons", seed=3), vary, seeds=2, out=tmp_path / "whole", options=OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", save)
        with pytest.raises(Killed):
            snellen.study(dataset("moons", seed=3), vary, seeds=2, out=tmp_path / "killed", options=often)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("model.safetensors")}
    begun = list((tmp_path / "killed").rglob("state/manifest.json"))
    assert len(begun) == len(finished) + 1  # one was partly trained
    again = snellen.study(dataset("moons", seed=3), vary, seeds=2, out=tmp_path / "killed", options=OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for one, other in zip(expected.rows, again.rows, strict=True):
        assert (one.validation, one.test) == (other.validation, other.test)
    assert again.chosen == expected.chosen


def test_a_stopped_study_states_how_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_stopped(*arguments: Any, **more: Any) -> None:
        raise snellen.Stopped("Stopped.", signal=2)

    monkeypatch.setattr(study_module, "resume", raise_stopped)
    with pytest.raises(snellen.Stopped) as caught:
        snellen.study("moons", VARY, seeds=1, out=tmp_path / "s", options=OPTIONS)
    assert f"--out {tmp_path / 's'}" in caught.value.remedy
    assert "lr=0.001 hidden=8" in caught.value.cause


def with_clock(monkeypatch: pytest.MonkeyPatch, each: float) -> list[float]:
    """A fake clock that advances by `each` seconds per training."""
    now, original = [0.0], study_module.resume

    def resume(*arguments: Any, **more: Any) -> Any:
        now[0] += each
        return original(*arguments, **more)

    monkeypatch.setattr(study_module, "clock", lambda: now[0])
    monkeypatch.setattr(study_module, "resume", resume)
    monkeypatch.setattr(study_module, "trial_seconds", lambda *a: each)
    return now


def test_trainings_that_do_not_fit_into_the_budget_are_skipped_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": [0.01, 0.1], "epochs": 1}
    study = snellen.study(
        "moons", vary, seeds=3, out=tmp_path / "s", options=dataclasses.replace(OPTIONS, seconds=40.0)
    )
    assert now[0] == 30.0  # 40 minus 4 seconds reserve: three fit
    assert [row.done for row in study.rows] == [2, 1]
    assert [t.status for row in study.rows for t in row.trainings].count("not run") == 3
    assert study.chosen == 1  # of those with the most trainings
    assert "not run: seed-2" in (tmp_path / "s" / "study.md").read_text()
    assert "3 of 6 training runs were not started: the budget was spent." in study.verdict


@pytest.mark.parametrize(("budget", "sentence"), [(40.0, "The study took 10 s longer than its budget."), (48.0, "")])
def test_a_study_over_its_budget_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: float, sentence: str
) -> None:
    with_clock(monkeypatch, 50.0)
    monkeypatch.setattr(study_module, "trial_seconds", lambda *a: 10.0)  # an estimate that is too low
    vary = {"model": "softmax", "lr": [0.01, 0.1], "epochs": 1}
    limited = dataclasses.replace(OPTIONS, seconds=budget)
    for _ in range(2):  # the second prints the result of the first
        study = snellen.study("moons", vary, seeds=1, out=tmp_path / "s", options=limited)
        assert study.verdict.endswith(sentence)
        assert ("longer than its budget" in study.verdict) == bool(sentence)
        assert sentence in (tmp_path / "s" / "report.html").read_text()


def test_time_spent_before_a_kill_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": [0.01, 0.1], "epochs": 1}
    limited = dataclasses.replace(OPTIONS, seconds=40.0)
    with monkeypatch.context() as patch:
        patch.setattr(study_module, "best_cell", lambda rows: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            snellen.study("moons", vary, seeds=2, out=tmp_path / "s", options=limited)
    assert json.loads((tmp_path / "s" / "study.json").read_text())["spent"] == 30.0
    snellen.study("moons", vary, seeds=2, out=tmp_path / "s", options=limited)
    assert now[0] == 30.0


def test_a_search_ends_when_no_training_fits_into_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": "1e-3..1e-1", "epochs": 1}
    study = snellen.study(
        "moons", vary, seeds=2, trials=9, out=tmp_path / "s", options=dataclasses.replace(OPTIONS, seconds=40.0)
    )
    assert [row.done for row in study.rows] == [2, 1]
    assert "15 of 18 training runs were not started" in study.verdict


def test_a_stop_in_the_time_estimate_states_how_to_resume_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_stopped(*arguments: Any) -> float:
        raise snellen.Stopped("Stopped.", "Go on with the trial", signal=15)

    monkeypatch.setattr(study_module, "trial_seconds", raise_stopped)
    with pytest.raises(snellen.Stopped) as caught:
        snellen.study("moons", VARY, seeds=1, out=tmp_path / "s", options=OPTIONS)
    assert caught.value.remedy == f"Resume with the same arguments and --out {tmp_path / 's'}"
    assert caught.value.exit_code == 143


def test_the_selection_is_final_once_the_test_evaluation_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = with_clock(monkeypatch, 10.0)
    vary = {"model": "softmax", "lr": [0.0001, 0.1], "epochs": 1}
    limited = dataclasses.replace(OPTIONS, seconds=18.0)
    with monkeypatch.context() as patch:
        patch.setattr(study_module._StudyRunner, "_evaluate_test", lambda *a: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            snellen.study("moons", vary, seeds=1, out=tmp_path / "s", options=limited)
    study = snellen.study(
        "moons", vary, seeds=1, out=tmp_path / "s", options=dataclasses.replace(OPTIONS, seconds=900.0)
    )
    assert (study.chosen, now[0]) == (1, 10.0)
    assert study.rows[0].test is not None


def test_a_damaged_study_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"about": {}, "spent": "much"}')
    with pytest.raises(snellen.DataError, match="not the state of a study"):
        snellen.study("moons", VARY, out=tmp_path, options=OPTIONS)


def test_number_and_time_are_reported_before_the_first_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []

    class Progress:
        def begin(self, name: str, index: int, total: int) -> None:
            messages.append(f"begin {index} of {total}: {name}")

        def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...

        def message(self, message: str) -> None:
            messages.append(message)

    monkeypatch.setattr(study_module, "trial_seconds", lambda *a: 30.0)
    vary = {"model": "softmax", "lr": [0.01, 0.1], "epochs": 1}
    snellen.study("moons", vary, seeds=1, out=tmp_path / "s", options=dataclasses.replace(OPTIONS, progress=Progress()))
    assert messages[0].startswith("2 training runs (2 cells × 1 seed), at most about 1 min 0 s, estimated")
    assert [line for line in messages if line.startswith("begin")] == [
        "begin 0 of 2: lr=0.01 seed-0",
        "begin 1 of 2: lr=0.1 seed-0",
    ]


def test_a_trial_estimates_the_time_of_a_complete_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from snellen.model_selection import time_estimate

    monkeypatch.chdir(tmp_path)
    data = dataset("moons")
    short = time_estimate.trial_seconds(data, LEARNERS["classify"]["softmax"], {"epochs": 1}, OPTIONS)
    long = time_estimate.trial_seconds(data, LEARNERS["classify"]["softmax"], {"epochs": 1_000_000}, OPTIONS)
    assert short is not None
    assert long is not None
    assert long > 100 * time_estimate.TRIAL > short  # 22 million steps
    assert (
        time_estimate.trial_seconds(
            data, dataclasses.replace(LEARNERS["classify"]["softmax"], stoppable=False), {}, OPTIONS
        )
        is None
    )
    assert not list(tmp_path.iterdir())


def test_the_test_split_is_evaluated_once_after_all_trainings(tmp_path: Path) -> None:
    splits_seen: list[str] = []
    task = LEARNERS["classify"]["mlp"].task
    original = task.predict

    def predict(model: Any, data: Any, split: str, run: Run) -> Any:
        splits_seen.append(split)
        return original(model, data, split, run)

    object.__setattr__(task, "predict", predict)
    try:
        snellen.study(
            "moons",
            {"model": "mlp,softmax", "lr": "0.01,0.1", "epochs": 1},
            seeds=2,
            out=tmp_path / "s",
            options=OPTIONS,
        )
    finally:
        object.__setattr__(task, "predict", original)
    assert [split for split in splits_seen if split != "train"] == ["val"] * 8 + ["test"] * 2


def test_a_failed_cell_has_its_reason_and_the_others_continue(tmp_path: Path) -> None:
    def raise_error(c: BaselineClassifierSettings, data: Any, model: ClassPrior, run: Run) -> None:
        raise RuntimeError("a bug of its own")

    custom = dataclasses.replace(LEARNERS["classify"]["baseline"], name="breaks", fit=raise_error)
    study = snellen.study("moons", {"model": [custom, "baseline"]}, seeds=1, out=tmp_path / "s", options=OPTIONS)
    assert [row.trainings[0].status for row in study.rows] == ["failed", "done"]
    assert "a bug of its own" in study.rows[0].trainings[0].reason
    assert study.chosen == 2
    assert "a bug of its own" in (tmp_path / "s" / "study.tex").read_text()


def test_folds_select_anew_in_each_fold_on_samples_that_its_test_split_does_not_hold(tmp_path: Path) -> None:
    study = snellen.study(
        "moons", {"model": "softmax", "lr": [0.0001, 0.1], "epochs": 1}, folds=3, out=tmp_path / "s", options=OPTIONS
    )
    assert study.over == "folds"
    selected = []
    for fold in range(3):
        validation = [score(row.trainings[fold].validation) for row in study.rows]
        tested = [row.cell.number for row in study.rows if row.trainings[fold].test is not None]
        assert tested == [1 + validation.index(max(validation))]
        selected.append(study.rows[tested[0] - 1].trainings[fold])
    assert study.test == mean_with_interval([t.test for t in selected if t.test is not None], "folds")
    ids = torch.cat([snellen.load(t.folder).predictions("test")["ids"] for t in selected])
    assert torch.equal(ids.sort().values, torch.arange(1000))
    assert all(row.test is None for row in study.rows)
    assert f"Nested test result of this selection: accuracy {study.test}, over 3 folds" in study.verdict
    with pytest.raises(snellen.UsageError, match="has its own splits"):
        snellen.study("xor", {"model": "softmax"}, folds=2, out=tmp_path / "x", options=OPTIONS)
    assert not (tmp_path / "x").exists()


def test_a_study_of_folds_that_was_finished_before_the_selection_was_nested_is_evaluated_again(tmp_path: Path) -> None:
    vary = {"model": "softmax", "lr": [0.0001, 0.1], "epochs": 1}
    study = snellen.study("moons", vary, folds=2, out=tmp_path / "s", options=OPTIONS)
    state = json.loads((tmp_path / "s" / "study.json").read_text())
    del state["nested"]
    (tmp_path / "s" / "study.json").write_text(json.dumps(state))
    assert snellen.study("moons", vary, folds=2, out=tmp_path / "s", options=OPTIONS).test == study.test
    assert json.loads((tmp_path / "s" / "study.json").read_text())["nested"]


@pytest.mark.parametrize(
    ("vary", "cause", "remedy"),
    [
        ({"learning_rate": "1,2"}, "mlp has no setting 'learning_rate'", ""),
        ({"hiden": "1,2"}, "no setting 'hiden'", "hidden"),
        ({"lr": "0.1,-1"}, "--lr cannot be -1", "above 0"),
        ({"lr": [0.1, "fast"]}, "--lr cannot be 'fast'", "a number"),
        ({"lr": "0.1..0.01"}, "is empty", "lower number first"),
        ({"lr": "0..0.1"}, "--lr cannot be 0", "above 0"),
        ({"hidden": "20..120"}, "not a single number", "List its values"),
        ({"optimizer": "adm,sgd"}, "'adm'", "adam"),
        ({"lr": "0.1,0.1"}, "0.1 twice", "once"),
        ({"lr": ""}, "has no values", "a number"),
        ({"model": "mpl"}, "'mpl'", "mlp"),
        ({"model": "lenet,mlp"}, "lenet reads audio or image, not vector", "Models of classify"),
        ({"momentum": "0.8,0.9"}, "--momentum has no effect with --optimizer adam", "--optimizer momentum"),
        ({"momentum": "0.1..0.9", "optimizer": "adam,sgd"}, "--momentum has no effect", "--optimizer momentum"),
        ({"model": "svm", "kernel": ["linear"], "gamma": 1.0}, "--gamma has no effect", "give --kernel rbf"),
    ],
)
def test_invalid_axes_are_errors_before_anything_is_written(
    vary: dict[str, Any], cause: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(snellen.UsageError) as caught:
        snellen.study("moons", {"model": "mlp", **vary}, out=tmp_path / "s", options=OPTIONS)
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("optimizer", [["momentum"], "adam,momentum", ["nesterov", "sgd"]])
def test_a_setting_may_have_an_effect_in_some_cells_only(optimizer: Any) -> None:
    vary = {"model": "mlp", "momentum": "0.8,0.9", "optimizer": optimizer}
    assert [axis.name for axis in parse_axes(vary, dataset("moons").spec)[1]] == ["momentum", "optimizer"]


def test_ranges_over_more_than_a_decade_are_logarithmic_and_ranges_of_integers_are_integer() -> None:
    _, axes = parse_axes(
        {"model": "mlp", "lr": "1e-4..1e-1", "epochs": "2..9", "dropout": "0..0.5", "hidden": "20,60+60"},
        dataset("moons").spec,
    )
    assert axes == [
        RangeAxis(name="lr", low=1e-4, high=0.1, is_integer=False),
        RangeAxis(name="epochs", low=2, high=9, is_integer=True),
        RangeAxis(name="dropout", low=0.0, high=0.5, is_integer=False),
        ChoiceAxis(name="hidden", values=((20,), (60, 60))),
    ]
    assert [axis.log for axis in axes if isinstance(axis, RangeAxis)] == [True, False, False]


def test_a_search_without_optuna_states_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(snellen.EnvironmentProblem) as caught:
        snellen.study("moons", {"model": "softmax", "lr": "1e-4..1e-1"}, out=tmp_path / "s", options=OPTIONS)
    assert 'pip install "snellen[search]"' in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.fixture
def search_study(tmp_path: Path) -> Callable[[str], Study]:
    pytest.importorskip("optuna")
    vary = {"model": "mlp,softmax", "lr": "1e-4..1e-1", "batch_size": "16..64", "epochs": 1}

    def run_search(name: str) -> Study:
        return snellen.study("moons", vary, seeds=1, trials=5, out=tmp_path / name, options=OPTIONS)

    return run_search


def test_a_search_stays_within_its_ranges_and_resumes_identically(
    search_study: Callable[[str], Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = search_study("complete")
    assert len(complete.rows) == 5
    assert len({row.cell.label for row in complete.rows}) == 5
    for row in complete.rows:
        assert 1e-4 <= row.cell.values["lr"] <= 0.1
        assert isinstance(row.cell.values["batch_size"], int)
        assert 16 <= row.cell.values["batch_size"] <= 64
    assert complete.importance is None  # five cells, and five columns for the model and two ranges
    original, count = study_module.resume, [0]

    def resume(*arguments: Any, **more: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            raise Killed
        return original(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(study_module, "resume", resume)
        with pytest.raises(Killed):
            search_study("killed")
    again = search_study("killed")
    assert [row.cell.values for row in again.rows] == [row.cell.values for row in complete.rows]
    assert [row.validation for row in again.rows] == [row.validation for row in complete.rows]


def test_the_runner_up_test_counts_all_other_cells() -> None:
    """A paired p between 0.05 / 3 and 0.05 is significant for two cells, not for the best of four."""
    best, second = [0.92, 0.94, 0.93, 0.95, 0.93], [0.90, 0.915, 0.925, 0.91, 0.92]
    p = paired_p_value([a - b for a, b in zip(best, second, strict=True)])
    assert 0.05 / 3 < p < 0.05
    two = runner_up_sentence(["a", "b"], [best, second], 0, "seeds")
    four = runner_up_sentence(["a", "b", "c", "d"], [best, second, [0.5] * 5, [0.4] * 5], 0, "seeds")
    assert "is significantly better than the runner-up, b" in two
    assert "does not differ significantly from the runner-up, b" in four
