"""Regressors from all architectures and from modules of a user: one output per target, which is standardised."""

from __future__ import annotations

from typing import Any

from torch import nn

from snellen.architectures import ARCHITECTURES, learners
from snellen.architectures.architecture import Architecture
from snellen.architectures.fusion import from_fusion
from snellen.architectures.network_task import NetworkTask
from snellen.core.learner import Learner
from snellen.core.settings import Suggestion, flatten
from snellen.core.spec import Spec
from snellen.data.augment.images import Augment
from snellen.tasks.regress.objective import (
    RegressionLossSettings,
    RegressionNetwork,
    RegressionObjective,
    fit_target_scaling,
    target_count,
)
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import SupervisedObjective


def _suggest(architecture: Architecture[Any], spec: Spec) -> dict[str, Suggestion]:
    """No augmentation, since it may change the target; of networks for images also the loss and the optimizer."""
    without = {setting.name: setting.default for setting in flatten(Augment, help=False)}
    defaults = {setting.name: setting.default for setting in flatten(architecture.settings, help=False)}
    reason = "augmentation may change the target of an image; enable what preserves it"
    suggested = {
        name: Suggestion(value=value, reason=reason)
        for name, value in without.items()
        if name in defaults and defaults[name] != value
    }
    if "image" not in architecture.accepts or "vector" in architecture.accepts:
        return suggested
    suggested["loss"] = Suggestion(value="absolute", reason="models are compared by the mean absolute error")
    if not str(defaults["optimizer"]).startswith("adam"):
        epochs = 20 if spec.sizes.get("train", 0) >= 2000 else 40
        gradient_reason = "regression losses have larger gradients than cross-entropy: a lower learning rate"
        suggested |= {
            "optimizer": Suggestion(value="adam", reason=gradient_reason),
            "lr": Suggestion(value=0.001, reason=gradient_reason),
            "weight_decay": Suggestion(value=0.0, reason=gradient_reason),
            "epochs": Suggestion(value=epochs, reason="a lower learning rate needs more epochs"),
        }
    return suggested


NETWORK_TASK = NetworkTask[RegressionNetwork, SupervisedObjective[RegressionNetwork]](
    task=TASK,
    settings=RegressionLossSettings,
    outputs=target_count,
    model=lambda network, spec, c: RegressionNetwork(network, target_count(spec)),
    objective=lambda spec, c, run: RegressionObjective(c, run),
    prepare=fit_target_scaling,
    suggest=_suggest,
)
LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(
    learners.from_architecture(NETWORK_TASK, architecture) for architecture in ARCHITECTURES.values()
)
FUSION = from_fusion(NETWORK_TASK)


def from_module(module: nn.Module) -> Learner[Any, Any, RegressionNetwork]:
    """Learner around a module that takes standardised (B, ...) float inputs and returns (B, T) numbers.

    The numbers are standardised targets (zero mean, unit variance); the learner converts them to the user's units.
    """
    return learners.from_module(NETWORK_TASK, module)
