"""Dense regressors from all dense architectures and from modules of a user: one output channel per number."""

from __future__ import annotations

from typing import Any

from torch import nn

from snellen.architectures.dense import DENSE, learners
from snellen.architectures.network_task import NetworkTask
from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.settings import Suggestion
from snellen.core.spec import Spec
from snellen.tasks.dense_regress.objective import (
    DenseRegressionLossSettings,
    DenseRegressionNetwork,
    DenseRegressionObjective,
)
from snellen.tasks.dense_regress.task import TASK, target_of
from snellen.training.dense import DenseObjective


def _suggest(architecture: Any, spec: Spec) -> dict[str, Suggestion]:
    if target_of(spec).kind != "reflectance":
        return {}
    return {"brightness": Suggestion(value=0.0, reason="reflectance depends on the brightness of a surface")}


def _check_requirements(c: DenseRegressionLossSettings, spec: Spec) -> None:
    if c.loss is not None and target_of(spec).kind in ("edges", "normals"):
        raise UsageError(f"--loss {c.loss} does not suit {target_of(spec).kind}", "Omit --loss.")


NETWORK_TASK = NetworkTask[DenseRegressionNetwork, DenseObjective[DenseRegressionNetwork]](
    task=TASK,
    settings=DenseRegressionLossSettings,
    outputs=lambda spec: len(target_of(spec).names),
    model=lambda network, spec, c: DenseRegressionNetwork(network, target_of(spec), c.log_depth),
    objective=DenseRegressionObjective,
    prepare=DenseRegressionNetwork.fit_scaling,
    suggest=_suggest,
    check_requirements=_check_requirements,
)
LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(
    learners.from_architecture(NETWORK_TASK, architecture) for architecture in DENSE.values()
)


def from_module(module: nn.Module) -> Learner[Any, Any, DenseRegressionNetwork]:
    """Learner around a module that takes standardised (B, C, H, W) images and returns (B, T, H, W) standardised numbers
    (zero mean, unit variance), or logits of edges; of sequences, points and volumes (B, T, *places).
    """
    return learners.from_module(NETWORK_TASK, module)
