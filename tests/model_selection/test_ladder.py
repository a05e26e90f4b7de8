"""Ladder: every learner in one table, selection on validation, isolated failures, resuming."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import snellen
from snellen.api import RunOptions, load
from snellen.cli.main import main
from snellen.core import file_io
from snellen.core.errors import DataError, Stopped, UsageError
from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import Labels, Spec
from snellen.core.views import Metric
from snellen.data.formats import OpenOptions
from snellen.model_selection import ladder_plan
from snellen.model_selection.advice import Loss, select_best, significantly_worse
from snellen.model_selection.ladder import Ladder, ladder, ladder_candidates
from snellen.model_selection.ladder_training import LadderTraining, count_stoppable, validation_rank
from snellen.model_selection.stored_plan import check_plan
from snellen.report.pages.ladder import Rung, plan_section
from snellen.tasks import LEARNERS
from snellen.tasks.classify.baseline import BaselineClassifierSettings, ClassPrior

OPTIONS = RunOptions(threads=1)


def baseline_like(name: str, fit: Callable[..., None], **more: Any) -> snellen.Learner[Any, Any, Any]:
    return dataclasses.replace(LEARNERS["classify"]["baseline"], name=name, fit=fit, **more)


def raise_error(c: BaselineClassifierSettings, data: Any, model: ClassPrior, run: Run) -> None:
    raise RuntimeError("a bug of its own")


def log_nan(c: BaselineClassifierSettings, data: Any, model: ClassPrior, run: Run) -> None:
    for _ in run.steps(5):
        run.log(loss=float("nan"))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, training_seed: int) -> Ladder:
    torch.set_num_threads(1)
    custom = [baseline_like("breaks", raise_error), baseline_like("diverges", log_nan)]
    out = tmp_path_factory.mktemp("ladder") / "moons"
    return ladder("moons", budget=3600, seed=training_seed, out=out, learners=custom, options=OPTIONS)


def test_every_learner_has_a_row_simplest_first(result: Ladder) -> None:
    names = [rung.name for rung in result.rungs]
    readers = [name for name, learner in LEARNERS["classify"].items() if "vector" in learner.accepts]
    learners = {name: LEARNERS["classify"][name] for name in readers}
    ours = [name for name, one in learners.items() if one.in_default_ladder and not one.several_inputs]
    assert names == [*ours, "breaks", "diverges"]
    assert set(result.untried) == set(readers) - set(ours)


def test_a_named_learner_that_reads_other_inputs_is_refused_with_its_reason(tmp_path: Path) -> None:
    result = ladder("moons", budget=3600, out=tmp_path / "ladder", learners=["softmax", "lenet"], options=OPTIONS)
    assert result.rung("lenet").status == "refused"
    assert "image" in result.rung("lenet").reason


def test_a_failed_learner_has_its_reason_and_the_others_continue(result: Ladder) -> None:
    assert result.rung("breaks").status == "failed"
    assert "a bug of its own" in result.rung("breaks").reason
    assert result.rung("diverges").status == "failed"
    assert "nan" in result.rung("diverges").reason
    assert result.rung("mlp").status == "done"


def test_metrics_have_intervals_and_costs(result: Ladder) -> None:
    for rung in result.rungs:
        if rung.status == "done":
            for metric in (rung.headline, rung.validation):
                assert metric is not None
                assert metric.low <= metric.value <= metric.high  # type: ignore[operator]
            assert rung.seconds_learning is not None
            assert rung.peak_memory_bytes is not None
            assert rung.peak_memory_bytes > 1_000_000
    assert result.rung("mlp").multiply_adds > result.rung("softmax").multiply_adds  # type: ignore[operator]


@pytest.mark.learning
def test_the_cheapest_within_one_standard_error_of_the_best_on_validation_is_advised(result: Ladder) -> None:
    values = {r.name: r.validation.value for r in result.rungs if r.validation is not None}
    assert values[result.best or ""] == max(v for v in values.values() if v is not None)
    best = result.best or ""
    runs = {name: snellen.load(result.rung(name).folder).predictions("val") for name in values}
    correct = {name: p["scores"].argmax(1) == p["truth"] for name, p in runs.items()}
    p_values = {
        name: stats.binomtest(int((right & ~correct[best]).sum()), int((right != correct[best]).sum())).pvalue
        for name, right in correct.items()
        if bool((right != correct[best]).any())
    }  # two-sided; fewer than 25 samples differ, or the difference is obvious
    worse = {name for name, p in p_values.items() if p / 2 * (len(runs) - 1) < 0.05}
    assert "baseline" in worse
    cost = {r.name: (r.multiply_adds, r.parameters) for r in result.rungs}
    as_good = [name for name in runs if name not in worse and differs_by_standard_errors(correct, name, best) <= 1.1]
    surely_as_good = [
        name
        for name in as_good
        if differs_by_standard_errors(correct, name, best) <= 0.9
        and float((~correct[name]).sum()) <= 1.04 * float((~correct[best]).sum())
    ]
    assert result.advised in as_good
    assert cost[result.advised or ""] <= min(cost[name] for name in surely_as_good)
    assert result.advice.startswith(f"Use {result.advised}: ")
    assert "The runner-up, " in result.advice or " have the same validation result." in result.advice


def differs_by_standard_errors(correct: dict[str, Tensor], name: str, best: str) -> float:
    """Paired difference in accuracy in units of its standard error; 0 for equal predictions."""
    difference = correct[best].double() - correct[name].double()
    spread = float(difference.std()) / len(difference) ** 0.5
    return float(difference.mean()) / spread if spread else 0.0


def test_the_pareto_frontier_has_no_model_that_a_cheaper_one_equals(result: Ladder) -> None:
    done = [r for r in result.rungs if r.status == "done"]
    for rung in done:
        cheaper = [
            o
            for o in done
            if o.multiply_adds < rung.multiply_adds  # type: ignore[operator]
            and o.validation.value >= rung.validation.value
        ]  # type: ignore[operator, union-attr]
        assert not (rung.on_frontier and cheaper)
    assert result.rung("baseline").on_frontier


def test_the_page_names_every_model_and_is_self_contained(result: Ladder) -> None:
    page = (result.folder / "report.html").read_text()
    assert all(rung.name in page for rung in result.rungs)
    assert result.advice in re.sub(r"\s+", " ", page.replace("\u00a0", " "))
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


@pytest.mark.parametrize(
    ("used", "took", "sentence"),
    [
        (0.0, 282, "The ladder took 4 min 42 s of 4 min."),
        (60.0, 191.9, ""),
        (60.0, 200, "The ladder took 4 min 20 s of 4 min."),
    ],
)
def test_a_ladder_over_its_budget_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: float, took: float, sentence: str
) -> None:
    start = time.monotonic()

    def fit(c: BaselineClassifierSettings, data: Any, model: ClassPrior, run: Run) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: start + took)

    monkeypatch.setattr(time, "monotonic", lambda: start)
    result = ladder(
        "moons",
        budget=240,
        out=tmp_path / "l",
        learners=[baseline_like("slow", fit, stoppable=True)],
        options=OPTIONS,
        used=used,
    )
    assert result.overrun == sentence
    assert ("The ladder took" in (result.folder / "report.html").read_text()) == bool(sentence)
    assert sentence in (result.folder / "report.html").read_text()


def test_a_ladder_on_other_data_is_not_resumed(result: Ladder) -> None:
    with pytest.raises(snellen.UsageError, match="other data"):
        ladder("rings", budget=5, out=result.folder, options=OPTIONS)


def test_a_stopped_ladder_is_resumed_and_keeps_trained_models(tmp_path: Path) -> None:
    def raise_stopped(c: BaselineClassifierSettings, data: Any, model: ClassPrior, run: Run) -> None:
        raise Stopped("stopped", signal=2)

    custom = baseline_like("stops", raise_stopped)
    with pytest.raises(Stopped) as caught:
        ladder("moons", budget=3600, out=tmp_path / "l", learners=["softmax", custom], options=OPTIONS)
    assert str(tmp_path / "l") in caught.value.remedy
    page = (tmp_path / "l" / "report.html").read_text()
    assert "accuracy (validation)" in page
    assert "(test)" not in page  # the test split was not evaluated
    assert not (tmp_path / "l" / "softmax" / "predictions" / "test.safetensors").exists()
    before = (tmp_path / "l" / "softmax" / "model.safetensors").stat().st_mtime_ns
    again = ladder("moons", budget=3600, out=tmp_path / "l", learners=["softmax", "lda"], options=OPTIONS)
    assert [rung.status for rung in again.rungs] == ["done"] * 2
    assert (tmp_path / "l" / "softmax" / "model.safetensors").stat().st_mtime_ns == before


def test_the_test_split_is_evaluated_after_all_models_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: list[str] = []
    task = LEARNERS["classify"]["baseline"].task
    original = task.predict

    def predict(model: Any, data: Any, split: str, run: Run) -> Any:
        splits.append(split)
        return original(model, data, split, run)

    monkeypatch.setattr(snellen.model_selection.ladder, "_best_sections", lambda best: "")  # it evaluates the baseline
    object.__setattr__(task, "predict", predict)
    try:
        options, learners = dataclasses.replace(OPTIONS, report=False), ["baseline", "perceptron", "softmax"]
        ladder("moons", budget=3600, out=tmp_path / "l", learners=learners, options=options)
    finally:
        object.__setattr__(task, "predict", original)
    first = splits.index("test")
    assert "test" not in splits[:first]
    evaluations = len([s for s in splits[:first] if s == "val"])
    assert evaluations == 3 + len(list((tmp_path / "l").glob("*-longer-*")))
    assert "val" not in splits[first:]


def test_a_learner_with_endless_steps_is_stopped_at_its_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.monotonic

    def run_endless_steps(c: BaselineClassifierSettings, data: Any, model: ClassPrior, run: Run) -> None:
        for step in run.steps(1_000_000_000):
            if step == 1000:
                monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600)

    custom = baseline_like("endless", run_endless_steps)
    second_result = ladder("moons", budget=3600, out=tmp_path / "l", learners=["baseline", custom], options=OPTIONS)
    rung = second_result.rung("endless")
    assert rung.status == "done"
    assert "of 1,000,000,000 steps" in rung.reason


def test_with_a_short_budget_the_small_models_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)  # training takes no time
    learners = ["baseline", "perceptron", "lda"]
    short = ladder("xor", budget=2.5, out=tmp_path / "xor", learners=learners, options=OPTIONS)
    assert [rung.status for rung in short.rungs] == ["done"] * 3  # even time slices are below MIN_SECONDS


def wrong(count: int, fraction: float, seed: int) -> Tensor:
    return (torch.rand(count, generator=torch.Generator().manual_seed(seed)) < fraction).double()


def test_significance_is_based_on_paired_errors() -> None:
    first = wrong(1000, 0.3, 0)
    better = first.clone()
    better[first.nonzero()[:60, 0]] = 0  # 60 of 1000 corrected
    assert significantly_worse("better", {"first": first, "better": better}) == {"first"}
    assert significantly_worse("same", {"first": first, "same": first}) == set()
    swapped = first.clone()
    swapped[:100] = first[:100].flip(0)  # equally many errors on other samples
    assert significantly_worse("swapped", {"first": first, "swapped": swapped}) == set()
    half = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert significantly_worse("half", {"first": half + 0.2, "half": half}) == {"first"}  # by the t-test


@pytest.mark.parametrize("continuous", [False, True])
def test_of_twelve_equal_models_the_simplest_is_called_worse_in_at_most_five_percent(continuous: bool) -> None:
    """Uncorrected in 16 %."""
    ladders, false = 150, 0
    for seed in range(ladders):
        errors = {f"{k}": wrong(300, 0.2, 1000 * seed + k) for k in range(12)}
        if continuous:
            rng = torch.Generator().manual_seed(seed)
            errors = {f"{k}": torch.rand(300, generator=rng, dtype=torch.float64) for k in range(12)}
        values = {name: -float(e.mean()) for name, e in errors.items()}
        best = max(values, key=lambda name: values[name])
        false += "0" in significantly_worse(best, errors)
    assert false / ladders <= 0.05 + 2 * (0.05 * 0.95 / ladders) ** 0.5


def test_the_advice_names_the_runner_up_and_whether_it_differs() -> None:
    good, bad = wrong(500, 0.1, 0), wrong(500, 0.5, 2)
    near = good.clone()
    near[(good == 0).nonzero()[:6, 0]] = 1
    near[good.nonzero()[:5, 0]] = 0  # one more error than the best: a third of the standard error
    errors = {"a": bad, "b": near, "c": good}
    best, advised, advice = select_best({name: -float(e.mean()) for name, e in errors.items()}, errors)
    assert (best, advised) == ("c", "b")
    assert advice.endswith("(95 %). b does not differ significantly from c.")
    se = float((near - good).std()) / 500**0.5
    assert f"b may lose at most {0.002 + 1.96 * se:.2g} against it (95 %)" in advice
    best, advised, advice = select_best({"a": -0.5, "c": -0.1}, {"a": bad, "c": good})
    assert (best, advised) == ("c", "c")
    assert advice.endswith("The runner-up, a, is significantly worse than c.")
    best, advised, advice = select_best({"b": -0.1, "c": -0.1}, {"b": good, "c": good})
    assert (best, advised) == ("b", "b")
    assert advice.endswith("c and b have the same validation result.")
    assert select_best({"a": -0.5}, {"a": bad})[2].startswith("Use a: ")


def test_a_cheaper_model_more_than_one_standard_error_away_is_not_advised() -> None:
    good = wrong(500, 0.1, 0)
    near = good.clone()
    near[(good == 0).nonzero()[:9, 0]] = 1
    near[good.nonzero()[:5, 0]] = 0  # 4 more errors of 14 that differ: 1.07 standard errors, p = 0.4
    values = {"b": -float(near.mean()), "c": -float(good.mean())}
    assert select_best(values, {"b": near, "c": good})[:2] == ("c", "c")


@pytest.mark.parametrize(("more", "advised"), [(2, "b"), (4, "c")])
def test_a_cheaper_model_with_clearly_more_errors_is_not_advised(more: int, advised: str) -> None:
    good = wrong(5000, 0.01, 0)
    assert int(good.sum()) < 80
    near = good.clone()
    near[(good == 0).nonzero()[: 20 + more, 0]] = 1
    near[good.nonzero()[:20, 0]] = 0  # less than one standard error away
    values = {"b": -float(near.mean()), "c": -float(good.mean())}
    assert select_best(values, {"b": near, "c": good})[1] == advised


def test_a_model_that_the_time_cut_is_not_called_worse_nor_the_data_without_use() -> None:
    good, bad = wrong(500, 0.1, 0), wrong(500, 0.5, 2)
    values = {"a": -0.5, "c": -0.1}
    advice = select_best(values, {"a": bad, "c": good}, shortened=["a"])[2]
    assert "worse" not in advice
    assert "too little time" in advice
    for best in ({"baseline": -0.1, "c": -0.5}, {"baseline": -0.11, "c": -0.1}):
        errors = {"baseline": good, "c": bad if best["c"] == -0.5 else good}
        cut, complete = select_best(best, errors, shortened=["c"]), select_best(best, errors)
        assert cut[1] == complete[1] == "baseline"
        assert "the time was too short for c" in cut[2]
        assert "the inputs do not predict the target" in complete[2]


def test_ladder_json_is_strict(result: Ladder) -> None:
    plain = json.loads((result.folder / "ladder.json").read_text(), parse_constant=pytest.fail)
    assert plain["finished"]["best"] == result.best


def paired_errors(first: int, second: int, rest: int = 50) -> dict[str, torch.Tensor]:
    """Errors of two models: `first` samples only the simple one misses, `second` only the other."""
    simple = torch.cat([torch.ones(first), torch.zeros(second + rest)])
    other = torch.cat([torch.zeros(first), torch.ones(second), torch.zeros(rest)])
    return {"simple": simple, "other": other}


@pytest.mark.parametrize(("only", "worse"), [(4, False), (5, True)])
def test_the_test_against_the_best_is_one_sided(only: int, worse: bool) -> None:
    """Five samples that only the simple model misses: one-sided p = 1/32; two-sided 1/16 would not reject."""
    assert significantly_worse("other", paired_errors(only, 0)) == ({"simple"} if worse else set())


def test_a_model_with_smaller_errors_is_never_worse() -> None:
    """Headline and errors may disagree: the best by the headline has more errors here."""
    assert significantly_worse("other", paired_errors(0, 30)) == set()


def test_several_labels_are_judged_by_their_headline(tmp_path: Path) -> None:
    """Of rare labels the Hamming errors of a model hardly differ from those of the baseline, its precision does."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 6))
    y = (x[:, :4] + rng.normal(size=(600, 4)) > 2.4).astype(int)
    names = [";".join(f"t{k}" for k in range(4) if row[k]) or ";" for row in y]
    rows = [",".join([*(f"{v:.4f}" for v in a), tags]) for a, tags in zip(x.tolist(), names, strict=True)]
    (tmp_path / "rows.csv").write_text("a,b,c,d,e,f,tags\n" + "\n".join(rows) + "\n")
    data = snellen.dataset(tmp_path / "rows.csv", options=OpenOptions(target=("tags:labels",)))
    assert isinstance(data.spec.target, Labels)
    result = ladder(data, budget=3600, out=tmp_path / "ladder", learners=["baseline", "softmax"], options=OPTIONS)
    assert result.best == "softmax"
    assert result.advised == "softmax"


