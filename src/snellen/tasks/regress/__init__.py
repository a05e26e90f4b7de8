"""Learners of the regression task, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.regress import baseline, from_module, knn, least_squares, mlp, networks, polynomial, rbf, ridge, task

TASK = task.TASK
__all__ = ["LEARNERS", "TASK", "from_module"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (
    baseline.LEARNER,
    least_squares.LEARNER,
    ridge.LEARNER,
    polynomial.LEARNER,
    rbf.LEARNER,
    knn.LEARNER,
    mlp.LEARNER,
    *networks.LEARNERS,
)

LEARNERS = {learner.name: learner for learner in _ORDERED}
