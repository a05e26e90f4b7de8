"""Training of detectors: input statistics, anchor sizes, losses, validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.detections import GroundTruth
from snellen.core.run import Run
from snellen.data.augment.images_with_targets import SceneAugment, augment_scene
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scene, SceneBatches, Scenes
from snellen.detection.protocol import IoUType
from snellen.detection.score_threshold import choose_threshold, validation_score, validation_subset
from snellen.nn.detection.anchors import Anchors, octave_sizes, quantile_sizes
from snellen.nn.detection.detector import DetectionNetwork
from snellen.nn.layers import Standardize
from snellen.training.dense import overfit_batch
from snellen.training.loop import fit_by_gradient
from snellen.training.settings import TrainingSettings

BATCH_SIZE = 4  # if the settings leave it open
STATISTICS_IMAGES = 200  # images for mean, deviation and anchor sizes
PIXELS_PER_IMAGE = 4096  # sampled for mean and deviation
VALIDATION_LOSS_IMAGES = 24  # images for the validation loss after each epoch; at most those of the score


@dataclass(frozen=True, kw_only=True)
class DetectionTrainingData:
    """Training data of a detector: dataset, augmentation, and the IoU type of its validation score.

    Args:
        iou_type: boxes, masks or keypoints; its AP selects the best weights and the score threshold.
        data: dataset with its splits.
        augment: augmentation of the training images.
    """

    iou_type: IoUType
    data: Dataset[Labelled]
    augment: SceneAugment


def fit_detector(
    model: DetectionNetwork, training_data: DetectionTrainingData, run: Run, settings: TrainingSettings
) -> None:
    """Train a detector: standardisation, anchor sizes, gradient descent, score threshold.

    The validation loss is computed with batch normalisation in evaluation mode. With `settings.overfit`, one batch is
    trained on again and again, without augmentation and validation.
    """
    data = training_data.data
    model.to(run.device)
    train, val = data.scenes("train", run.device), data.scenes("val", run.device)
    prepare_detector(model, train, data.value_range, run)
    model.to(memory_format=torch.channels_last)

    augmentation, size = training_data.augment, settings.batch_size or BATCH_SIZE
    if settings.overfit:
        augmentation, size = SceneAugment(hflip=False), min(size, len(train))
        settings, train = overfit_batch(settings, train, size)
        run.notes["by heart"] = size

    def augment(scene: Scene, epoch: int) -> Scene:
        return augment_scene(scene, 0 if settings.overfit else epoch, augmentation, run.seed, data.spec.target)

    batches = SceneBatches(train, size, run.seed, augment)
    subset = validation_subset(data)
    num_validated = len(subset.splits["val"])
    num_losses = min(VALIDATION_LOSS_IMAGES, num_validated)

    def losses(batch: list[Scene]) -> dict[str, Tensor]:
        return model.losses(*split_batch(batch))

    def validate(candidate: nn.Module) -> float:
        assert isinstance(candidate, DetectionNetwork)
        run.log(validation_loss=validation_loss(candidate, val, num_losses))
        return validation_score(training_data.iou_type, candidate, subset, run)

    is_validated = num_validated > 0 and not settings.overfit
    if is_validated:  # `validate` predicts a part of the images, and computes losses of some
        run.evaluation_cost *= len(val) / (num_validated + num_losses)
    fit_by_gradient(model, losses, batches, run, settings, validate=validate if is_validated else None)
    choose_threshold(training_data.iou_type, model, data, run)


def split_batch(batch: Sequence[Scene]) -> tuple[list[Tensor], list[GroundTruth]]:
    """Images and ground truths of a batch."""
    truths = []
    for scene in batch:
        assert isinstance(scene.truth, GroundTruth)
        truths.append(scene.truth)
    return [scene.image for scene in batch], truths


def validation_loss(model: DetectionNetwork, scenes: Scenes, max_images: int) -> float:
    """Mean loss over evenly spaced images of a split."""
    positions = evenly_spaced(scenes, max_images)
    totals = [sum(float(loss) for loss in model.losses(*split_batch([scenes.at(k)])).values()) for k in positions]
    return sum(totals) / len(totals)


def prepare_detector(model: DetectionNetwork, train: Scenes, value_range: tuple[float, float] | None, run: Run) -> None:
    """Fit input statistics and anchor sizes to the training split, unless they came with pretrained weights."""
    standardize = model.pictures.standardize
    if not standardize.is_fixed:
        known = run.once("standardize", lambda: input_statistics(standardize, train, value_range))
        standardize.load_state_dict(known)
    if standardize.deep:
        run.message(
            f"Pixel values are clipped to {float(standardize.low):g} … {float(standardize.high):g} (percentiles 0.1 "
            "and 99.9 of the training split)."
        )
    for anchors in (module for module in model.modules() if isinstance(module, Anchors)):
        if not anchors.is_fixed:
            sizes = run.once("anchors", partial(anchor_sizes, model, train, anchors))
            anchors.fit(sizes)


def evenly_spaced(scenes: Scenes, max_images: int = STATISTICS_IMAGES) -> list[int]:
    """Evenly spaced positions of at most `max_images` images."""
    count = min(max_images, len(scenes))
    positions: list[int] = torch.linspace(0, len(scenes) - 1, count).round().long().tolist()
    return positions


def input_statistics(
    standardize: Standardize, scenes: Scenes, value_range: tuple[float, float] | None
) -> dict[str, Any]:
    """Mean, standard deviation and value range of sampled pixels of sampled images."""
    samples = []
    for position in evenly_spaced(scenes):
        flat = scenes.image(int(scenes.ids[position])).flatten(1)  # (C, HW)
        samples.append(flat[:, :: max(1, flat.shape[1] // PIXELS_PER_IMAGE)])
    standardize.fit(torch.cat(samples, 1)[None].to(standardize.mean.device), value_range)
    return standardize.state_dict()


def anchor_sizes(model: DetectionNetwork, scenes: Scenes, anchors: Anchors) -> list[float]:
    """Anchor sizes fitted to the boxes of sampled training images."""
    boxes, count = training_boxes(model, scenes), len(anchors.cells)
    return octave_sizes(boxes, count) if len(anchors.scales) > 1 else quantile_sizes(boxes, count)


def training_boxes(model: DetectionNetwork, scenes: Scenes) -> Tensor:
    """Ground-truth boxes of sampled images, (N, 4) in pixels of the resized network input."""
    scaled = []
    for position in evenly_spaced(scenes):
        scene = scenes.at(position)
        assert isinstance(scene.truth, GroundTruth)
        height, width = scene.image.shape[1:]
        scale = model.pictures.size(height, width)[0] / height
        scaled.append((scene.truth.trainable.boxes * scale).cpu())
    boxes = torch.cat(scaled) if scaled else torch.zeros(0, 4)
    return boxes if len(boxes) else torch.tensor([[0.0, 0.0, 32.0, 32.0]])
