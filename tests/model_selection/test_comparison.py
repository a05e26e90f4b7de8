"""Comparisons: intervals against scipy, the verdict's words and calibration, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib
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
from scipy import stats
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core.record import read_record, write_record
from snellen.core.spec import Classes, Input, Labels, Numbers, Spec, Target
from snellen.model_selection.comparison import Answers, compare, compared
from snellen.tasks import TASKS

BENCH = Path(__file__).resolve().parents[2] / "bench"
QUICK = RunOptions(device="cpu", threads=1, report=False)


def answers(task: str, target: Target, said: list[dict[str, Tensor]]) -> list[Answers]:
    spec = Spec(name="drawn", inputs={"x": Input(modality="vector", shape=(1,))}, target=target)
    return [
        Answers(name=f"run {k}", learner="any", task=TASKS[task], spec=spec, said=one) for k, one in enumerate(said)
    ]


def classified(rights: list[Tensor], rare: bool = False) -> list[Answers]:
    """Answers of classifiers that are right where `rights` say; of two classes."""
    count = len(rights[0])
    truth = (torch.arange(count) % (10 if rare else 2) == 0).long()
    made = [
        {
            "scores": torch.nn.functional.one_hot(torch.where(right, truth, 1 - truth), 2).float(),
            "truth": truth,
            "ids": torch.arange(count),
            "probabilistic": torch.tensor(False),
        }
        for right in rights
    ]
    return answers("classify", Classes(names=("a", "b"), counts=(90, 10) if rare else (50, 50)), made)


def regressed(errors: list[Tensor]) -> list[Answers]:
    truth = torch.linspace(0, 5, len(errors[0]), dtype=torch.float64)[:, None]
    made = [{"said": truth + e[:, None], "truth": truth, "ids": torch.arange(len(e))} for e in errors]
    return answers("regress", Numbers(names=("y",), units=("mm",)), made)


def test_the_interval_is_scipys_paired_bootstrap() -> None:
    drawn = seeded()
    first = torch.randn(400, generator=drawn, dtype=torch.float64)
    second = 1.3 * first + 0.3 * torch.randn(400, generator=drawn, dtype=torch.float64)
    (pair,) = compared(regressed([first, second])).pairs
    gains = (second.abs() - first.abs()).numpy()
    oracle = stats.bootstrap((gains,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(0))
    assert pair.difference.value == pytest.approx(gains.mean())
    # A quantile q of R draws has the standard deviation √(q(1 − q)/R) / density: 0.06 of theirs for 2000 draws.
    error = 3 * (0.025 * 0.975 * (1 / 2000 + 1 / 20_000)) ** 0.5 / stats.norm.pdf(1.96) * oracle.standard_error
    assert pair.difference.low == pytest.approx(oracle.confidence_interval.low, abs=error)
    assert pair.difference.high == pytest.approx(oracle.confidence_interval.high, abs=error)
    assert (pair.difference.unit, pair.difference.over, pair.test) == ("mm", "samples", "exchange")
    assert pair.first == "run 0"


def test_the_better_classifier_is_named_with_its_points() -> None:
    drawn = seeded(1)
    second = torch.rand(10_000, generator=drawn) < 0.9
    first = second.clone()
    first[(~second).nonzero()[:200, 0]] = True
    first[second.nonzero()[:60, 0]] = False
    found = compared(classified([second, first]))
    (pair,) = found.pairs
    assert (pair.first, pair.only, pair.test) == ("run 1", (200, 60), "McNemar")
    assert pair.chance == pytest.approx(stats.chi2.sf((200 - 60) ** 2 / 260, 1))
    assert re.fullmatch(r"better by 1\.40 ± 0\.3\d points over 10,000 samples", pair.verdict)
    assert found.verdict == f"run 1 is {pair.verdict.replace('better', 'better than run 0', 1)}."


def test_equal_runs_are_not_distinguishable() -> None:
    drawn = seeded(2)
    right = torch.rand(500, generator=drawn) < 0.8
    found = compared(classified([right, right.clone()]))
    assert (found.pairs[0].chance, found.pairs[0].verdict) == (1.0, "not distinguishable")
    assert found.verdict == "run 0 and run 1 are not distinguishable over 500 samples."


def test_several_runs_are_corrected_for_every_pair() -> None:
    drawn = seeded(3)
    right = torch.rand(400, generator=drawn) < 0.5
    runs = []
    for more in (26, 22, 0):  # mended samples, and ten spoilt ones
        one = right.clone()
        one[(~right).nonzero()[:more, 0]] = True
        one[right.nonzero()[: 10 if more else 0, 0]] = False
        runs.append(one)
    found = compared(classified(runs))
    assert [run.name for run in found.runs] == ["run 0", "run 1", "run 2"]
    pairs = sorted(found.pairs, key=lambda pair: pair.chance)
    assert [pair.corrected for pair in pairs] == pytest.approx(
        [
            3 * pairs[0].chance,
            max(3 * pairs[0].chance, 2 * pairs[1].chance),
            max(3 * pairs[0].chance, 2 * pairs[1].chance, pairs[2].chance),
        ]
    )
    last = found.pair("run 1", "run 2")
    assert last.chance < 0.05 <= last.corrected
    assert not last.better
    assert found.pair("run 0", "run 2").better
    assert found.verdict == "run 0 is the best on these 400 samples, but not distinguishable from run 1."


def test_a_balanced_headline_is_judged_by_what_it_measures() -> None:
    drawn = seeded(4)
    first = torch.rand(2000, generator=drawn) < 0.9
    rare = torch.arange(2000) % 10 == 0
    second = first | rare  # all of the rare class right, which is a tenth of the samples
    (pair,) = compared(classified([first, second], rare=True)).pairs
    assert (pair.first, pair.test, pair.better) == ("run 1", "exchange", True)
    gain = 50 * float((~first[rare]).double().mean())  # half of the mean of two recalls
    assert pair.difference.value == pytest.approx(gain)


def test_several_labels_and_several_numbers_are_compared_by_their_headlines() -> None:
    drawn = seeded(5)
    truth = (torch.rand(120, 3, generator=drawn) < 0.4).float()
    noise = torch.randn(120, 3, generator=drawn)
    said = [
        {"scores": truth + scale * noise, "truth": truth, "ids": torch.arange(120), "probabilistic": torch.tensor(True)}
        for scale in (2.0, 0.5)
    ]
    found = compared(answers("classify", Labels(names=("a", "b", "c"), counts=(40, 40, 40)), said))
    assert (found.headline, found.runs[0].name, found.pairs[0].better) == ("average precision", "run 1", True)
    assert found.pairs[0].only is None
    y = torch.randn(300, 2, dtype=torch.float64, generator=drawn)
    e = torch.randn(300, 2, dtype=torch.float64, generator=drawn)
    said = [{"said": y + scale * e, "truth": y, "ids": torch.arange(300)} for scale in (0.5, 0.4)]
    found = compared(answers("regress", Numbers(names=("a", "b")), said))
    worst, best = (float((1 - (s["said"] - y).square().sum(0) / (y - y.mean(0)).square().sum(0)).mean()) for s in said)
    assert found.pairs[0].difference.value == pytest.approx(best - worst)
    assert found.pairs[0].better


def test_an_undefined_headline_is_refused() -> None:
    flat = torch.ones(20, 2, dtype=torch.float64)
    said = [{"said": flat + k, "truth": flat, "ids": torch.arange(20)} for k in range(2)]
    with pytest.raises(snellen.DataError, match="does not vary"):
        compared(answers("regress", Numbers(names=("a", "b")), said))


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield importlib.import_module("compare_calibration")
        sys.modules.pop("compare_calibration", None)


@pytest.mark.parametrize(("kind", "pairs"), [("accuracy", 60), ("mean absolute error", 30)])
def test_the_verdict_is_calibrated(bench: ModuleType, kind: str, pairs: int) -> None:
    found = bench.shares(kind, pairs, 200, seed=0)
    assert found["equal"] <= bench.allowed(pairs)
    assert found["apart"] >= 0.8 - 2 * (0.8 * 0.2 / pairs) ** 0.5
    assert found["wrong"] == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on moons, one of them with its test split closed, and others on other data."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    for name, data, model, seed in (
        ("softmax", "moons", "softmax", 0),
        ("baseline", "moons", "baseline", 0),
        ("seed1", "moons", "softmax", 1),
        ("rings", "rings", "softmax", 0),
        ("sine", "sine", "baseline", 0),
    ):
        more = {"epochs": 2, "lr": 0.1} if model == "softmax" else {}
        snellen.train(data, model, seed=seed, out=folder / name, options=QUICK, **more)
    snellen.train(
        "moons", "softmax", epochs=1, out=folder / "closed", options=dataclasses.replace(QUICK, evaluate_test=False)
    )
    return folder


def test_runs_are_compared_by_what_they_kept_and_nothing_is_written(runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    found = snellen.compare(runs / "baseline", snellen.load(runs / "softmax"))
    assert found.runs[0].name == str(runs / "softmax")
    assert found.pairs[0].better
    assert found.runs[0].headline == snellen.load(runs / "softmax").metrics["accuracy"]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("softmax", "seed1", "moons of seed 0' and 'moons of seed 1"),
        ("softmax", "rings", "the data 'moons"),
        ("softmax", "sine", "the task 'classify' and 'regress'"),
        ("softmax", "closed", "test split is still closed"),
        ("softmax", "softmax", "given twice"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_reason(runs: Path, first: str, second: str, why: str) -> None:
    with pytest.raises(snellen.UsageError) as caught:
        compare(runs / first, runs / second)
    assert why in str(caught.value)
    assert caught.value.remedy


def test_one_run_alone_is_refused(runs: Path) -> None:
    with pytest.raises(snellen.UsageError, match="two runs or more"):
        compare(runs / "softmax")


def test_the_remedy_for_a_closed_test_split_opens_it(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "closed", tmp_path / "run")
    with pytest.raises(snellen.UsageError) as caught:
        compare(runs / "softmax", tmp_path / "run")
    assert f"snellen train --resume {tmp_path / 'run'}" in caught.value.remedy
    snellen.resume(tmp_path / "run", options=QUICK)
    assert compare(runs / "softmax", tmp_path / "run").samples == 150


def test_an_unfinished_and_a_damaged_run_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "baseline", tmp_path / "begun")
    record = read_record(tmp_path / "begun")
    write_record(tmp_path / "begun", dataclasses.replace(record, status="training"))
    with pytest.raises(snellen.UsageError, match="has not finished"):
        compare(runs / "softmax", tmp_path / "begun")
    write_record(tmp_path / "begun", record)
    said = tmp_path / "begun" / "predictions" / "test.safetensors"
    shutil.copy(runs / "seed1" / "predictions" / "test.safetensors", said)
    with pytest.raises(snellen.DataError, match="SHA-256"):
        compare(runs / "softmax", tmp_path / "begun")


def test_other_samples_and_another_truth_are_told(runs: Path) -> None:
    from snellen.core import files
    from snellen.model_selection.comparison import differs

    record = read_record(runs / "softmax")
    said = files.read_tensors(runs / "softmax" / "predictions" / "test.safetensors")[0]
    assert differs(record, said, record, said) == ""
    other = {**said, "ids": said["ids"].flip(0)}
    assert "are not the same" in differs(record, said, record, other)
    other = {**said, "truth": 1 - said["truth"]}
    assert "another" in differs(record, said, record, other)


def test_labels_of_a_test_split_with_a_label_that_is_never_there() -> None:
    data = labels(torch.randn(30, 2), torch.tensor([[1.0, 0.0]] * 15 + [[0.0, 0.0]] * 15))
    truth = data.truth
    said = [
        {"scores": truth - 0.5 + k, "truth": truth, "ids": torch.arange(30), "probabilistic": torch.tensor(True)}
        for k in range(2)
    ]
    assert compared(answers("classify", Labels(names=("a", "b"), counts=(9, 0)), said)).pairs[0].better is False
