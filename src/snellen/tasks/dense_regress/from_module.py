"""A plain `nn.Module` of the user's as a learner."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from snellen.architectures.dense.architecture import channels
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.dense_regress.objective import ByDistance, Measured, PixelErrors
from snellen.tasks.dense_regress.task import TASK, asked
from snellen.training.dense import Sight, check_maps, learn_dense, tile_of
from snellen.training.settings import TrainingSettings


@settings
class OwnSettings:
    """How a network of one's own learns."""

    sight: Sight = Sight()
    descent: TrainingSettings = TrainingSettings(epochs=20)
    augment: SceneAugment = SceneAugment()
    errors: PixelErrors = PixelErrors()


def learner(module: nn.Module) -> Learner[OwnSettings, Dataset[Labelled], Measured]:
    """A learner around a module that takes standardised (B, C, H, W) pictures and returns (B, T, H, W) numbers, of
    zero mean and unit variance; logits for edges.

    The module itself is left as it is; every training starts from a copy.
    """

    def build(c: OwnSettings, spec: Spec) -> Measured:
        network = Network(Standardize(spec.input, channels(spec)), copy.deepcopy(module))
        return Measured(network, asked(spec), c.errors.log_depth)

    def fit(c: OwnSettings, data: Dataset[Labelled], model: Measured, run: Run) -> None:
        tile = tile_of(c.sight, data.spec)
        check_maps(model, len(asked(data.spec).names), data, run, tile)
        model.learn(data)
        learn_dense(model, ByDistance(asked(data.spec), c.errors, run), data, run, c.descent, c.augment, tile)

    made: Any = Learner[OwnSettings, Dataset[Labelled], Measured](
        name=type(module).__name__,
        summary="A module of the user's own.",
        source="the user",
        task=TASK,
        accepts=frozenset({"image"}),
        settings=OwnSettings,
        preprocessing_of=lambda c, spec: Preprocessing(channels=channels(spec)),
        build=build,
        fit=fit,
        parts=(module,),
    )
    return made  # type: ignore[no-any-return]
