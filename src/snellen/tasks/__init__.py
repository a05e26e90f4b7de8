"""Registries of tasks and learners, as plain dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.task import Task
from snellen.tasks import (
    classify,
    cluster,
    control,
    dense_regress,
    detect,
    forecast,
    generate,
    instances,
    joint,
    keypoints,
    regress,
    segment,
)

TASKS: dict[str, Task[Any, Any]] = {
    task.name: task
    for task in (
        classify.TASK,
        regress.TASK,
        forecast.TASK,
        joint.TASK,
        segment.TASK,
        dense_regress.TASK,
        keypoints.TASK,
        instances.TASK,
        detect.TASK,
        control.TASK,
        generate.TASK,  # after the others: it fits all data, and is the default of data without a target
        cluster.TASK,
    )
}

# Simplest first: the order of the ladder.
LEARNERS: dict[str, dict[str, Learner[Any, Any, Any]]] = {
    "classify": classify.LEARNERS,
    "regress": regress.LEARNERS,
    "forecast": forecast.LEARNERS,
    "joint": joint.LEARNERS,
    "segment": segment.LEARNERS,
    "dense-regress": dense_regress.LEARNERS,
    "keypoints": keypoints.LEARNERS,
    "instances": instances.LEARNERS,
    "detect": detect.LEARNERS,
    "control": control.LEARNERS,
    "generate": generate.LEARNERS,
    "cluster": cluster.LEARNERS,
}


def rejects(kind: str, needs: str) -> Callable[[nn.Module], Learner[Any, Any, Any]]:
    """A factory that raises UsageError: a plain PyTorch module has not what the models of the task need."""

    def reject(module: nn.Module) -> Learner[Any, Any, Any]:
        raise UsageError(
            f"A plain PyTorch module ({type(module).__name__}) cannot be trained as {kind}",
            f"Give a Learner whose model has {needs}; see CONTRIBUTING.md.",
        )

    return reject


reject_module = rejects("a detector", "`detect` and whose `fit` has its losses")

# Factories of learners from a user's PyTorch module; their docstrings state what the module must return.
FROM_MODULE: dict[str, Callable[[nn.Module], Learner[Any, Any, Any]]] = {
    "classify": classify.from_module,
    "regress": regress.from_module,
    "forecast": forecast.from_module,
    "joint": joint.from_module,
    "segment": segment.from_module,
    "dense-regress": dense_regress.from_module,
    "keypoints": reject_module,
    "instances": reject_module,
    "detect": reject_module,
    "control": control.from_module,
    "generate": rejects("a generator", "`sample` and `log_density`, and a `fit`"),
    "cluster": rejects("a clustering", "`assign` and the other methods of the task, and a `fit`"),
}
