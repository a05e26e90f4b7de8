"""Training of dense prediction from random tiles of images, shared by segmentation and dense regression."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.annotations import IGNORE_INDEX
from snellen.data.augment.images_with_targets import SceneAugment, augment_scene
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scene, SceneBatches, Scenes
from snellen.nn.layers import Standardize
from snellen.training.loop import fit_by_gradient
from snellen.training.settings import TrainingSettings

M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)
M = TypeVar("M", bound=nn.Module)

TILE_SIZE = 192  # side of a training tile in pixels
MAX_WHOLE_SIDE = 256  # side in pixels up to which training uses whole images
BATCH_SIZE = 8  # tiles per step
MIN_TILES_PER_EPOCH = 400  # small training sets are repeated within an epoch, so that validation stays cheap
STATISTICS_IMAGES = 64  # images that mean, standard deviation and range are computed from
STATISTICS_PIXELS = 1 << 16  # pixels per image for these statistics
MAX_VALIDATION_IMAGES = 200  # images that are validated after each epoch
MIN_VALIDATION_IMAGES = 4
VALIDATION_FRACTION = 0.15  # of the time of an epoch, at most, for its validation
TRAINING_PASSES = 3  # a backward pass takes the time of two forward passes


@settings
class TileSettings:
    """Tile size of training, and the scale of the network."""

    tile_size: Annotated[int, Limit(min=16)] | None = None
    """Tile size: side of the random training tiles in pixels; auto: whole images up to 256, else 192."""
    downscale: Annotated[int, Limit(min=1, max=16)] = 1
    """Downscale: images are reduced by this factor before the network, and its output is enlarged to their size: about
    a quarter of the time for 2, with coarser outlines."""


class DenseObjective(Protocol[M_contra]):
    """Objective of a dense task: the loss of a batch, and the validation score."""

    def loss(self, model: M_contra, x: Tensor, y: Tensor) -> Tensor: ...
    def score(self, model: M_contra, scenes: Scenes) -> float: ...


def resolve_tile_size(tiles: TileSettings, spec: Spec) -> int | None:
    """Side of the training tiles in pixels; None: whole images, where even the largest is small."""
    if tiles.tile_size is not None:
        return tiles.tile_size
    _, height, width = spec.input.shape
    return None if height is not None and width is not None and max(height, width) <= MAX_WHOLE_SIDE else TILE_SIZE


def visits_per_epoch(tile: int | None, spec: Spec) -> int:
    """Tiles per image and epoch: as many as cover the image, limited to 1,000 tiles per epoch; at least enough for 400
    tiles per epoch.
    """
    count, size = max(spec.sizes.get("train", 1), 1), spec.input.size
    tiles_per_image = 1 if tile is None or size is None else round(size[0] * size[1] / tile**2)
    return max(1, -(-MIN_TILES_PER_EPOCH // count), min(tiles_per_image, 1000 // count))


def max_validation_images(tile: int | None, tiles_per_epoch: int, spec: Spec) -> int:
    """Number of whole images whose prediction takes at most `VALIDATION_FRACTION` of the time of an epoch."""
    size = spec.input.size
    tiles_per_image = 1.0 if tile is None or size is None else size[0] * size[1] / tile**2
    affordable = round(VALIDATION_FRACTION * TRAINING_PASSES * tiles_per_epoch / tiles_per_image)
    return min(MAX_VALIDATION_IMAGES, max(MIN_VALIDATION_IMAGES, affordable))


def collate(scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Collate scenes into one batch, (B, C, H, W) and (B, H, W) or (B, T, H, W); padding has no ground truth."""
    height = max(scene.image.shape[-2] for scene in scenes)
    width = max(scene.image.shape[-1] for scene in scenes)
    images, truths = [], []
    for image, truth, _ in scenes:
        assert isinstance(truth, Tensor)
        padding = (0, width - image.shape[-1], 0, height - image.shape[-2])
        if any(padding):
            image = nn.functional.pad(image, padding)
            truth = nn.functional.pad(truth, padding, value=torch.nan if truth.is_floating_point() else IGNORE_INDEX)
        images.append(image)
        truths.append(truth)
    return torch.stack(images), torch.stack(truths)


