"""Supervised training: every training setting works for classes, labels and numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from raw_datasets import classes, labels, numbers, seeded
from torch import nn

from snellen.api import train
from snellen.core.errors import UsageError
from snellen.data.dataset import Dataset, Labelled
from snellen.training.supervised import MAX_STATISTICS_SAMPLES, default_batch_size, subset

SETTINGS: list[dict[str, Any]] = [
    {"optimizer": "nesterov", "lr": 0.05, "schedule": "cosine", "warmup": 0.1},
    {"optimizer": "rmsprop", "lr": 0.005, "schedule": "step"},
    {"optimizer": "adagrad", "lr": 0.05, "schedule": "constant", "clip_grad": 1.0},
    {"optimizer": "adamw", "weight_decay": 0.01, "ema_decay": 0.9},
    {"optimizer": "momentum", "lr": 0.05, "grad_accum_steps": 2},
    {"lr": None},
    {"patience": 2},
    {"dropout": 0.2, "batch_norm": True, "init": "lecun"},
    {"hidden": (16, 16, 16), "activation": "leaky-relu", "init": "he"},
]


def datasets() -> dict[str, Dataset[Labelled]]:
    x = torch.randn(440, 2, generator=seeded())
    return {
        "classes": classes(x, (x[:, 0] > 0).long(), 2),
        "labels": labels(x, (x > 0).float()),
        "numbers": numbers(x, 30 + 5 * x, names=("a", "b")),
    }


@pytest.mark.learning
@pytest.mark.parametrize("options", SETTINGS, ids=lambda options: ",".join(options))
@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_every_setting_learns_a_simple_problem(
    kind: str, options: dict[str, Any], tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    run = train(datasets()[kind], model="mlp", out=tmp_path / "run", **{"epochs": 30, **options})
    name, min_value = {"classes": ("accuracy", 0.9), "labels": ("average precision", 0.95), "numbers": ("R2", 0.8)}[
        kind
    ]
    assert_score(run.metrics[name].value, above=min_value)


@pytest.mark.learning
@pytest.mark.parametrize("options", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_balancing_moves_the_threshold_towards_the_frequent_class(
    options: dict[str, Any], tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    """One sample in four is of the rare class, which overlaps: the threshold moves from 0.6 + ln 3 / 1.2 to 0.6."""
    from sklearn.linear_model import LogisticRegression

    y = (torch.arange(4000) % 4 == 0).long()
    x = torch.randn(4000, 1, generator=seeded()) + 1.2 * y[:, None]
    data = classes(x, y, 2)
    rare = data.splits["test"][y[data.splits["test"]] == 1]
    recall = []
    for name, balance, weights in (("plain", {}, None), ("balanced", options, "balanced")):
        run = train(data, model="softmax", out=tmp_path / name, **balance)
        recall_rare = float(run.model.scores(x[rare]).argmax(1).double().mean())  # type: ignore[operator]
        oracle = LogisticRegression(C=1e6, class_weight=weights).fit(x[data.splits["train"]], y[data.splits["train"]])
        # The epoch that is best on validation is selected, where accuracy hardly depends on the threshold: up to 0.093.
        assert_score(abs(recall_rare - float(oracle.predict(x[rare]).mean())), below=0.15)
        recall.append(recall_rare)
    assert_score(recall[1] - recall[0], above=0.3)


def test_classify_rejects_a_users_module_with_the_wrong_number_of_outputs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"returns shape \(2, 3\) for 2 samples, not \(2, 2\)"):
        train(datasets()["classes"], model=nn.Linear(2, 3), out=tmp_path / "run")


@pytest.mark.parametrize(("count", "expected"), [(10, 32), (1_999, 32), (2_000, 64), (99_999, 64), (100_000, 128)])
def test_the_default_batch_size_depends_on_the_number_of_samples(count: int, expected: int) -> None:
    assert default_batch_size(count) == expected


def test_statistics_use_samples_spread_evenly_over_the_split() -> None:
    count = 3 * MAX_STATISTICS_SAMPLES
    data = classes(torch.arange(count)[:, None].float(), torch.zeros(count), 1, same=True)
    ids = subset(data.samples("train")).ids
    assert len(ids) == MAX_STATISTICS_SAMPLES
    assert (int(ids[0]), int(ids[-1])) == (0, count - 1)
    assert int(ids.diff().min()) >= 2
    assert int(ids.diff().max()) <= 4
