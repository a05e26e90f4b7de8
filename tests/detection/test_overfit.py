"""`--overfit` of detectors: case detector-overfit. One batch, again and again, without augmentation and validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.core.history import read_history
from snellen.training import network_training

QUICK = RunOptions(device="cpu", report=False, evaluate_test=False)


@pytest.fixture
def few_shapes() -> Any:
    import dataclasses

    data = snellen.dataset("shapes")
    splits = {"train": data.splits["train"][:6], "val": data.splits["val"][:2], "test": data.splits["test"][:2]}
    sizes = {name: len(ids) for name, ids in splits.items()}
    return dataclasses.replace(data, splits=splits, spec=dataclasses.replace(data.spec, sizes=sizes))


def test_the_batch_is_fixed_and_nothing_keeps_the_loss_from_zero(
    few_shapes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def capture(
        model: Any, objective: Any, batches: Any, run: Any, settings: Any, *, validation: Any, **_: Any
    ) -> None:
        seen.update(batches=batches, settings=settings, validation=validation, notes=dict(run.notes))

    monkeypatch.setattr(network_training, "fit_by_gradient", capture)
    snellen.train(
        few_shapes,
        "retinanet",
        task="detect",
        out=tmp_path / "run",
        options=QUICK,
        overfit=True,
        hflip=True,
        batch_size=4,
    )
    settings = seen["settings"]
    assert (settings.weight_decay, settings.patience, settings.ema_decay, settings.schedule) == (
        0,
        None,
        None,
        "constant",
    )
    assert seen["validation"] is None
    assert seen["notes"]["by heart"] == 4
    first, later = (
        sorted(zip(*seen["batches"].at(step), strict=True), key=lambda pair: float(pair[0].double().mean()))
        for step in (0, 7)
    )
    assert len(first) == 4
    for (image, truth), (same_image, same_truth) in zip(first, later, strict=True):
        assert torch.equal(image, same_image)
        assert torch.equal(truth.boxes, same_truth.boxes)


@pytest.mark.slow
@pytest.mark.learning
@pytest.mark.parametrize("model", ["faster-rcnn", "retinanet"])
def test_the_loss_of_the_batch_approaches_zero(
    model: str, few_shapes: Any, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    snellen.train(few_shapes, model, task="detect", out=tmp_path / "run", options=QUICK, overfit=True)
    losses = [row["loss"] for row in read_history(tmp_path / "run" / "history.jsonl") if "loss" in row]
    assert len(losses) == 400
    assert_score(sum(losses[-5:]) / 5 / losses[0], below=0.1)