def test_a_ladder_is_resumed_with_other_models_than_it_planned(tmp_path: Path) -> None:
    """The plan names a model that is not asked for any more, and lacks one that is new."""
    out = tmp_path / "l"
    ladder("moons", budget=3600, out=out, learners=["softmax"], options=OPTIONS)
    plain = json.loads((out / "ladder.json").read_text())
    slow = {"residual-mlp": [1e6, 0], "mlp": [100.0, 0]}
    plain["plan"] = {"needed": slow, "pilots": {"residual-mlp": 9.0, "mlp": 90.0}, "finals": {"residual-mlp": 50.0}}
    (out / "ladder.json").write_text(json.dumps(plain))
    again = ladder("moons", budget=3600, out=out, learners=["softmax", "mlp", "lda"], options=OPTIONS)
    assert {rung.name: rung.status for rung in again.rungs} == {"lda": "done", "softmax": "done", "mlp": "done"}


def with_few_epochs(spec: Spec) -> dict[str, Suggestion]:
    return {"epochs": Suggestion(value=1, reason="few")}


def test_time_that_is_left_goes_to_the_best_model(tmp_path: Path) -> None:
    """A network that had too few epochs is trained anew with more while that improves its validation result."""
    short = dataclasses.replace(LEARNERS["classify"]["mlp"], name="short", suggest=with_few_epochs)
    result = ladder("moons", budget=600, out=tmp_path / "l", learners=["baseline", short], options=OPTIONS)
    before, after = load(tmp_path / "l" / "short", learner=short), load(result.rung("short").folder, learner=short)
    assert Path(result.rung("short").folder).name.startswith("short-longer-")
    assert before.record.settings["epochs"] == 1
    assert after.record.settings["epochs"] >= 4
    accuracy = [
        json.loads((run.folder / "metrics.json").read_text())["splits"]["val"]["accuracy"] for run in (before, after)
    ]
    assert accuracy[0]["value"] < accuracy[1]["value"] == result.rung("short").validation.value  # type: ignore[union-attr]


