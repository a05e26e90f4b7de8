"""Cross-validation: each sample is in one test split, Student's interval, finished folds are not trained again."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch
from scipy import stats

from snellen.api import RunOptions, load, resume
from snellen.api.lookup import reopen_data
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.core.record import read_record
from snellen.core.views import Metric
from snellen.data.open_dataset import dataset
from snellen.data.synthetic.toys import digits
from snellen.model_selection.cross_validation import cross_validate, mean_over_folds, mean_with_interval
from snellen.tasks.classify import from_module

QUICK = {"epochs": 1, "lr": 0.01}


def test_the_interval_over_folds_is_students_t_with_the_correction_of_nadeau_and_bengio() -> None:
    """Variance of the mean: (1 / k + n_test / n_train) s², with n_test / n_train = 1 / (k − 1)."""
    values = [0.81, 0.86, 0.79, 0.9, 0.84]
    mean = mean_over_folds([Metric(value=value, percent=True, over="samples") for value in values])
    scale = statistics.stdev(values) * (1 / 5 + 1 / 4) ** 0.5
    low, high = stats.t.interval(0.95, 4, loc=statistics.fmean(values), scale=scale)
    assert mean.low == pytest.approx(low)
    assert mean.high == pytest.approx(high)
    assert (mean.value, mean.over) == (pytest.approx(statistics.fmean(values)), "folds")


def test_the_interval_over_seeds_is_students_t_and_that_of_samples_where_no_seed_varies_the_value() -> None:
    values = [0.81, 0.86, 0.79]
    mean = mean_with_interval([Metric(value=value) for value in values], "seeds")
    low, high = stats.t.interval(0.95, 2, loc=statistics.fmean(values), scale=stats.sem(values))
    assert (mean.low, mean.high) == (pytest.approx(low), pytest.approx(high))
    same = Metric(value=0.9777, low=0.95, high=0.99, over="samples", percent=True)
    assert mean_with_interval([same] * 3, "seeds") == same


def test_a_fold_with_an_undefined_metric_leaves_the_mean_undefined() -> None:
    mean = mean_over_folds([Metric(value=0.5), Metric(value=None, reason="the split is empty")])
    assert mean.value is None
    assert "the split is empty" in mean.reason


def test_every_sample_is_in_one_test_split_and_resume_opens_the_same_fold(tmp_path: Path) -> None:
    result = cross_validate("moons", "softmax", 3, out=tmp_path, settings=QUICK)
    tested = torch.cat([load(tmp_path / f"fold-{k}").predictions("test")["ids"] for k in (1, 2, 3)])
    assert torch.equal(tested.sort().values, torch.arange(1000))
    record = read_record(tmp_path / "fold-2")
    assert torch.equal(reopen_data(record).splits["test"], load(tmp_path / "fold-2").predictions("test")["ids"])
    assert resume(tmp_path / "fold-2").metrics["accuracy"] == result.each[1]
    assert result.mean.value == pytest.approx(statistics.fmean(m.value for m in result.each if m.value is not None))


def test_a_setting_without_effect_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--momentum has no effect with --optimizer adam"):
        cross_validate("moons", "mlp", 2, out=tmp_path / "f", settings={"momentum": 0.8})
    assert not list(tmp_path.iterdir())


def test_finished_folds_are_not_trained_again_and_different_settings_are_an_error(tmp_path: Path) -> None:
    first = cross_validate("moons", "softmax", 2, out=tmp_path, settings=QUICK)
    mtime = (tmp_path / "fold-1" / "model.safetensors").stat().st_mtime_ns
    (tmp_path / "fold-2" / "run.json").unlink()
    second = cross_validate("moons", "softmax", 2, out=tmp_path, settings=QUICK)
    assert (tmp_path / "fold-1" / "model.safetensors").stat().st_mtime_ns == mtime
    assert second == first
    with pytest.raises(UsageError, match="other settings"):
        cross_validate("moons", "softmax", 2, out=tmp_path, settings={**QUICK, "lr": 0.02})
    stored = json.loads((tmp_path / "folds.json").read_text())
    for damaged in ([], {**stored, "schema": 99}):
        (tmp_path / "folds.json").write_text(json.dumps(damaged))
        with pytest.raises(DataError, match="damaged, or of another version"):
            cross_validate("moons", "softmax", 2, out=tmp_path, settings=QUICK)


class Begun:
    """Receiver of progress messages that records the folds."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int]] = []

    def begin(self, name: str, index: int, total: int) -> None:
        self.begun.append((name, index, total))

    def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...
    def message(self, message: str) -> None: ...


def test_folds_accept_a_module_a_seed_and_a_receiver_of_progress(tmp_path: Path) -> None:
    progress = Begun()
    data = dataset("moons")
    result = cross_validate(
        data,
        from_module(torch.nn.Linear(2, 2)),
        2,
        seed=4,
        out=tmp_path,
        settings={"epochs": 1},
        options=RunOptions(device="cpu", progress=progress),
    )
    assert progress.begun == [("fold 1", 0, 2), ("fold 2", 1, 2)]
    assert (result.learner, read_record(tmp_path / "fold-1").seed) == ("Linear", 4)


def test_data_with_predefined_splits_or_from_memory_is_an_error(tmp_path: Path) -> None:
    from snellen.data.open_dataset import assemble

    with pytest.raises(UsageError, match="has its own splits"):
        cross_validate("xor", "softmax", 2, out=tmp_path / "a")
    with pytest.raises(UsageError, match="made in memory"):
        cross_validate(assemble(digits(0), "digits", 0, None), "softmax", 2, out=tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_the_command_line_prints_each_fold_and_the_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "moons", "--model", "softmax", "--epochs", "1", "--folds", "2", "--out", str(tmp_path / "f")]
    assert main([*arguments, "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (len(output["folds"]), output["headline"], output["mean"]["over"]) == (2, "accuracy", "folds")
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "fold-2" in out
    assert "± 95 % over 2 folds, corrected for shared training samples (Nadeau and Bengio)" in out
    assert main([*arguments[:-1], str(tmp_path / "g"), "--folds", "1"]) == 2
    assert not (tmp_path / "g").exists()


def test_equal_folds_have_no_interval_of_width_zero() -> None:
    like = Metric(value=0.5, low=0.4, high=0.6, over="samples", percent=True)
    mean = mean_with_interval([like, like, like], "folds")
    assert (mean.low, mean.high, mean.reason) == (None, None, "equal for all folds")
    assert str(mean) == "50 % (equal for all folds)"
