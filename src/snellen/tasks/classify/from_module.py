"""A plain `nn.Module` of the user's as a learner."""

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
from snellen.tasks.classify.objective import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import check_outputs, learn


@settings
class OwnSettings:
    """How a network of one's own learns."""

    image_size: int | None = None
    """Pixels a side that pictures are resized to; auto: their usual size, at most 128."""
    descent: TrainingSettings = TrainingSettings(epochs=20)
    augment: Augment = Augment()
    weighting: Weighting = Weighting()


def learner(module: nn.Module) -> Learner[OwnSettings, Dataset[Labelled], Logits]:
    """A learner around a module that takes standardised (B, ...) float inputs and returns (B, K) logits.

    The module itself is left as it is; every training starts from a copy.
    """

    def preprocessing_of(c: OwnSettings, spec: Spec) -> Preprocessing:
        return fixed_size(spec, most=128, asked=c.image_size)

    def build(c: OwnSettings, spec: Spec) -> Logits:
        return Logits(Network(Standardize(spec.input, preprocessing_of(c, spec).channels), copy.deepcopy(module)))

    def fit(c: OwnSettings, data: Dataset[Labelled], model: Logits, run: Run) -> None:
        assert isinstance(data.spec.target, Classes | Labels)
        check_outputs(model, len(data.spec.target.names), data, run)
        learn(model, ByCrossEntropy(data.spec, c.weighting, run), data, run, c.descent, c.augment)

    def suggest(spec: Spec) -> dict[str, Suggestion]:
        return {}

    made: Any = Learner[OwnSettings, Dataset[Labelled], Logits](
        name=type(module).__name__,
        summary="A module of the user's own.",
        source="the user",
        task=TASK,
        accepts=frozenset({"vector", "image"}),
        settings=OwnSettings,
        suggest=suggest,
        preprocessing_of=preprocessing_of,
        build=build,
        fit=fit,
        parts=(module,),
    )
    return made  # type: ignore[no-any-return]
