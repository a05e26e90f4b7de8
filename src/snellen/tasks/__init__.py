"""Registries of tasks and learners, as plain dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.task import Task
from snellen.tasks import classify, control, dense_regress, detect, instances, joint, keypoints, regress, segment

TASKS: dict[str, Task[Any, Any]] = {
    task.name: task
    for task in (
        classify.TASK,
        regress.TASK,
        joint.TASK,
        segment.TASK,
        dense_regress.TASK,
        keypoints.TASK,
        instances.TASK,
        detect.TASK,
        control.TASK,
    )
}

# Simplest first: the order of the ladder.
LEARNERS: dict[str, dict[str, Learner[Any, Any, Any]]] = {
    "classify": classify.LEARNERS,
    "regress": regress.LEARNERS,
    "joint": joint.LEARNERS,
    "segment": segment.LEARNERS,
    "dense-regress": dense_regress.LEARNERS,
    "keypoints": keypoints.LEARNERS,
    "instances": instances.LEARNERS,
    "detect": detect.LEARNERS,
    "control": control.LEARNERS,
}


def reject_module(module: nn.Module) -> Learner[Any, Any, Any]:
    """Raise UsageError: a detector brings its own losses, so a plain PyTorch module cannot be trained as one."""
    raise UsageError(
        f"A plain PyTorch module ({type(module).__name__}) cannot be trained as a detector",
        "Give a Learner whose model has `detect` and whose `fit` has its losses; see CONTRIBUTING.md.",
    )


# Factories of learners from a user's PyTorch module; their docstrings state what the module must return.
FROM_MODULE: dict[str, Callable[[nn.Module], Learner[Any, Any, Any]]] = {
    "classify": classify.from_module,
    "regress": regress.from_module,
    "joint": joint.from_module,
    "segment": segment.from_module,
    "dense-regress": dense_regress.from_module,
    "keypoints": reject_module,
    "instances": reject_module,
    "detect": reject_module,
    "control": control.from_module,
}
