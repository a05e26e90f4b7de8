"""Learner from a user's PyTorch module."""

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
from snellen.nn.dense.downscaled import downscaled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.segment.objective import SegmentationLossSettings, SegmentationNetwork, SegmentationObjective
from snellen.tasks.segment.task import TASK, class_names
from snellen.training.dense import TileSettings, check_dense_outputs, fit_dense, resolve_tile_size
from snellen.training.settings import TrainingSettings


@settings
class ModuleSegmenterSettings:
    """Settings of a user's PyTorch module."""

    tiles: TileSettings = TileSettings()
    training: TrainingSettings = TrainingSettings(epochs=20)
    augment: SceneAugment = SceneAugment()
    loss_settings: SegmentationLossSettings = SegmentationLossSettings()


def learner(module: nn.Module) -> Learner[ModuleSegmenterSettings, Dataset[Labelled], SegmentationNetwork]:
    """Learner around a module that takes standardised (B, C, H, W) images and returns (B, K, H, W) logits.

    The module itself is not changed; every training run starts from a copy.
    """

    def build(c: ModuleSegmenterSettings, spec: Spec) -> SegmentationNetwork:
        return SegmentationNetwork(
            Network(Standardize(spec.input, channels(spec)), downscaled(copy.deepcopy(module), c.tiles.downscale))
        )

    def fit(c: ModuleSegmenterSettings, data: Dataset[Labelled], model: SegmentationNetwork, run: Run) -> None:
        tile = resolve_tile_size(c.tiles, data.spec)
        check_dense_outputs(model, len(class_names(data.spec)), data, run, tile)
        fit_dense(model, SegmentationObjective(data.spec, c.loss_settings, run), data, run, c.training, c.augment, tile)

    result: Any = Learner[ModuleSegmenterSettings, Dataset[Labelled], SegmentationNetwork](
        name=type(module).__name__,
        summary="PyTorch module of the user.",
        source="the user",
        task=TASK,
        accepts=frozenset({"image"}),
        settings=ModuleSegmenterSettings,
        preprocessing_of=lambda c, spec: Preprocessing(channels=channels(spec)),
        build=build,
        fit=fit,
        parts=(module,),
    )
    return result  # type: ignore[no-any-return]
