"""The arithmetic of time in a ladder, with times given: what is counted, in which order, and what is printed."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import snellen
from snellen.api import RunOptions
from snellen.cli.ladder import _longer_budget
from snellen.cli.main import main
from snellen.core import file_io
from snellen.core.errors import CannotWrite, DataError, Stopped, TooLittleTime
from snellen.core.views import Metric
from snellen.metrics.intervals import LEVEL
from snellen.model_selection import ladder_plan, ladder_preview, ladder_training, mirroring
from snellen.model_selection.advice import headline_loss, select_best
from snellen.model_selection.ladder import Ladder, ladder, shortened_models
from snellen.model_selection.ladder_preview import plan_ladder
from snellen.model_selection.ladder_training import LadderTraining
from snellen.model_selection.mirroring import ChangedErrors
from snellen.model_selection.paired_test import RunPredictions
from snellen.model_selection.rung_training import finished_rung, train_rung
from snellen.report.pages.ladder import Rung
from snellen.tasks import LEARNERS, TASKS
from snellen.tasks.regress import svr
from snellen.training import trees, trial_steps

OPTIONS = RunOptions(threads=1)
CLASSIFY = LEARNERS["classify"]


def training(folder: Path, budget: float = 60.0, plan: Any = None, data: str = "moons") -> LadderTraining:
    (folder / "ladder.json").write_text(json.dumps({"plan": plan or {}}))
    opened = snellen.dataset(data)
    return LadderTraining(opened, folder, 0, budget, time.monotonic() + budget, OPTIONS, started=time.monotonic())


class Trainings:
    """Trainings without work: each takes its seconds of the ladder, and gives its validation result."""

    def __init__(self, ladder: LadderTraining, seconds: float, values: dict[str, float], **rung: Any) -> None:
        self.ladder, self.seconds, self.values, self.rung = ladder, seconds, values, rung
        self.limits: list[tuple[str, float]] = []

    def __call__(self, learner: Any, folder: str, seconds: float, min_fraction: float) -> None:
        self.limits.append((folder, round(seconds, 1)))
        self.ladder.end -= self.seconds
        value = self.values.get(folder, self.values.get(learner.name, 0.5))
        rung = Rung(name=learner.name, status="done", validation=Metric(value=value), folder=folder, **self.rung)
        self.ladder.rungs[learner.name] = rung
        self.ladder.trained[learner.name] = SimpleNamespace(folder=folder)  # type: ignore[assignment]


def test_models_that_cannot_be_stopped_are_trained_by_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {"svm": (9.0, 0), "knn": (3.0, 0), "lda": (6.0, 0)}
    run = training(tmp_path, plan={"needed": needed, "pilots": {}, "finals": {}})
    run.rungs = {name: Rung(name=name, status="no time", seconds_needed=s) for name, (s, _) in needed.items()}
    trainings = Trainings(run, 1.0, {})
    monkeypatch.setattr(run, "_train", trainings)
    monkeypatch.setattr(run, "_significantly_worse", lambda values: set())
    run._train_costly({name: CLASSIFY[name] for name in needed})
    assert [folder for folder, _ in trainings.limits] == ["knn", "lda", "svm"]


def test_a_pilot_leaves_the_time_of_those_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {
        "needed": {"softmax": (20.0, 0), "mlp": (21.0, 0)},
        "pilots": {"softmax": 20.0, "mlp": 21.0},
        "finals": {},
    }
    run = training(tmp_path, budget=45.0, plan=plan)
    run.rungs = {name: Rung(name=name, status="no time", seconds_needed=20.0) for name in ("softmax", "mlp")}
    trainings = Trainings(run, 0.0, {})
    monkeypatch.setattr(run, "_train", trainings)
    monkeypatch.setattr(run, "_significantly_worse", lambda values: set())
    run._train_costly({name: CLASSIFY[name] for name in ("mlp", "softmax")})
    assert trainings.limits[0] == ("softmax", pytest.approx(24.0, abs=0.3))  # 45 less the 21 of mlp


def test_a_model_that_was_cut_is_trained_completely_if_time_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {"softmax": (8.0, 0), "mlp": (9.0, 0), "residual-mlp": (9.0, 0)}
    run = training(tmp_path, budget=30.0, plan={"needed": needed, "pilots": dict.fromkeys(needed, 2.0), "finals": {}})
    run.rungs = {name: Rung(name=name, status="no time", seconds_needed=s) for name, (s, _) in needed.items()}
    values = {"softmax": 0.8, "mlp": 0.9, "residual-mlp": 0.3, "mlp-complete": 0.7}
    cut = {"reason": "trained 1 of 4 steps (time limit)", "seconds_needed": 8.0}
    trainings = Trainings(run, 2.0, values, **cut)
    monkeypatch.setattr(run, "_train", trainings)
    monkeypatch.setattr(run, "_significantly_worse", lambda values: {"residual-mlp"})
    run._train_costly({name: CLASSIFY[name] for name in needed})
    folders = [folder for folder, _ in trainings.limits]
    assert folders == ["softmax", "mlp", "residual-mlp", "mlp-complete", "softmax-complete"]
    assert run.rungs["mlp"].folder == "mlp"  # the complete training is worse
    assert run.trained["mlp"].folder == "mlp"
    assert run.rungs["softmax"].folder == "softmax-complete"


def test_the_time_of_the_test_split_counts_once_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder_training, "prediction_seconds", lambda run, count: 7.0)
    run = training(tmp_path)
    metric = Metric(value=0.5)

    def rung(learner: Any, *arguments: Any) -> Any:
        trained = SimpleNamespace(spec=SimpleNamespace(sizes={"train": 10, "val": 5, "test": 5}))
        return Rung(name=learner.name, status="done", validation=metric), trained

    monkeypatch.setattr(ladder_training, "train_rung", rung)
    taken = []
    for name in ("softmax", "mlp", "mlp"):
        before = run.end
        run._train(CLASSIFY[name], name, 5.0, 0.0)
        taken.append(before - run.end)
    assert taken == pytest.approx([14.0, 7.0, 0.0])  # test split and page, test split, nothing


def test_the_fractions_of_models_that_compare_raw_pixels(tmp_path: Path) -> None:
    assert training(tmp_path).max_fraction(CLASSIFY["svm"]) == ladder_plan.WHOLE
    assert training(tmp_path, data="digits").max_fraction(CLASSIFY["svm"]) == ladder_plan.RAW_PIXELS


def test_models_are_compared_with_the_best(tmp_path: Path) -> None:
    run = training(tmp_path)
    errors = {"a": torch.arange(500) < 50, "b": torch.arange(500) < 250, "c": torch.arange(500) < 55}
    task = SimpleNamespace(errors=lambda predictions, spec: predictions.float())
    for name, wrong in errors.items():
        predictions = {"val": wrong}
        run.trained[name] = SimpleNamespace(task=task, spec=None, predictions=predictions.__getitem__)  # type: ignore[assignment]
    assert run._significantly_worse({"a": 0.9, "b": 0.5, "c": 0.89}) == {"b"}


@pytest.mark.parametrize(
    ("rung", "needed", "text"),
    [
        (Rung(name="mlp", status="no time"), 130.0, "takes about 2 min 10 s: --budget 4m"),
        (Rung(name="mlp", status="no time", needs_more=True), 5.0, "takes more than 2.5 s: --budget 2m"),
        (Rung(name="mlp", status="no time"), 1.0, "--budget 2m"),  # more than the minute that was given
        (Rung(name="mlp", status="failed", reason="a bug"), 5.0, None),
        (Rung(name="mlp", status="done", reason="complete"), 5.0, None),
    ],
)
def test_the_budget_that_is_suggested(tmp_path: Path, rung: Rung, needed: float, text: str | None) -> None:
    run = training(tmp_path, budget=54.0)
    run.whole_budget = 60.0
    run.rungs["mlp"] = rung
    run._say_what_time_would_buy("mlp", needed)
    assert run.rungs["mlp"].reason.endswith(text) if text else run.rungs["mlp"] == rung


def test_the_time_of_a_complete_training_follows_from_the_steps_that_were_trained(tmp_path: Path) -> None:
    validation = {"name": {"value": 0.5, "percent": False}}
    plain = {
        "headline": "name",
        "splits": {"val": validation},
        "cost": {"seconds_learning": 5.0},
        "notes": {"fitted": {"steps": 10, "of": 40}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(plain))
    run: Any = SimpleNamespace(folder=tmp_path, headline="name", record=SimpleNamespace(learner="mlp"))
    assert finished_rung(run).seconds_needed == 20.0
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(DataError, match=r"metrics\.json is damaged"):
        finished_rung(run)


@pytest.mark.parametrize(("spent", "left"), [(5000.0, 100.0), (700.0, 300.0)])
def test_a_resumed_ladder_has_at_least_a_tenth_of_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spent: float, left: float
) -> None:
    ladder("moons", budget=1000, out=tmp_path, learners=["lda"], options=OPTIONS)
    path = tmp_path / "ladder.json"
    plain = {**file_io.read_json(path), "spent": spent}
    del plain["finished"]
    file_io.write_json(path, plain)
    ends: list[float] = []
    run = LadderTraining.run
    monkeypatch.setattr(LadderTraining, "run", lambda self, learners: (ends.append(self.left), run(self, learners)))
    ladder("moons", budget=1000, out=tmp_path, learners=["lda"], options=OPTIONS)
    assert left - 30 < ends[0] < left


def test_a_finished_ladder_is_not_trained_again_unless_it_has_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ladder("moons", budget=100, out=tmp_path, learners=["lda"], options=OPTIONS)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"}
    again = ladder("moons", budget=100, out=tmp_path, learners=["lda"], options=OPTIONS)
    assert again == Ladder(**{**vars(first), "overrun": ""})
    assert files == {path: path.stat().st_mtime_ns for path in files}
    calls: list[int] = []
    run = LadderTraining.run
    monkeypatch.setattr(LadderTraining, "run", lambda self, learners: (calls.append(1), run(self, learners)))
    ladder("moons", budget=200, out=tmp_path, learners=["lda"], options=OPTIONS)
    ladder("moons", budget=200, out=tmp_path, learners=["lda", "softmax"], options=OPTIONS)
    assert len(calls) == 2


def test_start_up_counts_as_spent(tmp_path: Path) -> None:
    ladder("moons", budget=1000, out=tmp_path, learners=["lda"], options=OPTIONS, used=77.0)
    assert 77 < file_io.read_json(tmp_path / "ladder.json")["spent"] < 177


def test_the_time_of_the_trial_counts_in_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(ladder_preview, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(ladder_training, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def measure(self: LadderTraining, learner: Any) -> float:
        now[0] += 3.0
        self.rungs[learner.name] = Rung(name=learner.name, status="no time", seconds_needed=30.0)
        return 30.0

    monkeypatch.setattr(LadderTraining, "measure", measure)
    monkeypatch.setattr(LadderTraining, "reduced", lambda self, learner: (30.0, 0))
    data = snellen.dataset("moons")
    plan = plan_ladder(data, [CLASSIFY["softmax"], CLASSIFY["mlp"]], budget=100.0, options=OPTIONS)
    total = sum(model.seconds for model in plan.models) + plan.seconds_final
    assert total == pytest.approx(100.0 - ladder_training.reserve(100.0, data) - 6.0)


def test_a_disk_that_is_full_ends_the_ladder(tmp_path: Path) -> None:
    def fit(*arguments: Any) -> None:
        raise CannotWrite("Cannot write x: No space left on device", "Free some space.")

    full = Rung(name="full", status="failed", seconds_needed=3.0)
    assert shortened_models([full]) == []
    learner = dataclasses.replace(CLASSIFY["baseline"], name="full", fit=fit)
    with pytest.raises(CannotWrite):
        train_rung(learner, snellen.dataset("moons"), tmp_path / "full", 0, OPTIONS, {})


class Clock:
    """A clock that steps and validations advance."""

    def __init__(self, step: float, validation: float) -> None:
        self.now, self.step, self.validation = 0.0, step, validation

    def monotonic(self) -> float:
        return self.now

    def update(self, step: int) -> torch.Tensor:
        self.now += self.step
        return torch.zeros(())

    def validate(self, model: nn.Module) -> float:
        self.now += self.validation
        return 0.5


@pytest.mark.parametrize(
    ("planned", "epoch", "validation", "cost", "limit"),
    [(5000, 50, 1.0, 3.0, 100.0), (100_000, 10, 0.25, 2.0, 60.0), (2000, 20, 0.1, 1.0, 400.0)],
)
def test_steps_and_validations_fit_into_the_time(
    planned: int, epoch: int, validation: float, cost: float, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation takes a third of the time of as many training steps, where it is estimated."""
    model, clock = nn.Linear(2, 1), Clock(0.1, validation)
    monkeypatch.setattr(trial_steps, "time", clock)

    def run(seconds: float, min_fraction: float) -> Any:
        started = clock.now

        class FakeRun(SimpleNamespace):
            @property
            def seconds_left(self) -> float:
                return seconds - (clock.now - started)

        fraction = 3 * validation / (epoch * 0.1)
        return FakeRun(
            seconds=seconds,
            evaluation_cost=cost,
            validation_fraction=fraction,
            min_fraction=min_fraction,
            message=lambda text: None,
            notes={},
            started=started,
        )

    def steps(fake: Any) -> int:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        return trial_steps.steps_within_budget(planned, epoch, clock.update, model, optimizer, fake, clock.validate)

    fake = run(limit, 0.0)
    count = steps(fake)
    total = clock.now - fake.started + 0.1 * count + validation * (count // epoch + cost)
    assert 0.9 * limit < total <= limit or count == planned
    if count < planned:
        fake = run(limit, 1.0)
        with pytest.raises(TooLittleTime) as error:
            steps(fake)
        true = planned * 0.1 + validation * (planned // epoch + cost)
        assert error.value.needed is not None
        assert error.value.needed >= true
        assert steps(run(1.001 * error.value.needed, 1.0)) == planned


@pytest.mark.parametrize(
    ("after", "expected"), [(0.84, {"hflip", "pad_crop"}), (0.86, set()), (0.5, {"hflip", "pad_crop"})]
)
def test_a_change_is_harmful_that_takes_a_quarter_of_the_gain(
    after: float, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mirroring.MAX_LOSS == 0.25
    monkeypatch.setattr(mirroring, "errors_of_changed", lambda run, data, change: ChangedErrors(0.8, after, False))
    errors = 0.8 + 0.01 * torch.arange(40).remainder(5)
    task = SimpleNamespace(errors=lambda predictions, spec: errors)
    record = SimpleNamespace(learner="lenet")
    run: Any = SimpleNamespace(task=task, spec=None, record=record, predictions=lambda split: {})
    assert set(mirroring.harmless_changes(run, snellen.dataset("moons"), torch.ones(40))) == expected


def test_the_standard_error_of_one_different_sample() -> None:
    """b − c = 1 of n samples has a standard error of 1 / n: the cheaper model is one standard error away."""
    count = 300
    spec = snellen.dataset("moons").spec
    truth = torch.arange(count) % 2

    def predictions(wrong: int) -> RunPredictions:
        said = truth.clone()
        said[:wrong] = 1 - said[:wrong]
        scores = torch.nn.functional.one_hot(said, 2).float() * 4
        plain = {"scores": scores, "truth": truth, "ids": torch.arange(count), "probabilistic": torch.tensor(True)}
        return RunPredictions(name="m", learner="m", task=TASKS["classify"], spec=spec, predictions=plain)

    best, cheaper = predictions(30), predictions(31)
    loss = headline_loss(cheaper, best, "accuracy")
    assert loss.value == pytest.approx(1 / count)
    assert loss.standard_error == pytest.approx(1 / count, rel=0.15)
    errors = {"cheaper": torch.zeros(count), "best": torch.zeros(count)}
    errors["cheaper"][:31], errors["best"][:30] = 1, 1
    values = {"cheaper": 1 - 31 / count, "best": 1 - 30 / count}
    assert select_best(values, errors)[1] == "cheaper"
    assert LEVEL == 0.05


def test_models_without_a_result_are_named() -> None:
    errors = {"a": (torch.arange(200) < 90).float(), "b": (torch.arange(200) < 10).float()}
    values = {"a": 0.55, "b": 0.95}
    _, _, advice = select_best(values, errors, shortened=["c", "d", "b"])
    assert advice.endswith("Not compared, as the time was too short: c, d.")
    assert "Not compared" not in select_best(values, errors, shortened=["b"])[2]


def test_the_command_to_go_on_names_the_smallest_budget() -> None:
    rungs = [Rung(name="a", reason="not trained; a complete training takes about 2 s: --budget 14m"), Rung(name="b")]
    rungs += [Rung(name="c", reason="trained 1 of 2 steps (time limit); a complete training takes 1 s: --budget 3m")]
    result: Any = SimpleNamespace(rungs=rungs)
    assert _longer_budget(result) == "3m"
    assert _longer_budget(SimpleNamespace(rungs=rungs[1:2])) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "cause"),
    [
        ("[1]", "does not hold the arguments"),
        ("null", "does not hold the arguments"),
        ({"spent": -5.0}, "spent is -5"),
        ({"spent": 1e300}, "spent is 1e+300"),
        ({"spent": "x"}, "spent"),
        ({"plan": {"pilots": {"lda": -3.0}}}, "plan.pilots.lda is -3"),
        ({"plan": {"failures": {"lda": 5}}}, "plan.failures"),
        ({"plan": []}, "plan is not an object"),
        ({"arguments": ["--help"]}, "does not hold the arguments"),
        ({"finished": 3}, "finished is no object"),
        ({"data": None}, "data"),
    ],
)
def test_a_damaged_ladder_is_not_resumed(
    stored: Any, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ladder"
    ladder("moons", budget=100, out=folder, learners=["lda"], options=OPTIONS, arguments=["moons", "--models", "lda"])
    path = folder / "ladder.json"
    plain = {key: value for key, value in json.loads(path.read_text()).items() if key != "finished"}
    path.write_text(stored if isinstance(stored, str) else json.dumps({**plain, **stored}))
    assert main(["ladder", "--resume", str(folder)]) in (2, 3)
    lines = capsys.readouterr().err.strip().splitlines()
    assert cause in lines[-2]
    assert "Traceback" not in "".join(lines)
    assert lines[-1].startswith("  ")


def test_a_ladder_without_its_spent_time_is_resumed(tmp_path: Path) -> None:
    ladder("moons", budget=100, out=tmp_path, learners=["lda"], options=OPTIONS)
    path = tmp_path / "ladder.json"
    plain = file_io.read_json(path)
    del plain["spent"], plain["finished"]
    file_io.write_json(path, plain)
    assert ladder("moons", budget=100, out=tmp_path, learners=["lda"], options=OPTIONS).best == "lda"


def test_an_image_size_of_the_plan_that_the_model_lacks_has_an_error(tmp_path: Path) -> None:
    run = training(tmp_path, data="digits")
    with pytest.raises(DataError, match="no image size of 77777 pixels"):
        run.suggest_size(CLASSIFY["convnet"], 77777)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--budget", "9" * 400 + "s"], "--budget cannot be"),
        (["--budget", "99999999h"], "--budget cannot be"),
        (["--budget", "٣s"], "--budget cannot be"),
        (["--models", ","], "names no model"),
        (["--plan", "--out", "x"], "--plan writes no folder"),
    ],
)
def test_arguments_are_checked_before_the_data_is_read(
    arguments: list[str], cause: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snellen.cli.ladder.open_data", lambda args: pytest.fail("the data was read"))
    assert main(["ladder", "moons", *arguments]) == 2
    assert cause in capsys.readouterr().err


def test_a_ladder_is_resumed_as_it_was_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("snellen.cli.ladder.START_TIME", time.monotonic())  # not that of the test process
    table = tmp_path / "-rows.csv"
    table.write_text("a,b,y\n" + "".join(f"{k},{k % 7},{'xy'[k % 2]}\n" for k in range(60)))
    begun = ["ladder", "--budget", "60s", "--models", "baseline,lda", "--out", "out", "--", "-rows.csv"]
    assert main(begun) == 0
    first = capsys.readouterr().out
    assert main(["ladder", "--resume=out"]) == 0
    assert capsys.readouterr().out == first
    assert main(["ladder", "--resume", "out", "--plan"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["--resume", "out"]) == 2
    assert "snellen ladder --resume FOLDER" in capsys.readouterr().err
    (tmp_path / "out").rename(tmp_path / "moved")
    assert main(["predict", "moved", "./-rows.csv"]) in (2, 3)
    assert "moved/" in capsys.readouterr().err
    table.unlink()
    assert main(["ladder", "--resume", "moved"]) == 2
    assert "snellen ladder NEW_PATH --resume moved" in capsys.readouterr().err


def test_a_ladder_stopped_after_its_trainings_names_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(best: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("snellen.model_selection.ladder._best_sections", stop)
    with pytest.raises(Stopped, match="after the trainings"):
        ladder("moons", budget=100, out=tmp_path, learners=["lda"], options=OPTIONS)
    page = (tmp_path / "report.html").read_text()
    assert "Ladder on moons" in page  # the results on the test split, not the page of a stopped ladder
    assert "Stopped ladder" not in page


@pytest.mark.parametrize("fits", [1, 3])
def test_the_time_of_trees_is_that_of_all_estimators(fits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit takes 2 s and 1 s for each iteration: 2 + 100 s of 100 iterations, each estimator."""
    clock = SimpleNamespace(now=0.0)

    class Estimator(SimpleNamespace):
        def set_params(self, **parameters: int) -> Estimator:
            return Estimator(**{**vars(self), **parameters})

    def fit(estimator: Any, *arrays: Any) -> None:
        clock.now += 2 + estimator.max_iter

    monkeypatch.setattr(trees, "fit_estimator", fit)
    monkeypatch.setattr(trees, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr("sklearn.base.clone", lambda estimator: estimator)
    run: Any = SimpleNamespace(seconds=50.0, seconds_left=40.0)
    with pytest.raises(TooLittleTime) as error:
        trees.check_time(Estimator(max_iter=100, n_jobs=1), None, None, run, "max_iter", fits)  # type: ignore[arg-type]
    assert error.value.needed == pytest.approx(10 + fits * (3 + 100))


def test_the_time_of_a_support_vector_regression_counts_every_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fit of the choice takes 1 s; 20 choices of C and γ, of ε two more; the last fit has all samples."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(svr, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def predict(kernel: torch.Tensor, to_some: torch.Tensor, t: torch.Tensor, choice: Any) -> torch.Tensor:
        clock.now += 1
        return torch.zeros(len(to_some))

    monkeypatch.setattr(svr, "_predict", predict)
    count = 2 * svr.TUNING_SAMPLES
    x = torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    held_out = SimpleNamespace(x=x[:9], y=torch.zeros(9, 1))
    monkeypatch.setattr(svr, "subset", lambda samples, limit: held_out)
    model: Any = SimpleNamespace(mean=0.0, std=1.0, flatten_features=lambda rows: rows)
    run: Any = SimpleNamespace(seconds=50.0, seconds_left=1.0, seed=0)
    settings: Any = SimpleNamespace(C=None, gamma=None, epsilon=None)
    with pytest.raises(TooLittleTime) as error:
        svr._choose(settings, model, x, torch.zeros(count, 1, dtype=torch.float64), held_out.y, run)  # type: ignore[arg-type]
    fits = len(svr.C_VALUES) * len(svr.GAMMA_VALUES) + len(svr.EPSILON_VALUES) - 1
    assert error.value.needed == pytest.approx(49 + fits + 2**svr.GROWTH)
