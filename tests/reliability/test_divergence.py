"""R8 and R15: NaN stops a run, names step and batch, and is never saved or scored; out of memory gives a batch size."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, pictures
from torch import Tensor, nn

from snellen import api
from snellen.api import RunOptions
from snellen.core.checkpoint import read_state
from snellen.core.errors import DataError, Diverged, EnvironmentProblem
from snellen.core.run import Run
from snellen.core.serialization import to_plain
from snellen.core.views import Metric
from snellen.data.batches import Batches

SAVE_EVERY_STEP = RunOptions(save_every=0, threads=1)
SAVE_SELDOM = RunOptions(save_every=30, threads=1)


def nan_at(step: int) -> Any:
    """Loss that is NaN in its `step`-th call."""
    calls = iter(range(1_000_000))

    def loss(scores: Tensor, y: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(scores, y)
        return value * float("nan") if next(calls) == step else value

    return loss


def finite_state(folder: Path) -> dict[str, Any]:
    """Saved state, after a check that all weights are finite."""
    saved = read_state(folder / "state")
    assert saved is not None
    assert all(bool(torch.isfinite(t).all()) for t in saved[1].kept["model"].values())
    return {"done": saved[1].done["train"], "kept": saved[1].kept}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_nan_is_reported_with_its_step_and_batch(accumulate: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    data = pictures()
    with pytest.raises(Diverged) as caught:
        api.train(
            data,
            "softmax",
            out=folder,
            loss=nan_at(7 * accumulate),
            options=SAVE_EVERY_STEP,
            batch_size=10,
            epochs=3,
            grad_accum_steps=accumulate,
        )
    assert caught.value.exit_code == 5
    assert "loss became nan at step 7 of the training loop 'train'" in caught.value.cause
    assert str(folder / "state") in caught.value.remedy
    batches = Batches(data.samples("train"), 10, 0)
    for part in range(accumulate):
        assert batches.names(7 * accumulate + part) in caught.value.cause
    assert finite_state(folder)["done"] == 7
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(7))
    assert not (folder / "model.safetensors").exists()
    assert not (folder / "metrics.json").exists()
    with pytest.raises(DataError, match="no trained model yet"):
        api.load(folder)


def test_the_state_before_nan_equals_that_of_a_run_without_nan(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    settings = {"options": SAVE_EVERY_STEP, "batch_size": 10, "epochs": 1}
    with pytest.raises(Diverged):
        api.train(pictures(), "softmax", out=bad, loss=nan_at(5), **settings)  # type: ignore[arg-type]
    with pytest.raises(Diverged):
        api.train(pictures(), "softmax", out=good, loss=nan_at(6), **settings)  # type: ignore[arg-type]
    (good / "state" / "00000006.safetensors").unlink()  # so that the previous state is read
    ours, theirs = finite_state(bad), finite_state(good)
    assert ours["done"] == theirs["done"] == 5
    for name, tensor in ours["kept"]["model"].items():
        assert torch.equal(tensor, theirs["kept"]["model"][name])
    again = Run(bad, resume=True)
    model = nn.Linear(1, 1)
    with pytest.raises(DataError, match="does not fit"):
        again.keep(model=model)


def test_nan_that_is_detected_late_names_its_step(tmp_path: Path) -> None:
    """Rows are read back in blocks: the error names the first bad row, and no checkpoint follows it."""
    with pytest.raises(Diverged, match="loss became nan at step 3 of the training loop 'train'") as caught:
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=nan_at(3), options=SAVE_SELDOM, batch_size=10)
    assert "no checkpoint was saved" in caught.value.remedy
    assert not (tmp_path / "run" / "state" / "manifest.json").exists()


def test_a_far_too_high_learning_rate_diverges(tmp_path: Path) -> None:
    with pytest.raises(Diverged) as caught:
        api.train(
            pictures(),
            "mlp",
            out=tmp_path / "run",
            options=SAVE_EVERY_STEP,
            optimizer="sgd",
            lr=1e30,
            epochs=3,
            schedule="constant",
        )
    assert "bar" in caught.value.cause
    assert "smaller --lr" in caught.value.remedy
    if (tmp_path / "run" / "state" / "manifest.json").exists():
        finite_state(tmp_path / "run")


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The loss of the step is finite, the updated weight is not."""
    run = Run(tmp_path, save_every=0)
    model = nn.Linear(2, 1)
    run.keep(model=model)

    def fit() -> None:
        for step in run.steps(5, describe=lambda step: f"sample {step}"):
            run.log(loss=1.0)
            if step == 3:
                model.weight.data[0, 0] = float("inf")

    with pytest.raises(Diverged, match=r"A weight of 'model' became NaN or infinite at step 3 of .* 'train'.*sample 3"):
        fit()
    assert finite_state(tmp_path)["done"] == 3


