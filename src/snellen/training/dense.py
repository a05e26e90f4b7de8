"""Training of dense prediction, shared by segmentation and dense regression: from random tiles of images, and from
whole sequences, points and volumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Input, Spec
from snellen.data.annotations import IGNORE_INDEX
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scene, Scenes
from snellen.nn.tiling import apply_tiled
from snellen.training.loop import Objective
from snellen.training.network_training import evenly_spaced, fit_network
from snellen.training.scene_split import SceneSplit
from snellen.training.settings import TrainingSettings

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


DenseObjective = Objective[M, Labelled, Scenes]


def resolve_tile_size(tiles: TileSettings, spec: Spec) -> int | None:
    """Side of the training tiles in pixels; None: whole images, where even the largest is small, and other samples."""
    if not spec.input.has_pixels:
        return None
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


def predict_places(network: Callable[[Tensor], Tensor], x: Tensor, spec_input: Input) -> Tensor:
    """Outputs of a network at every place of a sample, (K, *places): of a large image, in overlapping tiles."""
    return (apply_tiled(network, x[None]) if spec_input.has_pixels else network(x[None]))[0]


def inside(x: Tensor, spec_input: Input) -> Tensor:
    """(*places) bool: which places of a sample exist. Those after the end of a shorter sequence are NaN."""
    if spec_input.is_ragged and x.is_floating_point():
        return ~x.isnan().any(spec_input.feature_axis)
    return torch.ones(spec_input.places(x.shape), dtype=torch.bool, device=x.device)


def collate(scenes: Sequence[Scene]) -> Labelled:
    """Collate scenes into one batch: (B, C, H, W), and (B, H, W) or (B, T, H, W); padding has no ground truth.

    Samples other than images have one size.
    """
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
    return Labelled(torch.stack(images), torch.stack(truths), torch.tensor([scene.id for scene in scenes]))


def check_dense_outputs(network: nn.Module, outputs: int, data: Dataset[Labelled], run: Run, tile: int | None) -> None:
    """Check that a user's network returns `outputs` channels at the size of its input. Raises UsageError."""
    network.to(run.device).eval()
    x = data.example("train", run.device)
    x = x if tile is None else x[..., :tile, :tile]
    with torch.no_grad():
        shape = tuple(network(x).shape)
    expected = (1, outputs, *data.spec.input.places(x.shape[1:]))
    if shape != expected:
        kind = "images" if data.spec.input.has_pixels else "inputs"
        raise UsageError(
            f"The module returns shape {shape} for {kind} of shape {tuple(x.shape)}, not {expected}",
            f"Give its last layer {outputs} channels at {'the image size' if kind == 'images' else 'that size'}.",
        )


def fit_dense(
    model: M,
    objective: Objective[M, Labelled, Scenes],
    data: Dataset[Labelled],
    run: Run,
    settings: TrainingSettings,
    augmentation: SceneAugment,
    tile: int | None,
) -> None:
    """Train on random tiles, see `fit_network`. After each epoch whole validation images are predicted.

    Args:
        augmentation: of image and ground truth together.
        tile: side in pixels; None: whole images.
    """
    train, visits = data.scenes("train", run.device), visits_per_epoch(tile, data.spec)
    split = SceneSplit(
        scenes=train,
        collate=collate,
        augmentation=augmentation,
        spec=data.spec,
        default_size=BATCH_SIZE,
        statistics_images=STATISTICS_IMAGES,
        statistics_pixels=STATISTICS_PIXELS,
        tile=tile,
        visits=visits,
    )
    val = data.splits["val"]
    ids = val[evenly_spaced(len(val), max_validation_images(tile, visits * len(train), data.spec))]
    run.evaluation_cost *= len(val) / max(len(ids), 1)  # in passes over the validated images
    validation = dataclasses.replace(data, splits={**data.splits, "val": ids}).scenes("val", run.device)
    fit_network(model, objective, split, validation if len(ids) else None, run, settings, data.value_range)
