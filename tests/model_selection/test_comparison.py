"""Comparison of runs: intervals against scipy, verdicts and their calibration, invalid input."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import itertools
import math
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from raw_datasets import labels, seeded
from scipy import optimize, stats
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core.record import read_record, write_record
from snellen.core.spec import Classes, Input, Labels, Numbers, Spec, Target
from snellen.core.views import Metric
from snellen.data.sample_identity import SampleIdentity, write_identity
from snellen.metrics.intervals import expanded_percentiles
from snellen.model_selection.comparison import _changed_contents, compare, compare_predictions, with_corrected_p
from snellen.model_selection.paired_test import RunPredictions, paired_test
from snellen.tasks import TASKS

BENCH = Path(__file__).resolve().parents[2] / "bench"
QUICK = RunOptions(device="cpu", threads=1, report=False)


def make_predictions(task: str, target: Target, predictions: list[dict[str, Tensor]]) -> list[RunPredictions]:
    spec = Spec(name="drawn", inputs={"x": Input(modality="vector", shape=(1,))}, target=target)
    return [
        RunPredictions(name=f"run {k}", learner="any", task=TASKS[task], spec=spec, predictions=output)
        for k, output in enumerate(predictions)
    ]


def classifiers(rights: list[Tensor], rare: bool = False) -> list[RunPredictions]:
    """Predictions of two-class classifiers that are correct where `rights` is true."""
    count = len(rights[0])
    truth = (torch.arange(count) % (10 if rare else 2) == 0).long()
    outputs = [
        {
            "scores": torch.nn.functional.one_hot(torch.where(right, truth, 1 - truth), 2).float(),
            "truth": truth,
            "ids": torch.arange(count),
            "probabilistic": torch.tensor(False),
        }
        for right in rights
    ]
    return make_predictions("classify", Classes(names=("a", "b"), counts=(90, 10) if rare else (50, 50)), outputs)


def regressors(errors: list[Tensor]) -> list[RunPredictions]:
    truth = torch.linspace(0, 5, len(errors[0]), dtype=torch.float64)[:, None]
    outputs = [{"said": truth + e[:, None], "truth": truth, "ids": torch.arange(len(e))} for e in errors]
    return make_predictions("regress", Numbers(names=("y",), units=("mm",)), outputs)


def test_the_interval_is_the_paired_bootstrap_of_scipy() -> None:
    drawn = seeded()
    first = torch.randn(400, generator=drawn, dtype=torch.float64)
    second = 1.3 * first + 0.3 * torch.randn(400, generator=drawn, dtype=torch.float64)
    (pair,) = compare_predictions(regressors([first, second])).pairs
    gains = (second.abs() - first.abs()).numpy()
    level = expanded_percentiles(400)[1] - expanded_percentiles(400)[0]
    oracle = stats.bootstrap(
        (gains,),
        np.mean,
        method="percentile",
        confidence_level=level,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    )
    assert pair.difference.value == pytest.approx(gains.mean())
    # A quantile q of R draws has the standard deviation √(q(1 − q)/R) / density: 0.06 of theirs for 2000 draws.
    error = 3 * (0.025 * 0.975 * (1 / 2000 + 1 / 20_000)) ** 0.5 / stats.norm.pdf(1.96) * oracle.standard_error
    assert pair.difference.low == pytest.approx(oracle.confidence_interval.low, abs=error)
    assert pair.difference.high == pytest.approx(oracle.confidence_interval.high, abs=error)
    assert (pair.difference.unit, pair.difference.over, pair.test) == ("mm", "samples", "exchange")
    assert pair.first == "run 0"


def test_the_better_classifier_is_named_with_the_difference_in_points() -> None:
    drawn = seeded(1)
    second = torch.rand(10_000, generator=drawn) < 0.9
    first = second.clone()
    first[(~second).nonzero()[:200, 0]] = True
    first[second.nonzero()[:60, 0]] = False
    comparison = compare_predictions(classifiers([second, first]))
    (pair,) = comparison.pairs
    assert (pair.first, pair.only, pair.test) == ("run 1", (200, 60), "McNemar")
    assert pair.chance == pytest.approx(stats.chi2.sf((200 - 60) ** 2 / 260, 1))
    assert re.fullmatch(r"better by 1\.40 ± 0\.3\d percentage points over 10,000 samples", pair.verdict)
    assert comparison.verdict == f"run 1 is {pair.verdict.replace('better', 'significantly better than run 0:', 1)}."


def test_the_interval_of_a_difference_in_accuracy_is_the_score_interval_in_points() -> None:
    """44 samples, 12 correct in one run only and 2 in the other only; the roots of the statistic of Tango 1998."""
    n, only = 44, (12, 2)

    def z(difference: float) -> float:
        a = 2 * n
        b = -sum(only) + (2 * n - only[0] + only[1]) * difference
        c = -only[1] * difference * (1 - difference)
        q = (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)
        return (only[0] - only[1] - n * difference) / math.sqrt(n * (2 * q + difference * (1 - difference)))

    low = optimize.brentq(lambda d: z(d) - stats.norm.ppf(0.975), -0.9, 10 / n - 1e-9)
    high = optimize.brentq(lambda d: z(d) + stats.norm.ppf(0.975), 10 / n + 1e-9, 0.9)
    first = torch.arange(n) >= only[1]
    second = torch.arange(n) < n - only[0]
    (pair,) = compare_predictions(classifiers([first, second])).pairs
    assert pair.difference.value == pytest.approx(100 * 10 / n)
    assert pair.difference.low == pytest.approx(100 * low, abs=1e-3)
    assert pair.difference.high == pytest.approx(100 * high, abs=1e-3)


def test_equal_runs_do_not_differ_significantly() -> None:
    drawn = seeded(2)
    right = torch.rand(500, generator=drawn) < 0.8
    comparison = compare_predictions(classifiers([right, right.clone()]))
    assert (comparison.pairs[0].chance, comparison.pairs[0].verdict) == (1.0, "no significant difference")
    assert comparison.verdict == "run 0 and run 1 do not differ significantly over 500 samples."


def test_several_runs_are_corrected_for_every_pair() -> None:
    drawn = seeded(3)
    right = torch.rand(400, generator=drawn) < 0.5
    runs = []
    for more in (26, 22, 0):  # corrected samples, and ten new errors
        output = right.clone()
        output[(~right).nonzero()[:more, 0]] = True
        output[right.nonzero()[: 10 if more else 0, 0]] = False
        runs.append(output)
    comparison = compare_predictions(classifiers(runs))
    assert [run.name for run in comparison.runs] == ["run 0", "run 1", "run 2"]
    pairs = sorted(comparison.pairs, key=lambda pair: pair.chance)
    assert [pair.corrected for pair in pairs] == pytest.approx(
        [
            3 * pairs[0].chance,
            max(3 * pairs[0].chance, 2 * pairs[1].chance),
            max(3 * pairs[0].chance, 2 * pairs[1].chance, pairs[2].chance),
        ]
    )
    last = comparison.pair("run 1", "run 2")
    assert last.chance < 0.05 <= last.corrected
    assert not last.better
    assert comparison.pair("run 0", "run 2").better
    assert comparison.verdict == "run 0 is the best on these 400 samples, but not significantly better than run 1."


def test_balanced_accuracy_is_compared_by_a_permutation_test() -> None:
    drawn = seeded(4)
    first = torch.rand(2000, generator=drawn) < 0.9
    rare = torch.arange(2000) % 10 == 0
    second = first | rare  # all samples of the rare class correct, a tenth of the samples
    (pair,) = compare_predictions(classifiers([first, second], rare=True)).pairs
    assert (pair.first, pair.test, pair.better) == ("run 1", "exchange", True)
    gain = 50 * float((~first[rare]).double().mean())  # half of the mean of two recalls
    assert pair.difference.value == pytest.approx(gain)


def test_several_labels_and_several_numbers_are_compared_by_their_headlines() -> None:
    drawn = seeded(5)
    truth = (torch.rand(120, 3, generator=drawn) < 0.4).float()
    noise = torch.randn(120, 3, generator=drawn)
    predictions = [
        {"scores": truth + scale * noise, "truth": truth, "ids": torch.arange(120), "probabilistic": torch.tensor(True)}
        for scale in (2.0, 0.5)
    ]
    comparison = compare_predictions(
        make_predictions("classify", Labels(names=("a", "b", "c"), counts=(40, 40, 40)), predictions)
    )
    assert (comparison.headline, comparison.runs[0].name, comparison.pairs[0].better) == (
        "average precision",
        "run 1",
        True,
    )
    assert comparison.pairs[0].only is None
    y = torch.randn(300, 2, dtype=torch.float64, generator=drawn)
    e = torch.randn(300, 2, dtype=torch.float64, generator=drawn)
    predictions = [{"said": y + scale * e, "truth": y, "ids": torch.arange(300)} for scale in (0.5, 0.4)]
    comparison = compare_predictions(make_predictions("regress", Numbers(names=("a", "b")), predictions))
    worst, best = (
        float((1 - (s["said"] - y).square().sum(0) / (y - y.mean(0)).square().sum(0)).mean()) for s in predictions
    )
    assert comparison.pairs[0].difference.value == pytest.approx(best - worst)
    assert comparison.pairs[0].better


@pytest.mark.parametrize(("p", "better"), [(0.049, True), (0.05, False), (0.051, False)])
def test_better_requires_a_corrected_p_value_below_five_percent(p: float, better: bool) -> None:
    right = torch.rand(100, generator=seeded()) < 0.5
    (pair,) = compare_predictions(classifiers([right, ~right])).pairs
    assert (with_corrected_p(pair, p).better, with_corrected_p(pair, p).corrected) == (better, p)


@pytest.mark.parametrize("count", [12, 40])
def test_the_interval_of_a_difference_in_accuracy_excludes_zero_where_p_is_below_five_percent(count: int) -> None:
    """Of 12 samples, 5 of which only the first classifies correctly: p = 0.0625, and the bootstrap starts at 17 points.
    What is shown, value ± half-width or limits, is on the same side."""
    significant = 0
    for first, second in itertools.product(range(count + 1), range(count // 2)):
        if not second <= first <= count - second:
            continue
        rights = torch.arange(count) < first, (torch.arange(count) >= first) & (torch.arange(count) < first + second)
        result = paired_test(*classifiers(list(rights)), Metric(value=0.5, percent=True), 0)
        exact = stats.binomtest(first, first + second).pvalue if first + second < 25 and first else None
        chi_square = stats.chi2.sf((first - second) ** 2 / max(first + second, 1), 1)
        assert result.p == pytest.approx(chi_square if exact is None else exact)
        assert result.only == (first, second)
        assert result.difference.low is not None
        assert (result.difference.low > 0) == (result.p < 0.05), (first, second)
        assert (shown_low(str(result.difference)) > 0) == (result.p < 0.05), str(result.difference)
        significant += result.p < 0.05
    assert significant > 10


def shown_low(text: str) -> float:
    """The lower limit of a metric as text: "33 (0 to 60) ..." or "33 ± 20 ..."."""
    value, *rest = map(float, re.findall(r"-?[\d.]+", text))
    return value - rest[0] if "±" in text else rest[0] if rest else value


def test_the_interval_of_any_difference_excludes_zero_where_p_is_below_five_percent() -> None:
    """Errors of 12 samples: many equal, where only the bootstrap rejects; and skewed, where only permutations do."""
    drawn = seeded()
    kinds = collections.Counter[tuple[bool, bool, bool]]()
    for k in range(120):
        if k % 2:
            gains = (torch.rand(12, generator=drawn) + 0.5) * (torch.rand(12, generator=drawn) < 0.4)
        else:
            gains = torch.rand(12, generator=drawn).log() + 1.6
        gains = gains.double() * (1 if gains.mean() > 0 else -1)
        base = torch.full((12,), 9.0, dtype=torch.float64)
        result = paired_test(*regressors([base - gains, base]), Metric(value=1.0, higher_is_better=False, unit="mm"), 0)
        assert result.difference.low is not None
        assert (result.difference.low > 0) == (result.p < 0.05)
        assert (shown_low(str(result.difference)) > 0) == (result.p < 0.05), str(result.difference)
        oracle = stats.permutation_test((gains.numpy(),), np.mean, permutation_type="samples").pvalue
        kinds[oracle < 0.05, paired_bootstrap(gains) > 0, result.p < 0.05] += 1
    assert kinds[True, True, True] > 20
    assert kinds[False, True, False] > 10
    assert kinds[False, True, True] <= 1  # the permutations are a sample
    assert kinds[True, False, True] <= 1


def paired_bootstrap(gains: Tensor) -> float:
    """Lower limit of the expanded percentile interval of a mean, by scipy."""
    low, high = expanded_percentiles(len(gains))
    drawn = stats.bootstrap((gains.numpy(),), np.mean, method="percentile", confidence_level=high - low, rng=0)
    return float(drawn.confidence_interval.low)


def test_the_interval_of_the_difference_decides_where_those_of_the_runs_overlap() -> None:
    """870 of 1,000 correct, and the same 870 and 30 more: p = 2 · 2⁻³⁰ by the sign test, 4e-8 by chi-square."""
    second = torch.arange(1000) < 870
    first = torch.arange(1000) < 900
    comparison = compare_predictions(classifiers([second, first]))
    best, other = (run.headline for run in comparison.runs)
    assert best.low is not None
    assert other.high is not None
    assert best.low < other.high  # by Wilson: 0.880 to 0.917 and 0.848 to 0.889
    assert comparison.pairs[0].better
    assert comparison.pairs[0].chance == pytest.approx(stats.chi2.sf(30, 1))


def test_the_p_value_is_the_larger_of_the_permutation_test_and_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = 0.4 + torch.randn(100, generator=seeded(), dtype=torch.float64).abs()
    runs = regressors([torch.zeros(100, dtype=torch.float64), gains])
    assert compare_predictions(runs).pairs[0].better
    with monkeypatch.context() as patch:
        patch.setattr("snellen.model_selection.paired_test.permutation_test", lambda *a, **k: 0.2)
        (pair,) = compare_predictions(runs).pairs
        assert (pair.chance, pair.difference.low, pair.better) == (0.2, 0.0, False)
    with monkeypatch.context() as patch:
        values = torch.linspace(-1, 9, 2000, dtype=torch.float64)  # a tenth of them below zero
        patch.setattr("snellen.model_selection.paired_test.resampled_values", lambda *a, **k: values)
        (pair,) = compare_predictions(runs).pairs
        assert pair.chance == pytest.approx(2 * stats.t.sf(stats.norm.ppf(0.9) * 0.99**0.5, 99), abs=1e-3)
        assert not pair.better


def test_fifteen_runs_can_be_told_apart_by_the_permutation_test() -> None:
    """The smallest p-value of 2,000 draws times 105 pairs is 0.052."""
    drawn = seeded(7)
    runs = [0.2 * (k + 1) + 0.05 * torch.rand(40, generator=drawn, dtype=torch.float64) for k in range(15)]
    comparison = compare_predictions(regressors(runs))
    assert len(comparison.pairs) == 105
    assert all(pair.better for pair in comparison.pairs)


def test_a_difference_over_fewer_than_five_samples_has_no_interval_and_no_verdict() -> None:
    (pair,) = compare_predictions(regressors([torch.full((4,), e, dtype=torch.float64) for e in (0.1, 3.0)])).pairs
    assert (pair.difference.low, pair.better) == (None, False)
    assert str(pair.difference) == "2.9 mm (no interval: fewer than 5 samples)"


def test_tied_scores_of_several_labels_have_the_difference_of_the_headlines_in_any_order() -> None:
    drawn = seeded(8)
    truth = (torch.rand(100, 3, generator=drawn) < 0.4).float()
    noisy = truth + torch.randn(100, 3, generator=drawn)
    order = truth.sum(1).argsort()  # an order that ties could profit from
    predictions = [
        {"scores": s[order], "truth": truth[order], "ids": torch.arange(100), "probabilistic": torch.tensor(True)}
        for s in (noisy, torch.zeros(100, 3))
    ]
    labels_ = Labels(names=("a", "b", "c"), counts=(40, 40, 40))
    comparison = compare_predictions(make_predictions("classify", labels_, predictions))
    first, second = (run.headline.value for run in comparison.runs)
    assert second == pytest.approx(float(truth.mean(0).mean()))
    assert comparison.pairs[0].difference.value == pytest.approx(100 * (first - second))


def test_an_undefined_headline_metric_is_an_error() -> None:
    flat = torch.ones(20, 2, dtype=torch.float64)
    predictions = [{"said": flat + k, "truth": flat, "ids": torch.arange(20)} for k in range(2)]
    with pytest.raises(snellen.DataError, match="does not vary"):
        compare_predictions(make_predictions("regress", Numbers(names=("a", "b")), predictions))


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield importlib.import_module("compare_calibration")
        sys.modules.pop("compare_calibration", None)


@pytest.mark.parametrize(("kind", "pairs"), [("accuracy", 60), ("mean absolute error", 30)])
def test_the_verdict_is_calibrated(bench: ModuleType, kind: str, pairs: int) -> None:
    comparison = bench.better_rates(kind, pairs, 200, seed=0)
    assert comparison["equal"] <= bench.max_false_rate(pairs)
    assert comparison["apart"] >= 0.8 - 2 * (0.8 * 0.2 / pairs) ** 0.5
    assert comparison["wrong"] == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on moons, one of them without test predictions, and runs on other data."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    for name, data, model, seed, split_seed in (
        ("softmax", "moons", "softmax", 0, 0),
        ("baseline", "moons", "baseline", 0, 0),
        ("again", "moons", "softmax", 1, 0),
        ("seed1", "moons", "softmax", 0, 1),
        ("rings", "rings", "softmax", 0, 0),
        ("sine", "sine", "baseline", 0, 0),
    ):
        more = {"epochs": 2, "lr": 0.1} if model == "softmax" else {}
        snellen.train(data, model, seed=seed, split_seed=split_seed, out=folder / name, options=QUICK, **more)
    snellen.train(
        "moons", "softmax", epochs=1, out=folder / "closed", options=dataclasses.replace(QUICK, evaluate_test=False)
    )
    return folder


def test_runs_are_compared_by_stored_predictions_and_nothing_is_written(runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    comparison = snellen.compare(runs / "baseline", snellen.load(runs / "softmax"))
    assert comparison.runs[0].name == str(runs / "softmax")
    assert comparison.pairs[0].better
    assert comparison.runs[0].headline == snellen.load(runs / "softmax").metrics["accuracy"]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_trainings_with_two_seeds_are_compared_on_one_test_split(runs: Path) -> None:
    comparison = snellen.compare(runs / "softmax", runs / "again")
    first, second = (snellen.load(runs / name) for name in ("softmax", "again"))
    assert torch.equal(first.predictions("test")["ids"], second.predictions("test")["ids"])
    assert not torch.equal(first.predictions("test")["scores"], second.predictions("test")["scores"])
    assert comparison.samples == 150


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("softmax", "seed1", "moons of seed 0' and 'moons of seed 1"),
        ("softmax", "rings", "the data 'moons"),
        ("softmax", "sine", "the task 'classify' and 'regress'"),
        ("softmax", "closed", "has not been evaluated on the test split"),
        ("softmax", "softmax", "given twice"),
    ],
)
def test_runs_that_cannot_be_compared_are_an_error_with_its_reason(
    runs: Path, first: str, second: str, reason: str
) -> None:
    with pytest.raises(snellen.UsageError) as caught:
        compare(runs / first, runs / second)
    assert reason in str(caught.value)
    assert caught.value.remedy


def test_a_single_run_is_an_error(runs: Path) -> None:
    with pytest.raises(snellen.UsageError, match="two or more runs"):
        compare(runs / "softmax")


def test_the_remedy_for_missing_test_predictions_evaluates_the_run(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "closed", tmp_path / "run")
    with pytest.raises(snellen.UsageError) as caught:
        compare(runs / "softmax", tmp_path / "run")
    assert f"snellen train --resume {tmp_path / 'run'}" in caught.value.remedy
    snellen.resume(tmp_path / "run", options=QUICK)
    assert compare(runs / "softmax", tmp_path / "run").samples == 150


def test_an_unfinished_and_a_damaged_run_are_errors(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "baseline", tmp_path / "begun")
    record = read_record(tmp_path / "begun")
    write_record(tmp_path / "begun", dataclasses.replace(record, status="training"))
    with pytest.raises(snellen.UsageError, match="has not finished"):
        compare(runs / "softmax", tmp_path / "begun")
    write_record(tmp_path / "begun", record)
    predictions = tmp_path / "begun" / "predictions" / "test.safetensors"
    shutil.copy(runs / "seed1" / "predictions" / "test.safetensors", predictions)
    with pytest.raises(snellen.DataError, match="SHA-256"):
        compare(runs / "softmax", tmp_path / "begun")


def test_different_samples_and_ground_truth_are_reported(runs: Path) -> None:
    from snellen.core import file_io
    from snellen.model_selection.comparison import data_difference

    record = read_record(runs / "softmax")
    predictions = file_io.read_tensors(runs / "softmax" / "predictions" / "test.safetensors")[0]
    assert data_difference(record, predictions, record, predictions) == ""
    other = {**predictions, "ids": predictions["ids"].flip(0)}
    assert "samples differ" in data_difference(record, predictions, record, other)
    other = {**predictions, "truth": 1 - predictions["truth"]}
    assert "ground truth of the same samples differs" in data_difference(record, predictions, record, other)


def test_a_label_without_positive_test_samples() -> None:
    data = labels(torch.randn(30, 2), torch.tensor([[1.0, 0.0]] * 15 + [[0.0, 0.0]] * 15))
    truth = data.truth
    predictions = [
        {"scores": truth - 0.5 + k, "truth": truth, "ids": torch.arange(30), "probabilistic": torch.tensor(True)}
        for k in range(2)
    ]
    assert (
        compare_predictions(make_predictions("classify", Labels(names=("a", "b"), counts=(9, 0)), predictions))
        .pairs[0]
        .better
        is False
    )


@pytest.mark.parametrize(("with_targets", "count"), [(True, 2), (False, 1)])
def test_contents_are_compared_where_targets_are_too_many_to_list(
    tmp_path: Path, with_targets: bool, count: int
) -> None:
    """Of more maps than are read, only the contents of the inputs are listed."""
    contents, targets = np.arange(6), np.arange(6) + 10
    for name, changed in (("first", 0), ("second", 1)):
        identity = SampleIdentity(
            key=None,
            names="sample",
            contents=contents + changed * (contents == 3),
            targets=targets + changed * (contents == 4) if with_targets else None,
            split=np.full(6, 2, np.int8),
        )
        (tmp_path / name).mkdir()
        write_identity(tmp_path / name, identity)
    assert _changed_contents(tmp_path / "first", tmp_path / "second", torch.arange(2, 6)) == count
    assert _changed_contents(tmp_path / "first", tmp_path / "second", torch.arange(3)) == 0
