"""Joint predictors from architectures and from modules of a user: the outputs of all targets, one after another."""

from __future__ import annotations

from typing import Any

from torch import nn

from snellen.architectures import ARCHITECTURES, learners
from snellen.architectures.fusion import from_fusion
from snellen.architectures.network_task import NetworkTask
from snellen.core.learner import Learner
from snellen.tasks.joint.objective import JointNetwork, JointObjective, JointSettings, fit_scaling, output_count
from snellen.tasks.joint.task import TASK
from snellen.training.supervised import SupervisedObjective

NETWORK_TASK = NetworkTask[JointNetwork, SupervisedObjective[JointNetwork]](
    task=TASK,
    settings=JointSettings,
    outputs=output_count,
    model=lambda network, spec, c: JointNetwork(network, spec, c.separate),
    objective=JointObjective,
    prepare=fit_scaling,
)
LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(
    learners.from_architecture(NETWORK_TASK, architecture)
    for architecture in ARCHITECTURES.values()
    if architecture.in_default_ladder
)
FUSION = from_fusion(NETWORK_TASK)


def from_module(module: nn.Module) -> Learner[Any, Any, JointNetwork]:
    """Learner around a module that takes standardised (B, ...) float inputs and returns (B, outputs) numbers.

    The outputs are those of all targets, one after another: logits of classes or labels, standardised numbers.
    """
    return learners.from_module(NETWORK_TASK, module)
