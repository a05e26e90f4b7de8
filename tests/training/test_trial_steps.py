"""Trial steps: the number of threads is tried without a trace in the result, stored, and reused by a resumed run."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from raw_datasets import classes, seeded
from torch import Tensor, nn

from snellen.api import RunOptions, model_building, prepare, resume, train
from snellen.core import cpu_threads, file_io
from snellen.core.model_state import pack
from snellen.core.record import read_record
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks import LEARNERS
from snellen.training import trial_steps
from snellen.training.optimizers import optimizer

ONE_SAMPLE: dict[str, Any] = {"batch_size": 1, "epochs": 4}  # 252 steps: long enough for a trial
SMALL_NETWORK = model_building.SMALL_NETWORK
QUIET = RunOptions(report=False)


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads on any machine, in name only: under load they are slow. A trial for small networks too."""
    threads = [2]
    monkeypatch.setattr(cpu_threads.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: threads.__setitem__(0, count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[0])
    monkeypatch.setattr(model_building, "SMALL_NETWORK", 0)


@pytest.fixture
def steps_take(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], list[int]]:
    """Set the seconds that a trial measures for a step with one and with two threads; returns the steps' threads."""

    def patch(one: float, two: float) -> list[int]:
        clock, steps = SimpleNamespace(now=0.0, running=False), list[int]()

        def perf_counter() -> float:
            if clock.running:  # the end of a step
                count = torch.get_num_threads()
                steps.append(count)
                clock.now += one if count == 1 else two
            clock.running = not clock.running
            return float(clock.now)

        fake = SimpleNamespace(perf_counter=perf_counter, monotonic=time.monotonic)
        monkeypatch.setattr(trial_steps, "time", fake)
        return steps

    return patch


def images() -> Dataset[Labelled]:
    """63 training images of 16x16 pixels."""
    y = torch.arange(90) % 2
    x = torch.randint(0, 100, (90, 3, 16, 16), generator=seeded(), dtype=torch.uint8)
    x[y == 1, :, :8] += 100
    return classes(x, y, 2)


def train_model(model: str, folder: Path, threads: int | None = None, **settings: Any) -> bytes:
    """Train; returns the bytes of the weights and of the history."""
    options = dataclasses.replace(QUIET, threads=threads)
    if model == "mlp":
        settings = {"hidden": (4,), **settings}
    train(images(), model, out=folder, options=options, **{**ONE_SAMPLE, **settings})
    return (folder / "model.safetensors").read_bytes() + (folder / "history.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("model", "settings", "two", "chosen"),
    [
        ("mlp", {}, 0.8, 2),
        ("mlp", {"optimizer": "adagrad"}, 0.95, 1),
        ("mlp", {"lr": None, "ema_decay": 0.9}, 0.8, 2),
        ("convnet", {}, 15.0, 1),  # it has batch normalisation
    ],
)
def test_a_trial_leaves_no_trace_in_the_result(
    model: str,
    settings: dict[str, Any],
    two: float,
    chosen: int,
    tmp_path: Path,
    steps_take: Callable[[float, float], list[int]],
) -> None:
    steps = steps_take(1.0, two)
    tried = train_model(model, tmp_path / "tried", **settings)
    assert steps[:4] == [1, 2, 1, 2]
    assert len(steps) <= 0.02 * 252
    record = read_record(tmp_path / "tried")
    assert (record.threads, record.threads_on_trial) == (chosen, False)
    assert torch.get_num_threads() == 2
    steps.clear()
    assert train_model(model, tmp_path / "given", threads=chosen, **settings) == tried
    assert not steps