def test_a_model_is_trained_longer_only_if_it_may_have_more_than_one_percent_of_errors(tmp_path: Path) -> None:
    """No error of 100 validation samples may still be one of 27, no error of 600 not one of 150 (Wilson 1927)."""
    rng = np.random.default_rng(0)
    longer = {}
    for count in (100, 600):
        rows = [f"{value:.3f},{'b' if value > 0 else 'a'}" for value in 5.0 * rng.choice([-1, 1], 400 + 2 * count)]
        (tmp_path / "rows.csv").write_text("x,class\n" + "\n".join(rows) + "\n")
        data = snellen.dataset(tmp_path / "rows.csv")
        ids = torch.cat([data.splits[name] for name in ("train", "val", "test")])
        parts = dict(zip(("val", "test", "train"), ids.split([count, count, 400]), strict=True))
        data = dataclasses.replace(data, splits=parts)
        result = ladder(data, budget=600, out=tmp_path / f"l{count}", learners=["baseline", "softmax"], options=OPTIONS)
        assert result.rung("softmax").validation.value == 1  # type: ignore[union-attr]
        longer[count] = [path.name for path in (tmp_path / f"l{count}").iterdir() if "longer" in path.name]
    assert longer == {100: ["softmax-longer-0"], 600: []}  # of equal results the log loss counts, once


