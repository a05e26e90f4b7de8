"""Classifiers from all architectures and from modules of a user: one output per class, trained with cross-entropy."""

from __future__ import annotations

from typing import Any

from torch import nn

from snellen.architectures import ARCHITECTURES, learners
from snellen.architectures.fusion import from_fusion
from snellen.architectures.network_task import NetworkTask
from snellen.core.learner import Learner
from snellen.core.spec import Classes, Labels, Spec
from snellen.tasks.classify.objective import ClassBalanceSettings, ClassificationNetwork, CrossEntropyObjective
from snellen.tasks.classify.task import TASK
from snellen.training.supervised import SupervisedObjective


def _outputs(spec: Spec) -> int:
    assert isinstance(spec.target, Classes | Labels)
    return len(spec.target.names)


NETWORK_TASK = NetworkTask[ClassificationNetwork, SupervisedObjective[ClassificationNetwork]](
    task=TASK,
    settings=ClassBalanceSettings,
    outputs=_outputs,
    model=lambda network, spec, c: ClassificationNetwork(network),
    objective=CrossEntropyObjective,
)
LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(
    learners.from_architecture(NETWORK_TASK, architecture) for architecture in ARCHITECTURES.values()
)
FUSION = from_fusion(NETWORK_TASK)


def from_module(module: nn.Module) -> Learner[Any, Any, ClassificationNetwork]:
    """Learner around a module that takes standardised (B, ...) float inputs and returns (B, K) logits."""
    return learners.from_module(NETWORK_TASK, module)