def test_non_finite_scores_are_an_error_not_a_metric(tmp_path: Path) -> None:
    trained = FAMILIES["own loop"].train(tmp_path / "run")
    assert isinstance(trained.model, nn.Module)
    for parameter in trained.model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(Diverged, match="predictions are NaN or infinite, first: bar"):
        trained.evaluate(split="val")
    with pytest.raises(Diverged):
        trained.predict_batch(torch.zeros(1, 1, 12, 12, dtype=torch.uint8))


def test_metrics_hold_no_nan_and_give_the_reason_for_undefined_ones(tmp_path: Path) -> None:
    def fail(name: str) -> float:
        raise AssertionError(f"{name} in a file")

    FAMILIES["perceptron"].train(tmp_path / "run")
    text = (tmp_path / "run" / "metrics.json").read_text()
    plain = json.loads(text, parse_constant=fail)
    for split in plain["splits"].values():
        assert split["log loss"]["value"] is None
        assert split["log loss"]["reason"] == "the model has no probabilities"
        for metric in split.values():
            assert metric["value"] is not None or metric["reason"]
    with pytest.raises(ValueError, match="strict JSON has no"):
        to_plain(Metric(value=float("nan")))


@pytest.mark.parametrize(("limit", "largest"), [(1, "1"), (13, "13"), (31, "31"), (0, "")])
def test_out_of_memory_names_the_largest_batch_that_fits(limit: int, largest: str, tmp_path: Path) -> None:
    def loss(scores: Tensor, y: Tensor) -> Tensor:
        if len(y) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return nn.functional.cross_entropy(scores, y)

    with pytest.raises(EnvironmentProblem) as caught:
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SAVE_SELDOM, batch_size=32)
    assert caught.value.exit_code == 4
    assert caught.value.cause == "Memory ran out in a training step with 32 samples per batch"
    expected = (
        f"Use --batch-size {largest}: the largest that fits."
        if largest
        else "Use a smaller model or a smaller --image-size."
    )
    assert caught.value.remedy == expected


def test_out_of_memory_in_the_learning_rate_search(tmp_path: Path) -> None:
    def loss(scores: Tensor, y: Tensor) -> Tensor:
        if len(y) > 10:
            raise MemoryError
        return nn.functional.cross_entropy(scores, y)

    with pytest.raises(EnvironmentProblem, match="Use --batch-size 10"):
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SAVE_SELDOM, batch_size=32, lr=None)


def test_memory_of_the_failed_step_is_free_in_the_batch_size_search(tmp_path: Path) -> None:
    """Otherwise the batch size would be too small."""
    still_held: list[bool] = []
    references: list[weakref.ref[Tensor]] = []

    def loss(scores: Tensor, y: Tensor) -> Tensor:
        if references:
            still_held.append(references[0]() is not None)
            return nn.functional.cross_entropy(scores, y)
        large = scores * 2
        references.append(weakref.ref(large))
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(EnvironmentProblem, match="Memory ran out outside the training step"):
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SAVE_SELDOM, batch_size=32)
    assert still_held == [False]


def test_other_errors_keep_their_traceback(tmp_path: Path) -> None:
    def loss(scores: Tensor, y: Tensor) -> Tensor:
        raise ZeroDivisionError("a bug in the custom loss")

    with pytest.raises(ZeroDivisionError, match="a bug in the custom loss"):
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SAVE_SELDOM)