def test_the_first_round_is_a_warm_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step with two threads takes 50 s, the others less than with one thread."""
    clock = SimpleNamespace(now=0.0, steps=0)

    def update(step: int) -> Tensor:
        clock.steps += 1
        clock.now += 50.0 if clock.steps == 2 else {1: 1.0, 2: 0.8}[torch.get_num_threads()]
        return torch.zeros(())

    fake = SimpleNamespace(perf_counter=lambda: clock.now, monotonic=lambda: 0.0)
    monkeypatch.setattr(trial_steps, "time", fake)
    chosen: list[int] = []
    run: Any = SimpleNamespace(max_threads=2, seconds=None, seconds_left=None, seed=0, set_threads=chosen.append)
    model = nn.Linear(2, 1)
    trial_steps.choose_threads(1000, update, model, torch.optim.SGD(model.parameters(), 0.1), run)
    assert chosen == [2]


def test_a_short_training_has_no_trial(tmp_path: Path, steps_take: Callable[[float, float], list[int]]) -> None:
    steps = steps_take(1.0, 15.0)
    train_model("mlp", tmp_path / "run", epochs=3)
    assert not steps
    assert read_record(tmp_path / "run").threads == 2


def test_a_small_network_has_one_thread_without_a_trial(
    tmp_path: Path, steps_take: Callable[[float, float], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_building, "SMALL_NETWORK", SMALL_NETWORK)
    steps = steps_take(1.0, 0.5)
    run = train("digits", "softmax", out=tmp_path / "run", options=QUIET, epochs=10)
    assert not steps
    assert (run.record.threads, run.record.threads_on_trial) == (1, False)


def test_a_resumed_run_has_the_threads_of_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_take: Callable[[float, float], list[int]]
) -> None:
    steps_take(1.0, 15.0)
    uninterrupted = train_model("mlp", tmp_path / "whole")
    saves = 0
    write_tensors: Callable[..., str] = file_io.write_tensors

    def stop_at_the_second(path: Path, *arguments: Any) -> str:
        nonlocal saves
        saves += path.parent.name == "state"
        if saves == 2:
            raise KeyboardInterrupt
        return write_tensors(path, *arguments)

    learner, data = LEARNERS["classify"]["mlp"], images()
    folder = prepare(data, learner, {"hidden": (4,), **ONE_SAMPLE}, out=tmp_path / "cut", options=QUIET)
    assert read_record(folder).threads_on_trial
    monkeypatch.setattr(file_io, "write_tensors", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        resume(folder, data=data, options=dataclasses.replace(QUIET, save_every=0))
    monkeypatch.setattr(file_io, "write_tensors", write_tensors)
    assert (read_record(folder).threads, read_record(folder).threads_on_trial) == (1, False)
    steps = steps_take(1.0, 0.1)
    resume(folder, data=data, options=QUIET)
    assert not steps
    assert (folder / "model.safetensors").read_bytes() + (folder / "history.jsonl").read_bytes() == uninterrupted


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adagrad", "rmsprop", "adam", "adamw"])
def test_trial_steps_restore_weights_buffers_and_optimizer(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).eval()
    rule = optimizer(name, model, 0.1, 0.9, 1e-4)
    rows = torch.randn(5, 1, 4, 4)

    def step() -> None:
        model.train()
        rule.zero_grad()
        model(rows).square().sum().backward()
        rule.step()

    step()
    model.eval()
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(rule.state_dict())
    with trial_steps.trial_steps(model, rule):
        for _ in range(3):
            step()
        assert not torch.equal(model[0].weight, before["0.weight"])
    assert not model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert pack(rule.state_dict())[1] == pack(state)[1]
    restored, expected = (pack(s)[0] for s in (rule.state_dict(), state))
    assert all(torch.equal(tensor, expected[key]) for key, tensor in restored.items())


def test_adagrad_trains_within_a_time_limit(tmp_path: Path) -> None:
    options = dataclasses.replace(QUIET, seconds=60.0)
    run = train("moons", "softmax", out=tmp_path / "run", options=options, optimizer="adagrad", epochs=2)
    assert run.metrics["accuracy"].value is not None


@pytest.mark.parametrize(
    ("planned", "seconds", "text", "steps"),
    [
        (1000, 0.05, "1,000 steps take about 50 s, ", 6),
        (1000, 6.0, "1,000 steps take about 100 min, ", 6),
        (100, 6.0, "100 steps take about 10 min, ", 3),
        (40, 1.0, "40 steps take at most about 80 s, ", 1),
        (1000, 0.009, "", 1),
        (1000, 0.011, "", 6),
    ],
)
def test_the_time_of_a_long_training_is_printed_before_it_begins(
    planned: int, seconds: float, text: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step takes twice the time of the others."""
    messages, now = list[str](), 0.0

    def update(step: int) -> Tensor:
        nonlocal now
        updates.append(step)
        now += seconds * (1 if len(updates) > 1 else 2)
        with torch.no_grad():
            model.weight.add_(1.0)
        return torch.zeros(())

    updates = list[int]()
    model = nn.Linear(2, 1)
    weight = model.weight.detach().clone()
    rule = torch.optim.SGD(model.parameters(), 0.1)
    monkeypatch.setattr(trial_steps, "time", SimpleNamespace(monotonic=lambda: now))
    run: Any = SimpleNamespace(seconds=None, seed=0, message=messages.append)
    trial_steps.print_expected_time(planned, update, model, rule, run)
    assert len(updates) == steps
    assert len(messages) == bool(text)
    assert text in "".join(messages)
    assert torch.equal(model.weight, weight)
    limited: Any = SimpleNamespace(seconds=100.0, seed=0, message=pytest.fail)
    trial_steps.print_expected_time(planned, update, model, rule, limited)
    assert len(updates) == steps
