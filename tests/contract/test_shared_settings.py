"""Settings of training that learners share: each reaches the training loop of every learner that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from learners import ALL, data_for

import snellen
from snellen.api import RunOptions
from snellen.core.learner import Learner
from snellen.core.settings import flatten
from snellen.core.several_tensors import SeveralTensors
from snellen.training import network_training

GIVEN: dict[str, Any] = {
    "patience": 3,
    "ema_decay": 0.9,
    "clip_grad": 1.0,
    "grad_accum_steps": 2,
    "precision": "float32",
    "lr": None,
    "batch_size": None,
}
SHOWS_TRAINING = [
    param for param in ALL if "overfit" in {setting.name for setting in flatten(param.values[0].settings)}
]


class LoopReachedError(Exception):
    """The training loop was called."""


def arguments_of_the_loop(
    learner: Learner[Any, Any, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> dict[str, Any]:
    """Train until the training loop is called; its batches, settings and validation data."""
    seen: dict[str, Any] = {}

    def capture(model: Any, objective: Any, batches: Any, run: Any, settings: Any, **keywords: Any) -> None:
        seen.update(batches=batches, settings=settings, validation=keywords["validation"])
        raise LoopReachedError

    monkeypatch.setattr(network_training, "fit_by_gradient", capture)
    with pytest.raises(LoopReachedError):
        snellen.train(data_for(learner), learner, out=folder, options=RunOptions(threads=1, report=False), **settings)
    return seen


def contents(batch: Any) -> list[float]:
    """Means of all images of a batch, sorted: equal for the same samples in another order."""
    x = batch[0].tensors["row"] if isinstance(batch[0], SeveralTensors) else batch[0]
    return sorted(float(image.double().nan_to_num().mean()) for image in x)


@pytest.mark.parametrize("learner", SHOWS_TRAINING)
def test_every_setting_reaches_the_loop(
    learner: Learner[Any, Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: value for name, value in GIVEN.items() if name in {s.name for s in flatten(learner.settings)}}
    assert set(given) == set(GIVEN)
    seen = arguments_of_the_loop(learner, tmp_path / "run", monkeypatch, **given)
    assert {name: getattr(seen["settings"], name) for name in given} == given
    default = {"segment": 8, "dense-regress": 8}.get(learner.task.name, 4 if data_for(learner).annotations else 32)
    assert seen["batches"].size == default
    assert seen["validation"] is not None


@pytest.mark.parametrize("learner", SHOWS_TRAINING)
def test_overfit_repeats_one_batch_without_augmentation_and_validation(
    learner: Learner[Any, Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = arguments_of_the_loop(
        learner, tmp_path / "run", monkeypatch, overfit=True, batch_size=4, weight_decay=0.1, patience=2, ema_decay=0.9
    )
    settings, batches = seen["settings"], seen["batches"]
    assert (settings.weight_decay, settings.schedule, settings.patience, settings.ema_decay) == (
        0,
        "constant",
        None,
        None,
    )
    assert (settings.epochs, len(batches), batches.size) == (400, 1, 4)
    assert seen["validation"] is None
    first = contents(batches.at(0))
    assert len(first) == 4
    assert all(contents(batches.at(step)) == first for step in (1, 17))
