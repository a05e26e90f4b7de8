"""Learners of tasks with an answer at every pixel: from a dense architecture, and from a user's PyTorch module."""

from __future__ import annotations

import copy
from typing import Any, TypeVar, cast

from torch import nn

from snellen.architectures.dense.architecture import DenseArchitecture, channels, dense_preprocessing
from snellen.architectures.network_task import NetworkTask
from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import merge_groups, settings
from snellen.core.spec import PLACED, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.dense.downscaled import downscaled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.training.dense import DenseObjective, TileSettings, check_dense_outputs, fit_dense, resolve_tile_size
from snellen.training.settings import TrainingSettings

M = TypeVar("M", bound=nn.Module)


def from_architecture(
    kind: NetworkTask[M, DenseObjective[M]], architecture: DenseArchitecture[Any]
) -> Learner[Any, Dataset[Labelled], M]:
    """Learner of an architecture with the output channels of the task."""

    def check_requirements(c: Any, spec: Spec) -> None:
        architecture.check_requirements(c.network)
        kind.check_requirements(c.task, spec)

    def build(c: Any, spec: Spec) -> M:
        return kind.model(architecture.build(c.network, spec, kind.outputs(spec)), spec, c.task)

    def fit(c: Any, data: Dataset[Labelled], model: M, run: Run) -> None:
        architecture.load_pretrained(c.network, cast(Network, model.network), run)
        _fit(kind, c, data, model, run)

    return Learner[Any, Dataset[Labelled], M](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=kind.task,
        accepts=architecture.accepts,
        settings=merge_groups(architecture.settings.__name__, network=architecture.settings, task=kind.settings),
        suggest=lambda spec: {**architecture.suggestions(spec), **kind.suggest(architecture, spec)},
        check_requirements=check_requirements,
        preprocessing_of=lambda c, spec: architecture.preprocessing_of(spec),
        input_size=lambda c, spec: architecture.input_size(c.network, spec),
        build=build,
        fit=fit,
        model_views=architecture.model_views,
        in_default_ladder=kind.task.name in architecture.default_ladders,
    )


@settings
class DenseModuleSettings:
    """Settings of a user's PyTorch module."""

    tiles: TileSettings = TileSettings()
    training: TrainingSettings = TrainingSettings(epochs=20)
    augment: SceneAugment = SceneAugment()


def from_module(kind: NetworkTask[M, DenseObjective[M]], module: nn.Module) -> Learner[Any, Dataset[Labelled], M]:
    """Learner around a module that takes standardised (B, C, H, W) images and returns (B, outputs, H, W) numbers, or
    takes sequences, points or volumes and returns (B, outputs, *places).

    The module itself is not changed; every training run starts from a copy.
    """

    def check_requirements(c: Any, spec: Spec) -> None:
        kind.check_requirements(c.task, spec)
        if not spec.input.has_pixels and (c.network.tiles, c.network.augment) != (TileSettings(), SceneAugment()):
            raise UsageError(
                f"Tiles and augmentation are for images; the input is: {spec.modality}", "Omit these settings."
            )

    def build(c: Any, spec: Spec) -> M:
        body = downscaled(copy.deepcopy(module), c.network.tiles.downscale)
        return kind.model(Network(Standardize(spec.input, channels(spec)), body), spec, c.task)

    def fit(c: Any, data: Dataset[Labelled], model: M, run: Run) -> None:
        tile = resolve_tile_size(c.network.tiles, data.spec)
        check_dense_outputs(model, kind.outputs(data.spec), data, run, tile)
        _fit(kind, c, data, model, run)

    return Learner[Any, Dataset[Labelled], M](
        name=type(module).__name__,
        summary="PyTorch module of the user.",
        source="the user",
        task=kind.task,
        accepts=PLACED,
        settings=merge_groups(DenseModuleSettings.__name__, network=DenseModuleSettings, task=kind.settings),
        check_requirements=check_requirements,
        preprocessing_of=lambda c, spec: dense_preprocessing(spec),
        build=build,
        fit=fit,
        parts=(module,),
    )


def _fit(kind: NetworkTask[M, DenseObjective[M]], c: Any, data: Dataset[Labelled], model: M, run: Run) -> None:
    kind.prepare(model, data)
    tile = resolve_tile_size(c.network.tiles, data.spec)
    objective = kind.objective(data.spec, c.task, run)
    augmentation = c.network.augment if data.spec.input.has_pixels else SceneAugment(hflip=False)
    fit_dense(model, objective, data, run, c.network.training, augmentation, tile)
