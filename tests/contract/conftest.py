"""Runs of each learner that the contract tests share."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from learners import SCENES, RunOf, data_for, settings_for, trained

import snellen
from snellen.api import RunOptions
from snellen.tasks import LEARNERS


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, training_seed: int) -> RunOf:
    """First run of each learner, shared by several tests."""

    @functools.cache
    def once(task: str, name: str) -> snellen.TrainedRun:
        folder = tmp_path_factory.mktemp("contract") / f"{task}-{name}"
        return trained(LEARNERS[task][name], folder, report=training_seed == 0)

    return lambda learner: once(learner.task.name, learner.name)


@pytest.fixture(scope="session")
def brief_run(first_run: RunOf, tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """Short run of each learner, for comparison of bits; the first run where that is short."""

    @functools.cache
    def once(task: str, name: str) -> snellen.TrainedRun:
        learner = LEARNERS[task][name]
        if learner.task.name not in SCENES or settings_for(learner).get("epochs", 0) <= 2:
            return first_run(learner)
        return trained(learner, tmp_path_factory.mktemp("brief") / f"{task}-{name}", short=True, report=False)

    return lambda learner: once(learner.task.name, learner.name)


@pytest.fixture(scope="session")
def one_step_run(tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """Run of one step on eight samples, for networks outside the default ladder."""

    @functools.cache
    def once(task: str, name: str) -> snellen.TrainedRun:
        learner = LEARNERS[task][name]
        data = data_for(learner)
        small = dataclasses.replace(data, splits={name: ids[:8] for name, ids in data.splits.items()})
        options, out = RunOptions(threads=1, report=False), tmp_path_factory.mktemp("step") / f"{task}-{name}"
        return snellen.train(small, learner, out=out, options=options, epochs=1, batch_size=8, lr=1e-3)

    return lambda learner: once(learner.task.name, learner.name)
