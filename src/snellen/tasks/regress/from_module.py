"""Learner from a user's PyTorch module."""

from __future__ import annotations

import copy
from typing import Annotated, Any

from torch import nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.regress.objective import (
    RegressionLossSettings,
    RegressionNetwork,
    RegressionObjective,
    fit_target_scaling,
    target_count,
)
from snellen.tasks.regress.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import check_outputs, fit_supervised


@settings
class ModuleRegressorSettings:
    """Settings of a user's PyTorch module."""

    image_size: Annotated[int, Limit(min=1)] | None = None
    """Image size: side in pixels after resizing; auto: the typical size of the images (of the majority, else the
    median), at most 128."""
    training: TrainingSettings = TrainingSettings(epochs=20)
    augment: Augment = Augment()
    loss_settings: RegressionLossSettings = RegressionLossSettings()


def learner(module: nn.Module) -> Learner[ModuleRegressorSettings, Dataset[Labelled], RegressionNetwork]:
    """Learner around a module that takes standardised (B, ...) float inputs and returns (B, T) numbers.

    The numbers are standardised targets (zero mean, unit variance); the learner converts them to the user's units. The
    module itself is not changed; every training run starts from a copy.
    """

    def preprocessing_of(c: ModuleRegressorSettings, spec: Spec) -> Preprocessing:
        return fixed_size(spec, max_side=128, requested=c.image_size)

    def build(c: ModuleRegressorSettings, spec: Spec) -> RegressionNetwork:
        return RegressionNetwork(
            Network(Standardize(spec.input, preprocessing_of(c, spec).channels), copy.deepcopy(module)),
            target_count(spec),
        )

    def fit(c: ModuleRegressorSettings, data: Dataset[Labelled], model: RegressionNetwork, run: Run) -> None:
        check_outputs(model, target_count(data.spec), data, run)
        fit_target_scaling(model, data)
        fit_supervised(model, RegressionObjective(c.loss_settings, run), data, run, c.training, c.augment)

    result: Any = Learner[ModuleRegressorSettings, Dataset[Labelled], RegressionNetwork](
        name=type(module).__name__,
        summary="PyTorch module of the user.",
        source="the user",
        task=TASK,
        accepts=frozenset({"vector", "image"}),
        settings=ModuleRegressorSettings,
        preprocessing_of=preprocessing_of,
        build=build,
        fit=fit,
        parts=(module,),
    )
    return result  # type: ignore[no-any-return]