def test_of_equal_validation_results_the_lower_log_loss_ranks_higher(tmp_path: Path) -> None:
    rungs = []
    for k, loss in enumerate((0.2, 0.1, None)):
        metric = Metric(value=0.9, higher_is_better=True)
        plain = {"splits": {"val": {} if loss is None else {"log loss": {"value": loss}}}}
        (tmp_path / str(k)).mkdir()
        (tmp_path / str(k) / "metrics.json").write_text(json.dumps(plain))
        rungs.append(Rung(name=str(k), folder=str(tmp_path / str(k)), validation=metric))
    without = Rung(name="none", status="failed")
    assert validation_rank(rungs[1]) > validation_rank(rungs[0]) > validation_rank(rungs[2]) > validation_rank(without)


def test_the_advised_model_is_on_the_frontier_of_equal_costs_and_equal_results() -> None:
    good, better = wrong(500, 0.1, 0), wrong(500, 0.1, 0)
    better[better.nonzero()[0, 0]] = 0
    values = {"a": -float(better.mean()), "b": -float(good.mean())}  # of equal cost: the better one first
    assert select_best(values, {"a": better, "b": good})[1] == "a"
    equal = {"m0": -0.1, "m1": -0.1, "best": -0.098}
    losses = {
        "m0": Loss(value=0.002, standard_error=0.001, text=""),
        "m1": Loss(value=0.002, standard_error=0.01, text=""),
    }
    errors = dict.fromkeys(equal, good)
    assert select_best(equal, errors, loss=lambda name, best: losses[name])[1] == "m0"  # cheaper than m1, as good


