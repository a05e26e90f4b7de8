"""Learners of the clustering task, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.cluster import baseline, gmm, kmeans, pca, task

TASK = task.TASK
__all__ = ["LEARNERS", "TASK"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (baseline.LEARNER, kmeans.LEARNER, pca.LEARNER, gmm.LEARNER)

LEARNERS = {learner.name: learner for learner in _ORDERED}
