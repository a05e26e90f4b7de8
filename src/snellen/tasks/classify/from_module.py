"""Learner from a user's PyTorch module."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ClassBalanceSettings, ClassificationNetwork, CrossEntropyObjective
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import check_outputs, fit_supervised


@settings
class ModuleClassifierSettings:
    """Settings of a user's PyTorch module."""

    image_size: int | None = None
    """Image size: side in pixels after resizing; auto: the typical size of the images (of the majority, else the
    median), at most 128."""
    training: TrainingSettings = TrainingSettings(epochs=20)
    augment: Augment = Augment()
    class_balance: ClassBalanceSettings = ClassBalanceSettings()


def learner(module: nn.Module) -> Learner[ModuleClassifierSettings, Dataset[Labelled], ClassificationNetwork]:
    """Learner around a module that takes standardised (B, ...) float inputs and returns (B, K) logits.

    The module itself is not changed; every training run starts from a copy.
    """

    def preprocessing_of(c: ModuleClassifierSettings, spec: Spec) -> Preprocessing:
        return fixed_size(spec, max_side=128, requested=c.image_size)

    def build(c: ModuleClassifierSettings, spec: Spec) -> ClassificationNetwork:
        return ClassificationNetwork(
            Network(Standardize(spec.input, preprocessing_of(c, spec).channels), copy.deepcopy(module))
        )

    def fit(c: ModuleClassifierSettings, data: Dataset[Labelled], model: ClassificationNetwork, run: Run) -> None:
        assert isinstance(data.spec.target, Classes | Labels)
        check_outputs(model, len(data.spec.target.names), data, run)
        fit_supervised(model, CrossEntropyObjective(data.spec, c.class_balance, run), data, run, c.training, c.augment)

    def suggest(spec: Spec) -> dict[str, Suggestion]:
        return {}

    result: Any = Learner[ModuleClassifierSettings, Dataset[Labelled], ClassificationNetwork](
        name=type(module).__name__,
        summary="PyTorch module of the user.",
        source="the user",
        task=TASK,
        accepts=frozenset({"vector", "image"}),
        settings=ModuleClassifierSettings,
        suggest=suggest,
        preprocessing_of=preprocessing_of,
        build=build,
        fit=fit,
        parts=(module,),
    )
    return result  # type: ignore[no-any-return]
