"""Every setting of descent trains, for classes, labels and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from raw_datasets import classes, labels, numbers, seeded
from torch import nn

from snellen.api import train
from snellen.core.errors import UsageError
from snellen.data.dataset import Dataset, Labelled
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import MOST_FOR_STATISTICS, batch_size, some

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


def kinds() -> dict[str, Dataset[Labelled]]:
    x = torch.randn(220, 2, generator=seeded())
    return {
        "classes": classes(x, (x[:, 0] > 0).long(), 2),
        "labels": labels(x, (x > 0).float()),
        "numbers": numbers(x, 30 + 5 * x, names=("a", "b")),
    }


@pytest.mark.parametrize("given", SETTINGS, ids=lambda given: ",".join(given))
@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_every_setting_learns_a_simple_rule(kind: str, given: dict[str, Any], tmp_path: Path) -> None:
    run = train(kinds()[kind], model="mlp", out=tmp_path / "run", **{"epochs": 30, **given})
    name, least = {"classes": ("accuracy", 0.9), "labels": ("average precision", 0.95), "numbers": ("R2", 0.8)}[kind]
    value = run.metrics[name].value
    assert value is not None
    assert value > least


@pytest.mark.parametrize("given", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_balancing_moves_the_threshold_towards_the_frequent_class(given: dict[str, Any], tmp_path: Path) -> None:
    """One in four is rare and overlaps: the best threshold moves from 0.6 + ln 3 / 1.2 to 0.6."""
    from sklearn.linear_model import LogisticRegression

    y = (torch.arange(4000) % 4 == 0).long()
    x = torch.randn(4000, 1, generator=seeded()) + 1.2 * y[:, None]
    data = classes(x, y, 2)
    rare = data.splits["test"][y[data.splits["test"]] == 1]
    recall = []
    for name, weighting, weights in (("plain", {}, None), ("balanced", given, "balanced")):
        run = train(data, model="softmax", out=tmp_path / name, **weighting)
        found = float(run.model.scores(x[rare]).argmax(1).double().mean())  # type: ignore[operator]
        oracle = LogisticRegression(C=1e6, class_weight=weights).fit(x[data.splits["train"]], y[data.splits["train"]])
        assert found == pytest.approx(float(oracle.predict(x[rare]).mean()), abs=0.06)
        recall.append(found)
    assert recall[1] > recall[0] + 0.3


def test_a_module_of_the_users_with_the_wrong_outputs_is_refused_by_classify(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"makes \(2, 3\) of 2 samples, not \(2, 2\)"):
        train(kinds()["classes"], model=nn.Linear(2, 3), out=tmp_path / "run")


@pytest.mark.parametrize(("count", "expected"), [(10, 32), (1_999, 32), (2_000, 64), (99_999, 64), (100_000, 128)])
def test_the_batch_size_suits_the_number_of_samples(count: int, expected: int) -> None:
    assert batch_size(TrainingSettings(), count) == expected
    assert batch_size(TrainingSettings(batch_size=7), count) == 7


def test_statistics_are_taken_from_samples_spread_over_the_split() -> None:
    count = 3 * MOST_FOR_STATISTICS
    data = classes(torch.arange(count)[:, None].float(), torch.zeros(count), 1, same=True)
    chosen = some(data.samples("train")).ids
    assert len(chosen) == MOST_FOR_STATISTICS
    assert (int(chosen[0]), int(chosen[-1])) == (0, count - 1)
    assert int(chosen.diff().min()) >= 2
    assert int(chosen.diff().max()) <= 4
