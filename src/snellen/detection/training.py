"""How a detector learns: what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.detections import Objects
from snellen.core.run import Run
from snellen.data.augment.images_with_targets import SceneAugment, varied
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scene, SceneBatches, Scenes
from snellen.detection.protocol import Part
from snellen.detection.score_threshold import choose, validation
from snellen.nn.detection.anchors import Anchors, octaves, suited
from snellen.nn.detection.detector import Detector
from snellen.nn.layers import Standardize
from snellen.training.loop import fit_by_gradient
from snellen.training.settings import TrainingSettings

PICTURES = 200  # that statistics are taken from
PIXELS = 4096  # of each
WATCHED = 24  # whose loss is looked at after an epoch


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is learned, and from what.

    Args:
        part: of an object, by which the best weights and the threshold are chosen.
        data: with its splits.
        vary: how far pictures are varied.
    """

    part: Part
    data: Dataset[Labelled]
    vary: SceneAugment


def learn(model: Detector, lesson: Lesson, run: Run, how: TrainingSettings) -> None:
    """Standardises by the training split, fits the anchors to its boxes, descends, and chooses the threshold.

    The loss on validation pictures is computed as in use: batch normalisation does not see them.
    """
    data = lesson.data
    model.to(run.device)
    train, val = data.scenes("train", run.device), data.scenes("val", run.device)
    prepare(model, train, data.value_range, run)
    model.to(memory_format=torch.channels_last)

    def vary(scene: Scene, epoch: int) -> Scene:
        return varied(scene, epoch, lesson.vary, run.seed, data.spec.target)

    batches = SceneBatches(train, how.batch_size or 4, run.seed, vary)
    precision = validation(lesson.part, data, run)

    def losses(batch: list[Scene]) -> dict[str, Tensor]:
        return model.losses(*apart(batch))

    def validate(judged: nn.Module) -> float:
        assert isinstance(judged, Detector)
        assert precision is not None
        run.log(validation_loss=validation_loss(judged, val))
        return precision(judged)

    fit_by_gradient(model, losses, batches, run, how, validate=validate if precision is not None else None)
    choose(lesson.part, model, data, run)


def apart(batch: Sequence[Scene]) -> tuple[list[Tensor], list[Objects]]:
    """Pictures, and what is true of each."""
    truths = []
    for scene in batch:
        assert isinstance(scene.truth, Objects)
        truths.append(scene.truth)
    return [scene.image for scene in batch], truths


def validation_loss(model: Detector, scenes: Scenes) -> float:
    """The mean of the losses of a few pictures of a split."""
    chosen = spread(scenes, WATCHED)
    each = [sum(float(loss) for loss in model.losses(*apart([scenes.at(position)])).values()) for position in chosen]
    return sum(each) / len(each)


def prepare(model: Detector, train: Scenes, value_range: tuple[float, float] | None, run: Run) -> None:
    """What a detector takes from the training split before it learns: the scale of its values, the sizes of anchors."""
    standardize = model.pictures.standardize
    if not standardize.known:
        known = run.once("standardize", lambda: statistics(standardize, train, value_range))
        standardize.load_state_dict(known)
    if standardize.deep:
        run.say(
            f"Values from {float(standardize.low):g} to {float(standardize.high):g} are used (0.1 % to 99.9 % of "
            "the training set)."
        )
    for anchors in (module for module in model.modules() if isinstance(module, Anchors)):
        if not anchors.known:
            sizes = run.once("anchors", partial(fitted, model, train, anchors))
            anchors.fit(sizes)


def spread(scenes: Scenes, most: int = PICTURES) -> list[int]:
    """Positions of at most so many pictures, evenly spread."""
    count = min(most, len(scenes))
    places: list[int] = torch.linspace(0, len(scenes) - 1, count).round().long().tolist()
    return places


def statistics(standardize: Standardize, scenes: Scenes, value_range: tuple[float, float] | None) -> dict[str, Any]:
    """Mean, deviation and range of some pixels of some pictures."""
    some = []
    for position in spread(scenes):
        flat = scenes.image(int(scenes.ids[position])).flatten(1)  # (C, HW)
        some.append(flat[:, :: max(1, flat.shape[1] // PIXELS)])
    standardize.learn(torch.cat(some, 1)[None].to(standardize.mean.device), value_range)
    return standardize.state_dict()


def fitted(model: Detector, scenes: Scenes, anchors: Anchors) -> list[float]:
    """Sizes of anchors for the boxes of some pictures."""
    boxes, count = box_sizes(model, scenes), len(anchors.cells)
    return octaves(boxes, count) if len(anchors.scales) > 1 else suited(boxes, count)


def box_sizes(model: Detector, scenes: Scenes) -> Tensor:
    """(N, 4) boxes of some pictures in pixels of the network."""
    found = []
    for position in spread(scenes):
        scene = scenes.at(position)
        assert isinstance(scene.truth, Objects)
        height, width = scene.image.shape[1:]
        down = model.pictures.size(height, width)[0] / height
        found.append((scene.truth.learned.boxes * down).cpu())
    boxes = torch.cat(found) if found else torch.zeros(0, 4)
    return boxes if len(boxes) else torch.tensor([[0.0, 0.0, 32.0, 32.0]])
