"""Learners of the regression task, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.regress import (
    baseline,
    boosted_trees,
    dtw,
    knn,
    least_squares,
    mlp,
    networks,
    polynomial,
    random_forest,
    rbf,
    ridge,
    summary_features,
    svr,
    task,
)

TASK = task.TASK
from_module = networks.from_module
__all__ = ["LEARNERS", "TASK", "from_module"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (
    baseline.LEARNER,
    least_squares.LEARNER,
    ridge.LEARNER,
    polynomial.LEARNER,
    rbf.LEARNER,
    summary_features.LEARNER,
    knn.LEARNER,
    dtw.LEARNER,
    svr.LEARNER,
    random_forest.LEARNER,
    boosted_trees.LEARNER,
    mlp.LEARNER,
    *networks.LEARNERS,
    networks.FUSION,
)

LEARNERS = {learner.name: learner for learner in _ORDERED}
