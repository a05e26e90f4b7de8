"""Training of detectors: anchor sizes, losses, validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.core.detections import GroundTruth
from snellen.core.run import Run
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scene, Scenes
from snellen.detection.protocol import IoUType
from snellen.detection.score_threshold import choose_threshold, validation_score, validation_subset
from snellen.nn.detection.anchors import Anchors, octave_sizes, quantile_sizes
from snellen.nn.detection.detector import DetectionNetwork
from snellen.training.network_training import evenly_spaced, fit_network, standardize_inputs
from snellen.training.scene_split import SceneSplit
from snellen.training.settings import TrainingSettings

BATCH_SIZE = 4  # if the settings leave it open
STATISTICS_IMAGES = 200  # images for mean, deviation and anchor sizes
PIXELS_PER_IMAGE = 4096  # sampled for mean and deviation
VALIDATION_LOSS_IMAGES = 24  # images for the validation loss after each epoch; at most those of the score


class DetectionBatch(NamedTuple):
    """Images of any size, (C, H, W) each, with their ground truths."""

    images: list[Tensor]
    truths: list[GroundTruth]


class DetectionValidation(NamedTuple):
    """A dataset whose validation split is predicted after every epoch, and positions of images whose loss is logged."""

    subset: Dataset[Labelled]
    scenes: Scenes
    positions: list[int]


@dataclass(frozen=True)
class DetectionObjective:
    """Sum of the losses of a detector; the validation score is its AP. The validation loss is logged."""

    iou_type: IoUType
    run: Run

    def loss(self, model: DetectionNetwork, batch: DetectionBatch) -> Tensor:
        terms = list(model.losses(*batch).values())
        return torch.stack(terms).sum() if len(terms) > 1 else terms[0]

    def score(self, model: DetectionNetwork, validation: DetectionValidation) -> float:
        _, scenes, positions = validation
        losses = [sum(float(x) for x in model.losses(*collate([scenes.at(k)])).values()) for k in positions]
        self.run.log(validation_loss=sum(losses) / len(losses))
        return validation_score(self.iou_type, model, validation.subset, self.run)


def fit_detector(
    model: DetectionNetwork,
    iou_type: IoUType,
    data: Dataset[Labelled],
    run: Run,
    settings: TrainingSettings,
    augmentation: SceneAugment,
) -> None:
    """Train a detector: standardisation, anchor sizes, gradient descent (see `fit_network`), score threshold.

    Args:
        iou_type: boxes, masks or keypoints; its AP selects the best weights and the score threshold.
    """
    model.to(run.device)
    split = detection_split(data, run, augmentation)
    prepare_detector(model, split, data.value_range, run)
    subset, validation = validation_subset(data), None
    count = len(subset.splits["val"])
    if count and not settings.overfit:  # the score predicts a part of the images, and computes losses of some
        val = data.scenes("val", run.device)
        positions = evenly_spaced(len(val), min(VALIDATION_LOSS_IMAGES, count)).tolist()
        validation = DetectionValidation(subset, val, positions)
        run.evaluation_cost *= len(val) / (count + len(validation.positions))
    objective = DetectionObjective(iou_type, run)
    fit_network(model, objective, split, validation, run, settings, data.value_range)
    choose_threshold(iou_type, model, data, run)


def detection_split(data: Dataset[Labelled], run: Run, augmentation: SceneAugment) -> SceneSplit[DetectionBatch]:
    """The training images of a detector."""
    return SceneSplit(
        scenes=data.scenes("train", run.device),
        collate=collate,
        augmentation=augmentation,
        spec=data.spec,
        default_size=BATCH_SIZE,
        statistics_images=STATISTICS_IMAGES,
        statistics_pixels=PIXELS_PER_IMAGE,
    )


def collate(batch: Sequence[Scene]) -> DetectionBatch:
    """Images and ground truths of scenes."""
    truths = []
    for scene in batch:
        assert isinstance(scene.truth, GroundTruth)
        truths.append(scene.truth)
    return DetectionBatch([scene.image for scene in batch], truths)


def prepare_detector(
    model: DetectionNetwork, split: SceneSplit[Any], value_range: tuple[float, float] | None, run: Run
) -> None:
    """Fit input statistics and anchor sizes to the training split, unless they came with pretrained weights."""
    standardize_inputs(model, split.statistics, value_range, run)
    for anchors in (module for module in model.modules() if isinstance(module, Anchors)):
        if not anchors.is_fixed:
            sizes = run.once("anchors", partial(anchor_sizes, model, split.scenes, anchors))
            anchors.fit(sizes)


def anchor_sizes(model: DetectionNetwork, scenes: Scenes, anchors: Anchors) -> list[float]:
    """Anchor sizes fitted to the boxes of sampled training images."""
    boxes, count = training_boxes(model, scenes), len(anchors.cells)
    return octave_sizes(boxes, count) if len(anchors.scales) > 1 else quantile_sizes(boxes, count)


def training_boxes(model: DetectionNetwork, scenes: Scenes) -> Tensor:
    """Ground-truth boxes of sampled images, (N, 4) in pixels of the resized network input."""
    scaled = []
    for position in evenly_spaced(len(scenes), STATISTICS_IMAGES).tolist():
        scene = scenes.at(position)
        assert isinstance(scene.truth, GroundTruth)
        height, width = scene.image.shape[1:]
        scale = model.pictures.size(height, width)[0] / height
        scaled.append((scene.truth.trainable.boxes * scale).cpu())
    boxes = torch.cat(scaled) if scaled else torch.zeros(0, 4)
    return boxes if len(boxes) else torch.tensor([[0.0, 0.0, 32.0, 32.0]])
