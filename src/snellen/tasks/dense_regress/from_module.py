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
from snellen.tasks.dense_regress.objective import (
    DenseRegressionLossSettings,
    DenseRegressionNetwork,
    DenseRegressionObjective,
)
from snellen.tasks.dense_regress.task import TASK, target_of
from snellen.training.dense import TileSettings, check_dense_outputs, fit_dense, resolve_tile_size
from snellen.training.settings import TrainingSettings


@settings
class ModuleDenseRegressorSettings:
    """Settings of a user's PyTorch module."""

    tiles: TileSettings = TileSettings()
    training: TrainingSettings = TrainingSettings(epochs=20)
    augment: SceneAugment = SceneAugment()
    loss_settings: DenseRegressionLossSettings = DenseRegressionLossSettings()


def learner(module: nn.Module) -> Learner[ModuleDenseRegressorSettings, Dataset[Labelled], DenseRegressionNetwork]:
    """Learner around a module that takes standardised (B, C, H, W) images and returns (B, T, H, W) standardised numbers
    (zero mean, unit variance), or logits of edges.

    The module itself is not changed; every training run starts from a copy.
    """

    def build(c: ModuleDenseRegressorSettings, spec: Spec) -> DenseRegressionNetwork:
        network = Network(Standardize(spec.input, channels(spec)), downscaled(copy.deepcopy(module), c.tiles.downscale))
        return DenseRegressionNetwork(network, target_of(spec), c.loss_settings.log_depth)

    def fit(c: ModuleDenseRegressorSettings, data: Dataset[Labelled], model: DenseRegressionNetwork, run: Run) -> None:
        tile = resolve_tile_size(c.tiles, data.spec)
        check_dense_outputs(model, len(target_of(data.spec).names), data, run, tile)
        model.fit_scaling(data)
        fit_dense(
            model,
            DenseRegressionObjective(target_of(data.spec), c.loss_settings, run),
            data,
            run,
            c.training,
            c.augment,
            tile,
        )

    result: Any = Learner[ModuleDenseRegressorSettings, Dataset[Labelled], DenseRegressionNetwork](
        name=type(module).__name__,
        summary="PyTorch module of the user.",
        source="the user",
        task=TASK,
        accepts=frozenset({"image"}),
        settings=ModuleDenseRegressorSettings,
        preprocessing_of=lambda c, spec: Preprocessing(channels=channels(spec)),
        build=build,
        fit=fit,
        parts=(module,),
    )
    return result  # type: ignore[no-any-return]
