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
from snellen.tasks.segment.objective import ByOverlap, PixelLogits, Weighting
from snellen.tasks.segment.task import TASK, classes
from snellen.training.dense import Sight, check_maps, learn_dense, tile_of
from snellen.training.settings import TrainingSettings


@settings
class OwnSettings:
    """How a network of one's own learns."""

    sight: Sight = Sight()
    descent: TrainingSettings = TrainingSettings(epochs=20)
    augment: SceneAugment = SceneAugment()
    weighting: Weighting = Weighting()


def learner(module: nn.Module) -> Learner[OwnSettings, Dataset[Labelled], PixelLogits]:
    """A learner around a module that takes standardised (B, C, H, W) pictures and returns (B, K, H, W) logits.

    The module itself is left as it is; every training starts from a copy.
    """

    def build(c: OwnSettings, spec: Spec) -> PixelLogits:
        return PixelLogits(Network(Standardize(spec.input, channels(spec)), copy.deepcopy(module)))

    def fit(c: OwnSettings, data: Dataset[Labelled], model: PixelLogits, run: Run) -> None:
        tile = tile_of(c.sight, data.spec)
        check_maps(model, len(classes(data.spec)), data, run, tile)
        learn_dense(model, ByOverlap(data.spec, c.weighting, run), data, run, c.descent, c.augment, tile)

    made: Any = Learner[OwnSettings, Dataset[Labelled], PixelLogits](
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
