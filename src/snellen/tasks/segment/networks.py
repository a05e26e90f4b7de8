"""Segmenters from all dense architectures and from modules of a user: one output channel per class.

They are trained with cross-entropy and Dice loss.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from snellen.architectures.dense import DENSE, learners
from snellen.architectures.network_task import NetworkTask
from snellen.core.learner import Learner
from snellen.tasks.segment.objective import (
    SegmentationLossSettings,
    SegmentationNetwork,
    SegmentationObjective,
    check_class_weights,
)
from snellen.tasks.segment.task import TASK, class_names
from snellen.training.dense import DenseObjective

NETWORK_TASK = NetworkTask[SegmentationNetwork, DenseObjective[SegmentationNetwork]](
    task=TASK,
    settings=SegmentationLossSettings,
    outputs=lambda spec: len(class_names(spec)),
    model=lambda network, spec, c: SegmentationNetwork(network),
    objective=SegmentationObjective,
    check_requirements=lambda c, spec: check_class_weights(c),
)
LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(
    learners.from_architecture(NETWORK_TASK, architecture) for architecture in DENSE.values()
)


def from_module(module: nn.Module) -> Learner[Any, Any, SegmentationNetwork]:
    """Learner around a module that takes standardised (B, C, H, W) images and returns (B, K, H, W) logits.

    Of sequences, points and volumes it returns (B, K, *places).
    """
    return learners.from_module(NETWORK_TASK, module)
