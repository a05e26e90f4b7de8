"""Learning an answer for every pixel from random tiles of pictures: what all such tasks share."""

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
from snellen.data.annotations import NO_TRUTH
from snellen.data.augment.images_with_targets import SceneAugment, varied
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scene, SceneBatches, Scenes
from snellen.nn.layers import Standardize
from snellen.training.loop import fit_by_gradient
from snellen.training.settings import TrainingSettings

M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)
M = TypeVar("M", bound=nn.Module)

TILE = 192  # pixels a side of what is learned from where pictures are large
WHOLE = 256  # pixels a side up to which pictures are learned from whole
BATCH = 8  # tiles a step
AN_EPOCH = 400  # tiles, at least: few pictures are visited several times, or validation would take most of the time
FOR_STATISTICS = 64  # pictures from which mean, deviation and range are taken,
PIXELS = 1 << 16  # and pixels of each
MOST_JUDGED = 200  # validation pictures that are looked at after an epoch


@settings
class Sight:
    """How much of a picture is seen at a time while learning."""

    tile_size: Annotated[int, Limit(least=16)] | None = None
    """Pixels a side of the random tiles that are learned from; auto: pictures of up to 256 whole, else tiles of 192."""


class DenseObjective(Protocol[M_contra]):
    """What differs between tasks: the loss of a batch, and the validation score."""

    def loss(self, model: M_contra, x: Tensor, y: Tensor) -> Tensor: ...
    def score(self, model: M_contra, scenes: Scenes) -> float: ...


def tile_of(sight: Sight, spec: Spec) -> int | None:
    """Pixels a side of what is learned from; None: whole pictures, where all of them are small, the largest too."""
    if sight.tile_size is not None:
        return sight.tile_size
    _, height, width = spec.input.shape
    return None if height is not None and width is not None and max(height, width) <= WHOLE else TILE


def visits(tile: int | None, spec: Spec) -> int:
    """How often an epoch comes to each picture: as often as tiles cover it, but for at most 1,000 tiles in all; more
    often where these are too few for an epoch.
    """
    count, size = max(spec.sizes.get("train", 1), 1), spec.input.size
    cover = 1 if tile is None or size is None else round(size[0] * size[1] / tile**2)
    return max(1, -(-AN_EPOCH // count), min(cover, 1000 // count))


def together(scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Scenes as one batch, (B, C, H, W) and (B, H, W) or (B, T, H, W); smaller ones have no truth beyond their edge."""
    height = max(scene.image.shape[-2] for scene in scenes)
    width = max(scene.image.shape[-1] for scene in scenes)
    images, truths = [], []
    for image, truth, _ in scenes:
        assert isinstance(truth, Tensor)
        beyond = (0, width - image.shape[-1], 0, height - image.shape[-2])
        if any(beyond):
            image = nn.functional.pad(image, beyond)
            truth = nn.functional.pad(truth, beyond, value=torch.nan if truth.is_floating_point() else NO_TRUTH)
        images.append(image)
        truths.append(truth)
    return torch.stack(images), torch.stack(truths)


def learn_statistics(standardize: Standardize, scenes: Scenes, value_range: tuple[float, float] | None) -> None:
    """Mean, deviation and range of each channel, from pixels spread evenly over some pictures."""
    chosen = torch.linspace(0, len(scenes) - 1, min(len(scenes), FOR_STATISTICS)).round().long().tolist()
    values = []
    for position in chosen:
        flat = scenes.image(int(scenes.ids[position])).flatten(1)  # (C, HW)
        values.append(flat[:, :: max(1, flat.shape[1] // PIXELS)])
    standardize.learn(torch.cat(values, 1)[None].to(scenes.device), value_range)  # (1, C, pixels)


def check_maps(network: nn.Module, outputs: int, data: Dataset[Labelled], run: Run, tile: int | None) -> None:
    """Raises UsageError where a network of the user's own does not give `outputs` numbers a pixel."""
    network.to(run.device).eval()
    image = data.example("train", run.device)[..., :tile, :tile]
    with torch.no_grad():
        shape = tuple(network(image).shape)
    wanted = (1, outputs, *image.shape[-2:])
    if shape != wanted:
        raise UsageError(
            f"The module makes {shape} of pictures {tuple(image.shape)}, not {wanted}",
            f"Give its last layer {outputs} channels of the picture's size.",
        )


def learn_dense(
    model: M,
    scheme: DenseObjective[M],
    data: Dataset[Labelled],
    run: Run,
    how: TrainingSettings,
    vary: SceneAugment,
    tile: int | None,
) -> None:
    """Standardises the pictures by the training split, then descends on `scheme`'s loss of random tiles.

    After each epoch the model answers whole validation pictures, with batch normalisation by its running means.

    Args:
        model: its first `Standardize` takes the statistics; on `run.device` afterwards.
        vary: augmentation, of picture and truth together.
        tile: pixels a side; None: whole pictures.
    """
    train = data.scenes("train", run.device)
    model.to(run.device)
    standardize = next((m for m in model.modules() if isinstance(m, Standardize)), None)
    if standardize is not None and not standardize.known:
        learn_statistics(standardize, train, data.value_range)
        if standardize.deep:
            run.say(
                f"Values from {float(standardize.low):g} to {float(standardize.high):g} are used "
                "(0.1 % to 99.9 % of the training set)."
            )
    target, cut = data.spec.target, None if tile is None else (tile, tile)
    size, times = how.batch_size or BATCH, visits(tile, data.spec)
    if how.overfit:
        vary, size, times = SceneAugment(hflip=False), min(size, len(train)), 1
        how, train = _by_heart(how, train, size)

    def seen(scene: Scene, visit: int) -> Scene:
        return varied(scene, 0 if how.overfit else visit, vary, run.seed, target, cut)

    def losses(batch: list[Scene]) -> dict[str, Tensor]:
        return {"loss": scheme.loss(model, *together(batch))}

    val = data.splits["val"]
    few = val[torch.linspace(0, max(len(val) - 1, 0), min(len(val), MOST_JUDGED)).round().long()]
    judged = dataclasses.replace(data, splits={**data.splits, "val": few}).scenes("val", run.device)

    def validate(model: nn.Module) -> float:
        return scheme.score(model, judged)  # type: ignore[arg-type]

    model.to(memory_format=torch.channels_last)
    fit_by_gradient(
        model,
        losses,
        SceneBatches(train, size, run.seed, seen, times),
        run,
        how,
        validate=validate if len(few) and not how.overfit else None,
    )


def _by_heart(how: TrainingSettings, train: Scenes, size: int) -> tuple[TrainingSettings, Scenes]:
    """One batch, again and again, with nothing that would keep the loss from reaching zero."""
    few = copy.copy(train)
    few.ids = train.ids[torch.linspace(0, len(train) - 1, size).round().long()]
    return dataclasses.replace(
        how, batch_size=size, epochs=400, weight_decay=0.0, schedule="constant", patience=None, ema_decay=None
    ), few
