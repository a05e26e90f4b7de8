"""Learners of the forecasting task, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.core.learner import Learner
from snellen.tasks.forecast import (
    baseline,
    boosted_trees,
    calibration,
    constant_velocity,
    encoder_decoder,
    linear_autoregression,
    mlp,
    networks,
    seasonal_naive,
    task,
    vector_autoregression,
)

TASK = task.TASK
from_module = networks.from_module
__all__ = ["LEARNERS", "TASK", "from_module"]

_ORDERED: tuple[Learner[Any, Any, Any], ...] = (
    baseline.LEARNER,
    constant_velocity.LEARNER,
    seasonal_naive.LEARNER,
    linear_autoregression.LEARNER,
    vector_autoregression.LEARNER,
    boosted_trees.LEARNER,
    mlp.LEARNER,
    *networks.LEARNERS,
    encoder_decoder.LEARNER,
    encoder_decoder.AUTOENCODER,
)

LEARNERS = {learner.name: calibration.with_intervals(learner) for learner in _ORDERED}
