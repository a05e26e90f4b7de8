"""Learners of the generation task, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.generate import baseline, gaussian, task

TASK = task.TASK
__all__ = ["LEARNERS", "TASK"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (baseline.LEARNER, gaussian.LEARNER)

LEARNERS = {learner.name: learner for learner in _ORDERED}
