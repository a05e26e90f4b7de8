"""Contract of all registered learners, on a small dataset of each task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from learners import ALL, FAMILY, RunOf, data_for, first_inputs, flatten_numbers, trained, weights

import snellen
from snellen.api import RunOptions, unsupported_reason
from snellen.core import file_io
from snellen.core.learner import Learner
from snellen.tasks import LEARNERS

RECURRENT = [one for one in FAMILY if one.id in ("classify-rnn", "classify-lstm")]  # torch's own kernels


@pytest.mark.learning
@pytest.mark.parametrize("learner", ALL)
def test_a_learner_beats_the_baseline(
    learner: Learner[Any, Any, Any], first_run: RunOf, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    run = first_run(learner)
    headline = run.metrics[run.headline]
    assert headline.value is not None
    baseline = snellen.train(
        data_for(learner),
        LEARNERS[learner.task.name]["baseline"],
        out=tmp_path / "same",
        options=RunOptions(threads=1, report=False),
    ).metrics[run.headline]
    assert baseline.value is not None
    gain = headline.value - baseline.value if headline.higher_is_better else baseline.value - headline.value
    if learner.name == "baseline":
        assert gain == 0
    else:
        assert_score(gain, above=0)


@pytest.mark.parametrize("learner", ALL)
def test_a_loaded_run_gives_the_same_predictions(learner: Learner[Any, Any, Any], first_run: RunOf) -> None:
    run = first_run(learner)
    again = snellen.load(run.folder)
    x = first_inputs(learner, 20)
    assert run.predict_batch(x) == again.predict_batch(x)
    assert again.metrics == run.metrics


@pytest.mark.parametrize("learner", ALL)
def test_predictions_do_not_depend_on_the_batch(learner: Learner[Any, Any, Any], first_run: RunOf) -> None:
    run = first_run(learner)
    x = first_inputs(learner, 20)
    batched = run.predict_batch(x)
    single = [run.predict_batch(x[k : k + 1])[0] for k in range(len(x))]
    for left, right in zip(batched, single, strict=True):
        assert flatten_numbers(left) == pytest.approx(flatten_numbers(right), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("learner", ALL + RECURRENT)
def test_the_same_seed_and_resuming_are_bit_identical(
    learner: Learner[Any, Any, Any], brief_run: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learner with steps is stopped and resumed, one without steps is trained again, both with the same seed."""
    uninterrupted = brief_run(learner).folder
    if not (uninterrupted / "state").exists():
        assert not (uninterrupted / "history.jsonl").exists()
        trained(learner, tmp_path / "again", short=True, report=False)
        assert weights(uninterrupted) == weights(tmp_path / "again")
        return
    saves = 0
    write_tensors: Callable[..., str] = file_io.write_tensors

    def stop_at_the_fourth(path: Path, *arguments: Any) -> str:
        nonlocal saves
        saves += path.parent.name == "state"
        if saves == 4:
            raise KeyboardInterrupt
        return write_tensors(path, *arguments)

    monkeypatch.setattr(file_io, "write_tensors", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        trained(learner, tmp_path / "cut", short=True, save_every=0.0)
    monkeypatch.undo()
    torch.set_num_threads(1)
    snellen.resume(tmp_path / "cut", data=data_for(learner), options=RunOptions(threads=1, report=False))
    assert weights(uninterrupted) == weights(tmp_path / "cut")
    assert (uninterrupted / "history.jsonl").read_bytes() == (tmp_path / "cut" / "history.jsonl").read_bytes()


@pytest.mark.parametrize("learner", ALL)
def test_metrics_are_strict_json_with_intervals(learner: Learner[Any, Any, Any], first_run: RunOf) -> None:
    run = first_run(learner)
    plain = json.loads((run.folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    headline = plain["splits"]["test"][run.headline]
    assert headline["low"] <= headline["value"] <= headline["high"]
    for name, metric in plain["splits"]["test"].items():
        if metric["value"] is None:
            assert metric["reason"], name
        elif metric["reason"]:  # of a value: why it has no interval
            assert metric["low"] == metric["high"], name


@pytest.mark.parametrize("learner", FAMILY)
def test_a_network_outside_the_ladder_trains_one_step_and_loads(
    learner: Learner[Any, Any, Any], one_step_run: RunOf
) -> None:
    run, x = one_step_run(learner), first_inputs(learner, 4)
    assert snellen.load(run.folder).predict_batch(x) == run.predict_batch(x)


@pytest.mark.parametrize("learner", ALL + FAMILY)
def test_a_learner_has_a_summary_and_a_source(learner: Learner[Any, Any, Any]) -> None:
    assert learner.summary.endswith(".")
    assert learner.source
    assert LEARNERS[learner.task.name][learner.name] is learner
    assert all(suggestion.reason for suggestion in learner.suggest(data_for(learner).spec).values())
    assert unsupported_reason(learner, data_for(learner).spec) is None