@pytest.mark.parametrize(
    ("shortened", "sentence"), [(["a"], "every cheaper model that had enough time"), (["a", "b"], "")]
)
def test_no_sentence_calls_a_model_that_the_time_cut_worse(shortened: list[str], sentence: str) -> None:
    good, bad = wrong(500, 0.02, 0), wrong(500, 0.5, 2)
    values = {"a": -0.3, "c": -0.5, "b": -0.02}
    advice = select_best(values, {"a": wrong(500, 0.3, 1), "c": bad, "b": good}, shortened=shortened)[2]
    assert "a, is significantly worse" not in advice
    assert "every cheaper model is" not in advice
    assert sentence in advice
    assert "too little time" in advice


def test_a_process_cannot_write_a_ladder_that_another_writes(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    with (
        file_io.exclusive_lock(tmp_path / "l"),
        pytest.raises(UsageError, match="Another process is writing"),
    ):
        ladder("moons", budget=20, out=tmp_path / "l", learners=["softmax"], options=OPTIONS)
    assert not any((tmp_path / "l").iterdir())


def test_a_split_without_samples_is_refused_once(tmp_path: Path) -> None:
    data = snellen.dataset("moons")
    few = dataclasses.replace(data, spec=dataclasses.replace(data.spec, sizes={**data.spec.sizes, "test": 0}))
    with pytest.raises(DataError, match="none is in the test split"):
        ladder(few, budget=20, out=tmp_path / "l", options=OPTIONS)
    assert not (tmp_path / "l").exists()


def test_after_an_interrupt_in_a_child_or_in_the_evaluation_there_is_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    evaluate_splits = snellen.TrainedRun.evaluate_splits

    def interrupt_test(run: snellen.TrainedRun, splits: Any, *args: Any, **more: Any) -> None:
        if "test" in splits:
            raise KeyboardInterrupt
        evaluate_splits(run, splits, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(snellen.TrainedRun, "evaluate_splits", interrupt_test)
        with pytest.raises(Stopped, match="results so far") as stopped:
            ladder("moons", budget=60, out=tmp_path / "l", learners=["baseline"], options=OPTIONS, arguments=["moons"])
    assert stopped.value.exit_code == 130
    assert "ladder --resume" in stopped.value.remedy
    assert (tmp_path / "l" / "report.html").exists()
    with monkeypatch.context() as patch:
        patch.setattr("snellen.model_selection.ladder_training.train_rung", interrupt)
        with pytest.raises(Stopped, match="results so far"):
            ladder("moons", budget=60, out=tmp_path / "k", learners=["lda"], options=OPTIONS)
    assert json.loads((tmp_path / "k" / "ladder.json").read_text())["spent"] > 0


@pytest.mark.parametrize(
    "damage",
    [
        {"plan": [1, 2]},
        {"plan": {"first": 5}},
        {"plan": {"pilots": {"mlp": "x"}}},
        {"plan": {"longer-0": "x"}},
        {"plan": {"nothing": {}}},
        {"spent": -1.0},
        {"spent": "x"},
        {"budget": "x"},
    ],
)
def test_a_damaged_plan_is_an_error_of_the_data(tmp_path: Path, damage: dict[str, Any]) -> None:
    plain = {"budget": 60.0, "spent": 1.0, "plan": {"pilots": {"mlp": 9.0}, "longer-0": ["mlp", 40], "longer-1": None}}
    check_plan(plain, tmp_path / "ladder.json")
    with pytest.raises(DataError, match=r"ladder\.json"):
        check_plan({**plain, **damage}, tmp_path / "ladder.json")


def training(tmp_path: Path, budget: float = 60.0) -> LadderTraining:
    (tmp_path / "ladder.json").write_text('{"plan": {"pilots": {"mlp": 9.0}}}')
    data = snellen.dataset("moons")
    return LadderTraining(data, tmp_path, 0, budget, time.monotonic() + budget, OPTIONS, started=time.monotonic())


def test_a_stored_part_of_the_plan_is_used(tmp_path: Path) -> None:
    ladder_training = training(tmp_path)
    assert ladder_training.plan.get("pilots", dict) == {"mlp": 9.0}
    assert ladder_training.plan.get("finals", lambda: {"mlp": 20.0}) == {"mlp": 20.0}
    assert ladder_training.plan.get("finals", dict) == {"mlp": 20.0}


@pytest.mark.parametrize(("budget", "minutes"), [(58.0, 2), (60.0, 2), (178.0, 4), (20.0, 1)])
def test_the_suggested_budget_is_larger_than_the_one_given(tmp_path: Path, budget: float, minutes: int) -> None:
    ladder_training = training(tmp_path, budget)
    ladder_training.rungs["mlp"] = Rung(name="mlp", status="no time", seconds_needed=2.0)
    ladder_training._say_what_time_would_buy("mlp", 2.0)
    assert f"--budget {minutes}m" in ladder_training.rungs["mlp"].reason


def test_the_time_of_the_test_split_is_kept_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snellen.model_selection.ladder_training.prediction_seconds", lambda run, count: 7.0)
    ladder_training = training(tmp_path)
    before = ladder_training.end
    ladder_training._train(LEARNERS["classify"]["softmax"], "softmax", 30.0, min_fraction=1.0)
    assert before - ladder_training.end == pytest.approx(14.0)  # the test split, and the page of the first model
    assert 0 < json.loads((tmp_path / "ladder.json").read_text())["spent"] < 60


def test_a_pilot_is_the_result_where_the_final_training_fails(tmp_path: Path) -> None:
    ladder_training = training(tmp_path)
    pilot = Rung(name="fails", status="done", folder="pilot")
    ladder_training.rungs["fails"] = pilot
    ladder_training._train_anew(baseline_like("fails", raise_error), 30.0)
    assert ladder_training.rungs["fails"] == pilot


@pytest.mark.parametrize(("longer", "kept_folder"), [(90, "mlp-longer"), (70, "mlp")])
def test_a_longer_training_with_a_worse_result_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longer: int, kept_folder: str
) -> None:
    ladder_training = training(tmp_path)
    ladder_training.rungs["mlp"] = Rung(name="mlp", status="done", folder="mlp", parameters=80)  # its result, below
    run: Any = object()
    ladder_training.trained["mlp"] = run
    plans = iter([("mlp", 40), None])
    monkeypatch.setattr(ladder_training, "_longer_training", lambda learners: next(plans))
    monkeypatch.setattr(
        "snellen.model_selection.ladder_training.validation_rank", lambda rung: (float(rung.parameters), 0.0)
    )

    def train(learner: Any, folder: str, seconds: float, min_fraction: float) -> None:
        ladder_training.rungs["mlp"] = Rung(name="mlp", status="done", folder="mlp-longer", parameters=longer)
        ladder_training.trained["mlp"] = None  # type: ignore[assignment]

    monkeypatch.setattr(ladder_training, "_train", train)
    ladder_training._train_longer({"mlp": LEARNERS["classify"]["mlp"]})
    assert ladder_training.rungs["mlp"].folder == kept_folder
    assert (ladder_training.trained["mlp"] is run) == (longer == 70)


def test_a_resumed_ladder_has_the_time_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ladder("moons", budget=1000, out=tmp_path, learners=["lda"], options=OPTIONS)
    path = tmp_path / "ladder.json"
    plain = {**json.loads(path.read_text()), "spent": 900.0}
    del plain["finished"]  # as if it had been killed
    path.write_text(json.dumps(plain))
    ends: list[float] = []

    class Recorded(LadderTraining):
        def run(self, learners: Any) -> None:
            ends.append(self.left)
            super().run(learners)

    monkeypatch.setattr("snellen.model_selection.ladder.LadderTraining", Recorded)
    resumed = ladder("moons", budget=1000, out=tmp_path, learners=["lda"], options=OPTIONS)
    assert 0 < ends[0] < 100
    assert resumed.overrun == ""
    assert 900 < json.loads(path.read_text())["spent"] < 1000


def test_a_model_significantly_worse_than_the_best_pilot_has_no_final_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder_training = training(tmp_path)
    costly = {name: LEARNERS["classify"][name] for name in ("softmax", "mlp", "residual-mlp")}
    times = dict.fromkeys(costly, 20.0)
    (tmp_path / "ladder.json").write_text(
        json.dumps({"plan": {"needed": {n: (s, 0) for n, s in times.items()}, "pilots": dict.fromkeys(costly, 5.0)}})
    )
    values = {"softmax": 0.9, "mlp": 0.5, "residual-mlp": 0.89}

    def train(learner: Any, folder: str, seconds: float, min_fraction: float) -> None:
        final.append(folder)
        ladder_training.end -= 20.0 if folder.endswith("-final") else 5.0
        metric = Metric(value=values[learner.name])
        ladder_training.rungs[learner.name] = Rung(name=learner.name, status="done", validation=metric)
        ladder_training.trained[learner.name] = None  # type: ignore[assignment]

    final: list[str] = []
    monkeypatch.setattr(ladder_training, "_train", train)
    monkeypatch.setattr(ladder_training, "_significantly_worse", lambda values: {"mlp"})
    ladder_training._train_costly(costly)
    assert sorted(final) == ["mlp", "residual-mlp", "residual-mlp-final", "softmax", "softmax-final"]


def test_a_ladder_is_not_a_run_and_the_error_names_the_run_of_its_advised_model(
    result: Ladder, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="is a ladder of several runs") as raised:
        load(result.folder)
    assert result.advised is not None
    assert raised.value.remedy == f"Give the run of its advised model: {result.rung(result.advised).folder}"
    assert main(["predict", str(result.folder), "image.png"]) == 3
    assert raised.value.remedy in capsys.readouterr().err


@pytest.mark.parametrize(
    "stored", ["[1]", "{}", '{"finished": 3}', '{"finished": {"rungs": [1], "advised": "a"}}', '{"finished": {"rungs"']
)
def test_a_damaged_ladder_in_place_of_a_run_has_a_remedy(stored: str, tmp_path: Path) -> None:
    (tmp_path / "ladder.json").write_text(stored)
    with pytest.raises(DataError, match="is a ladder of several runs") as raised:
        load(tmp_path)
    assert raised.value.remedy == "Give the run of one of its models."


def test_names_are_checked_before_the_data_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,\n")
    assert main([str(tmp_path / "table.csv"), "--models", "sofmax"]) == 2
    assert main(["train", str(tmp_path / "table.csv"), "--task", "clasify"]) == 2
    assert "table" not in capsys.readouterr().err.replace("regress", "")


def test_the_page_shows_the_plan() -> None:
    plan = {
        "first": {"probe": [30.0, 160]},
        "needed": {"mlp": [90.0, 0], "lenet": [600.0, 48]},
        "pilots": {"mlp": 90.0, "lenet": 21.0},
        "finals": {"lenet": 120.0},
        "longer-0": ["mlp", 40],
        "longer-1": None,
    }
    text = re.sub(r"<[^>]+>", " ", plan_section(plan))
    words = " ".join(text.split())
    assert "probe 30 s 160 px" in words
    assert "mlp 1 min 30 s 1 min 30 s 40 epochs" in words
    assert "lenet 10 min 0 s 48 px 21 s 2 min 0 s" in words
    assert "spectrograms reduced to" in plan_section(plan, "spectrograms")
    assert plan_section({"harmful": {}}) == ""
    assert "images" not in plan_section({"needed": {"mlp": [90.0, 0]}})  # of other samples


def test_fusion_is_a_rung_of_data_with_several_inputs_only() -> None:
    for inputs, names in ((1, ()), (1, ("all",)), (1, ("fusion",)), (2, ())):
        candidates = [learner.name for learner in ladder_candidates("classify", names, "sequence", inputs)]
        assert ("fusion" in candidates) is (inputs == 2 or names == ("fusion",))


def test_a_plan_explains_the_settings_that_the_data_suggest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["moons", "--plan", "--explain", "--models", "softmax", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    value, reason = planned["suggested"]["--epochs"]
    assert value > 20
    assert "samples" in reason


def test_a_resumed_ladder_without_time_reports_the_failure_of_a_model_again(tmp_path: Path) -> None:
    custom = [baseline_like("breaks", raise_error)]
    first = ladder("moons", budget=1000, out=tmp_path, learners=["softmax", *custom], options=OPTIONS)
    path = tmp_path / "ladder.json"
    plain = {**file_io.read_json(path), "spent": 1000.0, "budget": 10.0}
    del plain["finished"]  # as if it had been killed
    file_io.write_json(path, plain)
    resumed = ladder("moons", budget=10, out=tmp_path, learners=["softmax", *custom], options=OPTIONS)
    assert resumed.rung("breaks") == first.rung("breaks")
    assert "a bug of its own" in resumed.rung("breaks").reason


def test_the_only_model_that_can_be_stopped_may_take_more_than_a_pilot(tmp_path: Path) -> None:
    single = training(tmp_path)
    lenet = LEARNERS["classify"]["lenet"]
    assert single.max_fraction(lenet) == ladder_plan.PILOT
    single.is_single = True
    assert single.max_fraction(lenet) == ladder_plan.ONLY
    assert count_stoppable([lenet, LEARNERS["classify"]["svm"], LEARNERS["classify"]["mlp"]]) == 2
