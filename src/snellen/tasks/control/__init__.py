"""Learners of the control task, simplest first."""

from __future__ import annotations

from typing import Any

from torch import nn

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.tasks.control import baseline, q_learning, task, value_iteration

TASK = task.TASK
__all__ = ["LEARNERS", "TASK", "from_module"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (baseline.LEARNER, q_learning.LEARNER, value_iteration.LEARNER)

LEARNERS = {learner.name: learner for learner in _ORDERED}


def from_module(module: nn.Module) -> Learner[Any, Any, Any]:
    """Raise UsageError: how a module becomes a policy depends on the method."""
    raise UsageError(
        f"A plain PyTorch module ({type(module).__name__}) cannot be trained as a policy",
        "Give a Learner whose model has `probabilities` and whose `fit` trains it; see CONTRIBUTING.md.",
    )
