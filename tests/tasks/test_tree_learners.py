"""Boosted trees and random forests as learners: agreement with scikit-learn, classes, targets, time, edge cases."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raw_datasets import classes, labels, numbers, seeded
from torch import Tensor

import snellen
from snellen.core.errors import TooLittleTime, UsageError
from snellen.core.run import Run
from snellen.core.spec import Classes
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks import LEARNERS
from snellen.training import trees

TREES = ("random-forest", "boosted-trees")


def table(count: int = 600, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """(N, 4) columns, one of them of integers, and a number that depends on products and steps of them."""
    x = torch.randn(count, 4, generator=seeded(), dtype=torch.float64)
    x[:, 1] = (2 * x[:, 1]).round()
    y = x[:, 0] * x[:, 1] + 2 * (x[:, 2] > 0.3) + 0.1 * torch.randn(count, generator=seeded(1), dtype=torch.float64)
    return x.to(dtype), y


def split(data: Dataset[Labelled], name: str) -> tuple[np.ndarray, np.ndarray]:
    ids = data.splits[name]
    values = data.samples(name).take(torch.arange(len(ids)))
    return values.x.numpy(), values.y.numpy()


def fitted(name: str, data: Dataset[Labelled], folder: Path, seconds: float | None = None, **settings: Any) -> Any:
    """Fit without the check of the data, so that classes may lack samples."""
    task = "classify" if isinstance(data.spec.target, Classes) else "regress"
    learner = LEARNERS[task][name]
    c = snellen.core.settings.make(learner.settings, settings)
    model = learner.build(c, data.spec)
    learner.fit(c, data, model, Run(folder, seconds=seconds))
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [2, 3])
def test_classifiers_equal_scikit_learns_on_the_same_split(count: int, dtype: torch.dtype, tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    x, y = table(dtype=dtype)
    data = classes(x, torch.bucketize(y, torch.quantile(y, torch.arange(1, count).double() / count)), count)
    (train_x, train_y), (test_x, _) = split(data, "train"), split(data, "test")
    seed = trees.seed_of(Run(tmp_path / "seed"), "random forest")
    forest = RandomForestClassifier(100, random_state=seed).fit(train_x, train_y)
    model = fitted("random-forest", data, tmp_path / "forest")
    probabilities = model.scores(torch.from_numpy(test_x)).softmax(1).numpy()
    assert np.allclose(probabilities, forest.predict_proba(test_x), atol=3e-6)
    model = fitted("boosted-trees", data, tmp_path / "boosted", max_iter=40)
    boosting = HistGradientBoostingClassifier(max_iter=model.trees.rounds, early_stopping=False).fit(train_x, train_y)
    probabilities = model.scores(torch.from_numpy(test_x)).softmax(1).numpy()
    assert np.allclose(probabilities, boosting.predict_proba(test_x), atol=1e-9)


def test_boosting_stops_at_the_lowest_validation_loss(tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss

    x, y = table(300)
    data = classes(x, (y + 2 * torch.randn(300, generator=seeded(2), dtype=torch.float64) > 0).long(), 2)
    model = fitted("boosted-trees", data, tmp_path / "run", max_iter=200)
    boosting = HistGradientBoostingClassifier(max_iter=200, early_stopping=False).fit(*split(data, "train"))
    val_x, val_y = split(data, "val")
    losses = [log_loss(val_y, probabilities) for probabilities in boosting.staged_predict_proba(val_x)]
    assert model.trees.rounds == int(np.argmin(losses)) + 1
    assert 1 <= model.trees.rounds < 200


@pytest.mark.parametrize("loss", ["squared", "absolute", None])
@pytest.mark.parametrize("targets", [1, 2])
def test_boosted_regression_equals_scikit_learns(targets: int, loss: str | None, tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = table()
    t = torch.stack([y, 1e5 + 1e4 * x[:, 0] ** 2], dim=1)[:, :targets]
    data = numbers(x, t, names=("a", "b")[:targets])
    model = fitted("boosted-trees", data, tmp_path / "run", max_iter=40, loss=loss)
    expected_loss = loss or ("absolute" if targets == 1 else "squared")  # that of the headline
    (train_x, train_y), (test_x, _) = split(data, "train"), split(data, "test")
    predicted = model.predict(torch.from_numpy(test_x)).numpy()
    for k in range(targets):
        estimator = HistGradientBoostingRegressor(
            loss=f"{expected_loss}_error", max_iter=model.trees.rounds, early_stopping=False
        )
        expected = estimator.fit(train_x, train_y[:, k]).predict(test_x)
        assert np.allclose(predicted[:, k], expected, rtol=1e-10)


@pytest.mark.parametrize(("columns", "tried"), [(4, 4), (12, 8), (20, 10)])
def test_a_random_forest_for_numbers_equals_scikit_learns(columns: int, tried: int, tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestRegressor

    x, y = table()
    data = numbers(torch.cat([x, torch.randn(len(x), columns - 4, generator=seeded(3), dtype=x.dtype)], dim=1), y)
    model = fitted("random-forest", data, tmp_path / "run", min_samples_leaf=5)
    seed = trees.seed_of(Run(tmp_path / "seed"), "random forest")
    oracle = RandomForestRegressor(100, min_samples_leaf=5, max_features=tried, random_state=seed)
    (train_x, train_y), (test_x, _) = split(data, "train"), split(data, "test")
    expected = oracle.fit(train_x, train_y[:, 0]).predict(test_x)
    assert np.allclose(model.predict(torch.from_numpy(test_x)).numpy()[:, 0], expected, rtol=1e-10)


def test_a_random_forest_weights_all_targets_equally(tmp_path: Path) -> None:
    """A target in small units is predicted as well as one in large units."""
    x, y = table()
    t = torch.stack([y, 1e6 * x[:, 3].sign()], dim=1)
    runs = [
        snellen.train(numbers(x, t * scale, names=("a", "b")), model="random-forest", out=tmp_path / f"{k}")
        for k, scale in enumerate([torch.tensor([1.0, 1.0]), torch.tensor([2.0**20, 2.0**-20])])
    ]
    values = [run.metrics["R2"].value for run in runs]
    assert values[0] == values[1]
    assert values[0] is not None
    assert values[0] > 0.5


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("present", [[0, 2, 3], [1, 3], [2]])
def test_a_class_without_a_sample_is_never_predicted(present: list[int], name: str, tmp_path: Path) -> None:
    y = torch.tensor(present)[torch.arange(120) % len(present)]
    x = torch.randn(120, 3, generator=seeded(), dtype=torch.float64) + 3 * torch.eye(4, 3, dtype=torch.float64)[y]
    model = fitted(name, classes(x, y, 4), tmp_path / "run", min_samples_leaf=2)
    scores = model.scores(x)
    assert bool(scores.isfinite().all())
    assert set(scores.argmax(1).tolist()) <= set(present)
    assert float((scores.argmax(1) == y).double().mean()) > 0.7


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("only", [0, 1])
def test_with_one_of_two_classes_that_class_is_predicted(only: int, name: str, tmp_path: Path) -> None:
    x = torch.randn(60, 3, generator=seeded())
    model = fitted(name, classes(x, torch.full((60,), only), 2), tmp_path / "run")
    assert set(model.scores(x).argmax(1).tolist()) == {only}


@pytest.mark.parametrize("name", TREES)
def test_a_constant_target_and_constant_columns(name: str, tmp_path: Path) -> None:
    model = fitted(name, numbers(torch.ones(60, 2), torch.full((60,), 7.0)), tmp_path / "run")
    assert torch.allclose(model.predict(torch.zeros(3, 2)), torch.tensor(7.0, dtype=torch.float64), rtol=1e-14)


@pytest.mark.parametrize("name", TREES)
def test_columns_with_a_large_offset_or_unit_are_resolved(name: str, tmp_path: Path) -> None:
    """Seconds since 1970 differ by less than float32 resolves; 1e100 exceeds its range."""
    x = torch.rand(300, 2, generator=seeded(), dtype=torch.float64)
    y = (x[:, 0] > 0.5).long() + 2 * (x[:, 1] > 0.5).long()
    raw = torch.stack([1.7e9 + 60 * x[:, 0], 1e100 * x[:, 1]], dim=1)
    data = classes(raw, y, 4)
    assert data.spec.input.dtype == "float64"
    run = snellen.train(data, model=name, out=tmp_path / "run")
    assert run.metrics["accuracy"].value is not None
    assert run.metrics["accuracy"].value > 0.9
    again = snellen.load(tmp_path / "run", data=data)
    assert again.predict_batch(raw[:9]) == run.predict_batch(raw[:9])


@pytest.mark.parametrize("name", TREES)
def test_rare_classes_are_weighted_where_the_headline_is_balanced(name: str, tmp_path: Path) -> None:
    """With noisy labels; without noise all weights give the same boundary."""
    x, y = table(1200)
    noise = torch.randn(1200, generator=seeded(2), dtype=torch.float64)
    data = classes(x, (y + noise > torch.quantile(y + noise, 0.92)).long(), 2)
    run = snellen.train(data, model=name, out=tmp_path / "run")
    assert run.headline == "balanced accuracy"
    assert run.record.settings["class_weights"] == "balanced"
    plain = snellen.train(data, model=name, class_weights="none", out=tmp_path / "plain")
    rare = [int((r.predictions("test")["scores"].argmax(1) == 1).sum()) for r in (run, plain)]
    assert rare[0] > rare[1]
    assert (run.metrics["balanced accuracy"].value or 0) > (plain.metrics["balanced accuracy"].value or 0)


def test_balanced_probabilities_of_a_forest_are_divided_by_the_class_frequencies(tmp_path: Path) -> None:
    x, y = table()
    data = classes(x, (y > torch.quantile(y, 0.8)).long(), 2)
    plain, balanced = (
        fitted("random-forest", data, tmp_path / value, class_weights=value).scores(x).softmax(1)
        for value in ("none", "balanced")
    )
    expected = plain / torch.bincount(data.truth[data.splits["train"]])
    assert torch.allclose(balanced, expected / expected.sum(1, keepdim=True), atol=1e-5)


@pytest.mark.parametrize("name", TREES)
def test_several_labels_are_rejected(name: str, tmp_path: Path) -> None:
    x = torch.randn(60, 2, generator=seeded())
    with pytest.raises(UsageError, match="one class per sample"):
        snellen.train(labels(x, (x > 0).float()), model=name, out=tmp_path / "run")


@pytest.mark.parametrize("task", ["classify", "regress"])
@pytest.mark.parametrize("name", TREES)
def test_a_time_limit_that_is_too_short_names_the_time_needed(name: str, task: str, tmp_path: Path) -> None:
    x, y = table()
    data = classes(x, (y > 0).long(), 2) if task == "classify" else numbers(x, y)
    count = {"random-forest": "n_estimators", "boosted-trees": "max_iter"}[name]
    with pytest.raises(TooLittleTime, match="10,000") as caught:
        fitted(name, data, tmp_path / "run", seconds=0.01, **{count: 10_000})
    assert caught.value.needed is not None
    assert caught.value.needed > 0.01
    assert not LEARNERS[task][name].stoppable


def test_trees_of_many_rows_are_fitted_to_some_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_ROWS", 50)
    x, y = table()
    data = numbers(x, y)
    small = fitted("random-forest", data, tmp_path / "small", min_samples_leaf=1, n_estimators=5)
    monkeypatch.undo()
    large = fitted("random-forest", data, tmp_path / "large", min_samples_leaf=1, n_estimators=5)
    assert len(small.forest.trees.child) <= 5 * 2 * 50 < len(large.forest.trees.child)


def test_without_a_validation_split_all_iterations_are_used(tmp_path: Path) -> None:
    x, y = table(200)
    data = numbers(x, y)
    data = dataclasses.replace(data, splits={**data.splits, "val": data.splits["val"][:0]})
    assert fitted("boosted-trees", data, tmp_path / "run", max_iter=25).trees.rounds == 25


@pytest.mark.parametrize("name", TREES)
def test_the_cost_counts_nodes_and_comparisons(name: str, tmp_path: Path) -> None:
    x, y = table()
    run = snellen.train(numbers(x, y), model=name, out=tmp_path / "run")
    ensemble = run.model.trees if name == "boosted-trees" else run.model.forest.trees
    cost = snellen.core.file_io.read_json(tmp_path / "run" / "metrics.json")["cost"]
    assert cost["parameters"] == 4 * len(ensemble.child) + 1
    assert cost["multiply_adds"] == ensemble.trees * ensemble.levels > 0
