"""How much? Learners, simplest first: one line each."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.regress import (
    baseline,
    bases,
    knn,
    least_squares,
    lenet,
    mlp,
    own,
    polynomial,
    resnet,
    ridge,
    task,
)

TASK = task.TASK
adopt = own.adopt

LEARNERS: dict[str, Learner[Any, Any, Any]] = {
    learner.name: learner
    for learner in (
        baseline.LEARNER,
        least_squares.LEARNER,
        ridge.LEARNER,
        polynomial.LEARNER,
        bases.LEARNER,
        knn.LEARNER,
        mlp.LEARNER,
        lenet.LEARNER,
        resnet.LEARNER,
    )
}
