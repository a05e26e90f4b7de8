"""Which class is this? Learners, simplest first: one line each."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.classify import baseline, bases, knn, lda, lenet, mlp, own, perceptron, resnet, softmax, svm, task

TASK = task.TASK
adopt = own.adopt

LEARNERS: dict[str, Learner[Any, Any, Any]] = {
    learner.name: learner
    for learner in (
        baseline.LEARNER,
        perceptron.LEARNER,
        lda.LEARNER,
        softmax.LEARNER,
        bases.LEARNER,
        knn.LEARNER,
        svm.LEARNER,
        mlp.LEARNER,
        lenet.LEARNER,
        resnet.LEARNER,
    )
}
