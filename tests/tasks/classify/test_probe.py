"""Probe: the penalty chosen on the validation split, classes without a sample, the time limit."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from raw_datasets import classes, seeded
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from snellen.core.errors import TooLittleTime
from snellen.core.run import Run
from snellen.core.settings import make
from snellen.tasks.classify.probe import (
    INVERSE_PENALTIES,
    LEARNER,
    TRIAL_IMAGES,
    FeatureExtractor,
    LinearProbe,
    ProbeSettings,
    check_time,
    fit_logistic_regression,
)

WIDTH, KINDS = 30, 4


class Features(nn.Module):
    """Features of a given width that are the inputs."""

    width = WIDTH

    def forward(self, x: Tensor) -> Tensor:
        return x


def split(count: int, seed: int, kinds: int = KINDS) -> tuple[Tensor, Tensor]:
    """Overlapping clusters at random centres, (count, WIDTH), and their classes."""
    y = torch.arange(count) % kinds
    centres = torch.randn(KINDS, WIDTH, generator=seeded(7))
    return 2 * torch.randn(count, WIDTH, generator=seeded(seed)) + centres[y] + 5, y


def fitted(train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], folder: Path, **given: Any) -> Any:
    probe, run = LinearProbe(cast(FeatureExtractor, Features()), KINDS), Run(folder)
    fit_logistic_regression(make(ProbeSettings, given), probe, train, validation, run)
    return probe, run.notes["strength"]


def test_the_penalty_has_the_lowest_log_loss_on_the_validation_split(tmp_path: Path) -> None:
    train, validation = split(60, 1), split(400, 2)
    probe, chosen = fitted(train, validation, tmp_path)
    mean, std = train[0].double().mean(0), train[0].double().std(0, correction=0)
    x, validation_x = (((part - mean) / std).numpy() for part in (train[0].double(), validation[0].double()))
    losses = {}
    for penalty in INVERSE_PENALTIES:
        probabilities = LogisticRegression(C=penalty, max_iter=1000).fit(x, train[1]).predict_proba(validation_x)
        losses[penalty] = -np.log(probabilities[np.arange(400), validation[1].numpy()]).mean()
    assert chosen == min(losses, key=lambda penalty: losses[penalty])
    assert min(INVERSE_PENALTIES) < chosen < max(INVERSE_PENALTIES)  # else the grid would be too narrow
    scores = probe.scores(validation[0]).detach().double().log_softmax(1)
    loss = float(nn.functional.nll_loss(scores, validation[1]))
    assert loss == pytest.approx(losses[chosen], rel=1e-4)


def test_a_typed_penalty_is_used(tmp_path: Path) -> None:
    assert fitted(split(60, 1), split(40, 2), tmp_path, C=0.5)[1] == 0.5


def test_a_class_without_a_training_sample_is_never_predicted_and_not_validated(tmp_path: Path) -> None:
    train, validation = split(60, 1, kinds=3), split(40, 2)
    probe, chosen = fitted(train, validation, tmp_path)
    assert set(probe.scores(validation[0]).argmax(1).tolist()) == {0, 1, 2}
    known = validation[1] < 3
    assert chosen == fitted(train, (validation[0][known], validation[1][known]), tmp_path)[1]


def test_features_that_take_longer_than_the_time_limit_are_not_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = classes(torch.zeros(100, 3, 8, 8, dtype=torch.uint8), torch.arange(100) % 2, 2)
    count = len(data.splits["train"]) + len(data.splits["val"])
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)

    def features(x: Tensor) -> Tensor:  # 0.1 s an image
        clock.now += 0.1 * len(x)
        return x

    encoder = cast(FeatureExtractor, features)
    messages: list[str] = []
    unlimited: Any = SimpleNamespace(seconds_left=None, device="cpu", message=messages.append)
    check_time(encoder, data, unlimited)
    assert clock.now == 0  # few images
    many = classes(torch.zeros(400, 3, 8, 8, dtype=torch.uint8), torch.arange(400) % 2, 2)
    check_time(encoder, many, unlimited)
    assert messages == ["The features of 340 images take about 34 s."]
    clock.now = 0.0
    trial = 0.1 * (1 + TRIAL_IMAGES)
    check_time(encoder, data, Run(tmp_path, seconds=0.1 * count + trial + 0.1))
    assert clock.now == pytest.approx(trial)
    with pytest.raises(TooLittleTime, match=f"The features of {count} images take {0.1 * count:.0f} s"):
        check_time(encoder, data, Run(tmp_path, seconds=0.1 * count + trial - 0.1))


def test_the_image_size_is_suggested_for_the_published_weights_of_the_default_encoder_only() -> None:
    suggestion = LEARNER.suggest(classes(torch.zeros(30, 3, 70, 70, dtype=torch.uint8), torch.arange(30) % 2, 2).spec)
    condition = suggestion["image_size"].condition
    assert suggestion["image_size"].value == 160
    assert condition({})
    assert condition({"encoder": "efficientnet-lite0", "pretrained": "published"})
    assert not condition({"encoder": "resnet18"})
    assert not condition({"pretrained": "runs/efficientnet-lite0-photos-1"})
