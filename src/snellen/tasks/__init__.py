"""What can be asked, and every way to answer it. A registry is a dict you can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snellen.core.learner import Learner
from snellen.core.task import Task
from snellen.tasks import classify, regress, segment

TASKS: dict[str, Task[Any, Any]] = {task.name: task for task in (classify.TASK, regress.TASK, segment.TASK)}

# Simplest first: the order of the ladder.
LEARNERS: dict[str, dict[str, Learner[Any, Any, Any]]] = {
    "classify": classify.LEARNERS,
    "regress": regress.LEARNERS,
    "segment": segment.LEARNERS,
}

# What makes a learner of a plain module, and says what the module must return.
ADOPT: dict[str, Callable[[nn.Module], Learner[Any, Any, Any]]] = {
    "classify": classify.adopt,
    "regress": regress.adopt,
    "segment": segment.adopt,
}
