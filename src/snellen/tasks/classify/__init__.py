"""Learners of the classification task, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.classify import (
    baseline,
    boosted_trees,
    dtw,
    knn,
    lda,
    mfcc_svm,
    mlp,
    networks,
    perceptron,
    probe,
    random_forest,
    rbf,
    softmax,
    summary_features,
    svm,
    task,
)

TASK = task.TASK
from_module = networks.from_module
__all__ = ["LEARNERS", "TASK", "from_module"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (
    baseline.LEARNER,
    perceptron.LEARNER,
    lda.LEARNER,
    softmax.LEARNER,
    rbf.LEARNER,
    summary_features.LEARNER,
    knn.LEARNER,
    dtw.LEARNER,
    svm.LEARNER,
    mfcc_svm.LEARNER,
    random_forest.LEARNER,
    boosted_trees.LEARNER,
    mlp.LEARNER,
    *networks.LEARNERS,
    networks.FUSION,
    probe.LEARNER,
)

LEARNERS = {learner.name: learner for learner in _ORDERED}
