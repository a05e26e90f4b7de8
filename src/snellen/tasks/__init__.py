"""What can be asked, and every way to answer it. A registry is a dict you can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.task import Task
from snellen.tasks import classify, dense_regress, detect, instances, keypoints, regress, segment

TASKS: dict[str, Task[Any, Any]] = {
    task.name: task
    for task in (
        classify.TASK,
        regress.TASK,
        segment.TASK,
        dense_regress.TASK,
        keypoints.TASK,
        instances.TASK,
        detect.TASK,
    )
}

# Simplest first: the order of the ladder.
LEARNERS: dict[str, dict[str, Learner[Any, Any, Any]]] = {
    "classify": classify.LEARNERS,
    "regress": regress.LEARNERS,
    "segment": segment.LEARNERS,
    "dense-regress": dense_regress.LEARNERS,
    "keypoints": keypoints.LEARNERS,
    "instances": instances.LEARNERS,
    "detect": detect.LEARNERS,
}


def no_plain_module(module: nn.Module) -> Learner[Any, Any, Any]:
    """A detector's losses are its own: there is none that a plain module could be taught by."""
    raise UsageError(
        f"A plain module ({type(module).__name__}) cannot be taught to find objects",
        "Give a Learner whose model has `detect` and whose `fit` has its losses; see CONTRIBUTING.md.",
    )


# What makes a learner of a plain module, and says what the module must return.
FROM_MODULE: dict[str, Callable[[nn.Module], Learner[Any, Any, Any]]] = {
    "classify": classify.from_module.learner,
    "regress": regress.from_module.learner,
    "segment": segment.from_module.learner,
    "dense-regress": dense_regress.from_module.learner,
    "keypoints": no_plain_module,
    "instances": no_plain_module,
    "detect": no_plain_module,
}