def compute_statistics(standardize: Standardize, scenes: Scenes, value_range: tuple[float, float] | None) -> None:
    """Compute mean, standard deviation and range of each channel, from pixels sampled evenly over some images."""
    positions = torch.linspace(0, len(scenes) - 1, min(len(scenes), STATISTICS_IMAGES)).round().long().tolist()
    values = []
    for position in positions:
        flat = scenes.image(int(scenes.ids[position])).flatten(1)  # (C, HW)
        values.append(flat[:, :: max(1, flat.shape[1] // STATISTICS_PIXELS)])
    standardize.fit(torch.cat(values, 1)[None].to(scenes.device), value_range)  # (1, C, pixels)


def check_dense_outputs(network: nn.Module, outputs: int, data: Dataset[Labelled], run: Run, tile: int | None) -> None:
    """Check that a user's network returns `outputs` channels at the size of its input. Raises UsageError."""
    network.to(run.device).eval()
    image = data.example("train", run.device)[..., :tile, :tile]
    with torch.no_grad():
        shape = tuple(network(image).shape)
    expected = (1, outputs, *image.shape[-2:])
    if shape != expected:
        raise UsageError(
            f"The module returns shape {shape} for images of shape {tuple(image.shape)}, not {expected}",
            f"Give its last layer {outputs} channels at the image size.",
        )


def fit_dense(
    model: M,
    objective: DenseObjective[M],
    data: Dataset[Labelled],
    run: Run,
    settings: TrainingSettings,
    augmentation: SceneAugment,
    tile: int | None,
) -> None:
    """Standardise the images by the training split, then train on the objective's loss of random tiles.

    After each epoch the model predicts whole validation images, in evaluation mode.

    Args:
        model: its first `Standardize` stores the statistics; on `run.device` afterwards.
        augmentation: of image and ground truth together.
        tile: side in pixels; None: whole images.
    """
    train = data.scenes("train", run.device)
    model.to(run.device)
    standardize = next((m for m in model.modules() if isinstance(m, Standardize)), None)
    if standardize is not None and not standardize.is_fixed:
        compute_statistics(standardize, train, data.value_range)
        if standardize.deep:
            run.message(
                f"Values from {float(standardize.low):g} to {float(standardize.high):g} are used "
                "(0.1 % to 99.9 % of the training set)."
            )
    target, tile_shape = data.spec.target, None if tile is None else (tile, tile)
    size, visits = settings.batch_size or BATCH_SIZE, visits_per_epoch(tile, data.spec)
    if settings.overfit:
        augmentation, size, visits = SceneAugment(hflip=False), min(size, len(train)), 1
        settings, train = overfit_batch(settings, train, size)
        run.notes["by heart"] = size

    if tile is not None and data.spec.input.size is not None:  # a tile counts as the part of an image that it covers
        height, width = data.spec.input.size
        covered = min(1.0, tile**2 / (height * width))
        run.notes["samples per step"] = covered * min(size, visits * len(train)) * settings.grad_accum_steps

    def augmented(scene: Scene, visit: int) -> Scene:
        return augment_scene(scene, 0 if settings.overfit else visit, augmentation, run.seed, target, tile_shape)

    def compute_losses(batch: list[Scene]) -> dict[str, Tensor]:
        return {"loss": objective.loss(model, *collate(batch))}

    val = data.splits["val"]
    count = min(len(val), max_validation_images(tile, visits * len(train), data.spec))
    validation_ids = val[torch.linspace(0, max(len(val) - 1, 0), count).round().long()]
    run.evaluation_cost *= len(val) / max(count, 1)  # in passes over the validated images
    validation = dataclasses.replace(data, splits={**data.splits, "val": validation_ids}).scenes("val", run.device)

    def validate(model: nn.Module) -> float:
        return objective.score(model, validation)  # type: ignore[arg-type]

    model.to(memory_format=torch.channels_last)
    fit_by_gradient(
        model,
        compute_losses,
        SceneBatches(train, size, run.seed, augmented, visits),
        run,
        settings,
        validate=validate if len(validation_ids) and not settings.overfit else None,
    )


def overfit_batch(settings: TrainingSettings, train: Scenes, size: int) -> tuple[TrainingSettings, Scenes]:
    """Settings and data for overfitting one batch, without anything that keeps the loss from zero.

    The caller turns augmentation and validation off.
    """
    batch = copy.copy(train)
    batch.ids = train.ids[torch.linspace(0, len(train) - 1, size).round().long()]
    return dataclasses.replace(
        settings, batch_size=size, epochs=400, weight_decay=0.0, schedule="constant", patience=None, ema_decay=None
    ), batch
