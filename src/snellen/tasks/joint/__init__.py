"""Task joint: several targets of each sample. Learners, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.joint import baseline, networks, task

TASK = task.TASK
from_module = networks.from_module
__all__ = ["LEARNERS", "TASK", "from_module"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (baseline.LEARNER, *networks.LEARNERS, networks.FUSION)
LEARNERS = {learner.name: learner for learner in _ORDERED}
