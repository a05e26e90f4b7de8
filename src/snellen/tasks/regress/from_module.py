"""A plain `nn.Module` of the user's as a learner of numbers."""

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
from snellen.tasks.regress.objective import ByError, Errors, Scaled, learn_targets, targets
from snellen.tasks.regress.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import check_outputs, learn


@settings
class OwnSettings:
    """How a network of one's own learns."""

    image_size: Annotated[int, Limit(least=1)] | None = None
    """Pixels a side that pictures are resized to; auto: their usual size, at most 128."""
    descent: TrainingSettings = TrainingSettings(epochs=20)
    augment: Augment = Augment()
    errors: Errors = Errors()


def learner(module: nn.Module) -> Learner[OwnSettings, Dataset[Labelled], Scaled]:
    """A learner around a module that takes standardised (B, ...) float inputs and returns (B, T) numbers.

    The numbers are those of targets with zero mean and unit variance; they are put into the user's units here. The
    module itself is left as it is; every training starts from a copy.
    """

    def preprocessing_of(c: OwnSettings, spec: Spec) -> Preprocessing:
        return fixed_size(spec, most=128, asked=c.image_size)

    def build(c: OwnSettings, spec: Spec) -> Scaled:
        return Scaled(
            Network(Standardize(spec.input, preprocessing_of(c, spec).channels), copy.deepcopy(module)), targets(spec)
        )

    def fit(c: OwnSettings, data: Dataset[Labelled], model: Scaled, run: Run) -> None:
        check_outputs(model, targets(data.spec), data, run)
        learn_targets(model, data)
        learn(model, ByError(c.errors, run), data, run, c.descent, c.augment)

    made: Any = Learner[OwnSettings, Dataset[Labelled], Scaled](
        name=type(module).__name__,
        summary="A module of the user's own.",
        source="the user",
        task=TASK,
        accepts=frozenset({"vector", "image"}),
        settings=OwnSettings,
        preprocessing_of=preprocessing_of,
        build=build,
        fit=fit,
        parts=(module,),
    )
    return made  # type: ignore[no-any-return]
