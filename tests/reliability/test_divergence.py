"""R8 and R15: NaN stops a run with its step and batch and is never kept or scored; memory that runs out is measured."""

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

EVERY = RunOptions(save_every=0, threads=1)
SELDOM = RunOptions(save_every=30, threads=1)


def nan_at(step: int) -> Any:
    """A loss that is NaN in its `step`-th call."""
    calls = iter(range(1_000_000))

    def loss(scores: Tensor, y: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(scores, y)
        return value * float("nan") if next(calls) == step else value

    return loss


def is_whole(folder: Path) -> dict[str, Any]:
    """The saved state, all of whose weights are finite."""
    found = read_state(folder / "state")
    assert found is not None
    assert all(bool(torch.isfinite(t).all()) for t in found[1].kept["model"].values())
    return {"done": found[1].done["train"], "kept": found[1].kept}


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
            options=EVERY,
            batch_size=10,
            epochs=3,
            grad_accum_steps=accumulate,
        )
    assert caught.value.exit_code == 5
    assert "loss became nan at step 7 of 'train'" in caught.value.cause
    assert str(folder / "state") in caught.value.remedy
    batches = Batches(data.samples("train"), 10, 0)
    for part in range(accumulate):
        assert batches.names(7 * accumulate + part) in caught.value.cause
    assert is_whole(folder)["done"] == 7
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(7))
    assert not (folder / "model.safetensors").exists()
    assert not (folder / "metrics.json").exists()
    with pytest.raises(DataError, match="no trained model yet"):
        api.load(folder)


def test_the_state_before_nan_is_that_of_a_run_without_it(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    how = {"options": EVERY, "batch_size": 10, "epochs": 1}
    with pytest.raises(Diverged):
        api.train(pictures(), "softmax", out=bad, loss=nan_at(5), **how)  # type: ignore[arg-type]
    with pytest.raises(Diverged):
        api.train(pictures(), "softmax", out=good, loss=nan_at(6), **how)  # type: ignore[arg-type]
    (good / "state" / "00000006.safetensors").unlink()  # so that the state before it is taken
    ours, theirs = is_whole(bad), is_whole(good)
    assert ours["done"] == theirs["done"] == 5
    for name, tensor in ours["kept"]["model"].items():
        assert torch.equal(tensor, theirs["kept"]["model"][name])
    again = Run(bad, resume=True)
    model = nn.Linear(1, 1)
    with pytest.raises(DataError, match="does not fit"):
        again.keep(model=model)


def test_nan_that_is_seen_late_is_dated_right(tmp_path: Path) -> None:
    """Rows are read back in blocks: the step named is that of the first bad row, and nothing was saved after it."""
    with pytest.raises(Diverged, match="loss became nan at step 3 of 'train'") as caught:
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=nan_at(3), options=SELDOM, batch_size=10)
    assert "none was saved yet" in caught.value.remedy
    assert not (tmp_path / "run" / "state" / "manifest.json").exists()


def test_a_rate_that_is_far_too_high_diverges(tmp_path: Path) -> None:
    with pytest.raises(Diverged) as caught:
        api.train(
            pictures(),
            "mlp",
            out=tmp_path / "run",
            options=EVERY,
            optimizer="sgd",
            lr=1e30,
            epochs=3,
            schedule="constant",
        )
    assert "bar" in caught.value.cause
    assert "smaller --lr" in caught.value.remedy
    if (tmp_path / "run" / "state" / "manifest.json").exists():
        is_whole(tmp_path / "run")


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The loss of the step is finite; what it made of the weights is not."""
    run = Run(tmp_path, save_every=0)
    model = nn.Linear(2, 1)
    run.keep(model=model)

    def learn() -> None:
        for step in run.steps(5, about=lambda step: f"sample {step}"):
            run.log(loss=1.0)
            if step == 3:
                model.weight.data[0, 0] = float("inf")

    with pytest.raises(Diverged, match=r"A weight of 'model' became NaN or infinite at step 3 of 'train'.*sample 3"):
        learn()
    assert is_whole(tmp_path)["done"] == 3


def test_a_score_that_is_not_finite_is_an_error_not_a_metric(tmp_path: Path) -> None:
    trained = FAMILIES["own loop"].train(tmp_path / "run")
    assert isinstance(trained.model, nn.Module)
    for parameter in trained.model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(Diverged, match="scores are not finite, first that of bar"):
        trained.evaluate(split="val")
    with pytest.raises(Diverged):
        trained.ask(torch.zeros(1, 1, 12, 12, dtype=torch.uint8))


def test_metrics_hold_no_nan_and_say_why_one_is_undefined(tmp_path: Path) -> None:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} in a file")

    FAMILIES["perceptron"].train(tmp_path / "run")
    text = (tmp_path / "run" / "metrics.json").read_text()
    plain = json.loads(text, parse_constant=refuse)
    for split in plain["splits"].values():
        assert split["log loss"]["value"] is None
        assert split["log loss"]["reason"] == "this model gives no probabilities"
        for metric in split.values():
            assert metric["value"] is not None or metric["reason"]
    with pytest.raises(ValueError, match="no place in strict JSON"):
        to_plain(Metric(value=float("nan")))


@pytest.mark.parametrize(("limit", "says"), [(1, "1"), (13, "13"), (31, "31"), (0, "")])
def test_memory_that_runs_out_names_the_largest_batch_that_fits(limit: int, says: str, tmp_path: Path) -> None:
    def loss(scores: Tensor, y: Tensor) -> Tensor:
        if len(y) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return nn.functional.cross_entropy(scores, y)

    with pytest.raises(EnvironmentProblem) as caught:
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SELDOM, batch_size=32)
    assert caught.value.exit_code == 4
    assert caught.value.cause == "Memory ran out in a training step with 32 samples a batch"
    expected = f"Take --batch-size {says}: the largest that fits." if says else "Take a smaller model or --image-size."
    assert caught.value.remedy == expected


def test_memory_that_runs_out_while_the_rate_is_sought(tmp_path: Path) -> None:
    def loss(scores: Tensor, y: Tensor) -> Tensor:
        if len(y) > 10:
            raise MemoryError
        return nn.functional.cross_entropy(scores, y)

    with pytest.raises(EnvironmentProblem, match="Take --batch-size 10"):
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SELDOM, batch_size=32, lr=None)


def test_what_the_failed_step_held_is_free_when_the_batch_is_sought(tmp_path: Path) -> None:
    """Else the memory it fills would make the answer too small."""
    held: list[bool] = []
    seen: list[weakref.ref[Tensor]] = []

    def loss(scores: Tensor, y: Tensor) -> Tensor:
        if seen:
            held.append(seen[0]() is not None)
            return nn.functional.cross_entropy(scores, y)
        large = scores * 2
        seen.append(weakref.ref(large))
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(EnvironmentProblem, match="Memory ran out beside the training step"):
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SELDOM, batch_size=32)
    assert held == [False]


def test_other_errors_keep_their_traceback(tmp_path: Path) -> None:
    def loss(scores: Tensor, y: Tensor) -> Tensor:
        raise ZeroDivisionError("a bug of the user's")

    with pytest.raises(ZeroDivisionError, match="a bug of the user's"):
        api.train(pictures(), "softmax", out=tmp_path / "run", loss=loss, options=SELDOM)
