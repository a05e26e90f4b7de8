"""Baseline detector: predicts the typical boxes of the training set, whatever the image shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.detections import Detections, GroundTruth
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Task
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.evaluation import target_of
from snellen.detection.protocol import MAX_DETECTIONS, IoUType
from snellen.detection.score_threshold import choose_threshold, subsample
from snellen.nn.detection.mask_pasting import paste_masks

MAX_IMAGES = 1000  # training images whose boxes are clustered
MASK_SIZE = 28  # side of a mean mask
BOXES_PER_CLUSTER = 4  # on average; a single box is not typical of anything
IOU_THRESHOLD = 0.5  # from which a typical box matches an object

LabelledSize = tuple[GroundTruth, Tensor]  # ground truth of an image, and its (2,) width and height


@settings
class BaselineDetectorSettings:
    """The baseline detector has no settings."""


class TypicalBoxes(nn.Module):
    """The same boxes in every image, in fractions of its width and height, each scored by its hit rate.

    Args:
        classes, keypoints: numbers of classes and of keypoints per object.
        masks: whether to predict a mean mask for each class.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    threshold: Tensor
    masks: Tensor
    pose: Tensor

    def __init__(self, classes: int, masks: bool, keypoints: int) -> None:
        super().__init__()
        self.with_masks = masks
        self.register_buffer("boxes", torch.zeros(MAX_DETECTIONS, 4))
        self.register_buffer("scores", torch.zeros(MAX_DETECTIONS))
        self.register_buffer("labels", torch.zeros(MAX_DETECTIONS, dtype=torch.int64))
        self.register_buffer("threshold", torch.tensor(0.5))
        self.register_buffer(
            "masks", torch.zeros(classes, MASK_SIZE, MASK_SIZE) if masks else torch.zeros(0, MASK_SIZE, MASK_SIZE)
        )
        self.register_buffer("pose", torch.zeros(classes, keypoints, 2))  # in fractions of the box

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        return [self._scaled_to(*image.shape[-2:]) for image in images]

    def detect_padded(self, x: Tensor) -> dict[str, Tensor]:
        """Detections of (B, C, H, W) as padded tensors, with masks relative to their boxes; see `PaddedDetector`."""
        size = torch.scalar_tensor(x.shape[3]), torch.scalar_tensor(x.shape[2])
        boxes = self.boxes * torch.stack(size * 2).to(x.device)
        predictions = {"boxes": boxes, "scores": self.scores, "labels": self.labels, "count": (self.scores > 0).sum()}
        if self.with_masks:
            predictions["masks"] = self.masks[self.labels] * (self.scores > 0)[:, None, None]
        if self.pose.shape[1]:
            corner, side = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
            points = corner + self.pose[self.labels] * side * (self.scores > 0)[:, None, None]
            predictions["keypoints"] = torch.cat([points, self.scores[:, None, None].expand(-1, points.shape[1], 1)], 2)
        return {name: value.expand(x.shape[0], *value.shape) for name, value in predictions.items()}

    def _scaled_to(self, height: int, width: int) -> Detections:
        used = self.scores > 0
        scores, labels = self.scores[used], self.labels[used]
        boxes = self.boxes[used] * self.boxes.new_tensor([width, height, width, height])  # (D, 4)
        masks = paste_masks(self.masks[labels], boxes, (height, width)) if self.with_masks else None
        points = None
        if self.pose.shape[1]:
            corner, side = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
            points = torch.cat(
                [corner + self.pose[labels] * side, scores[:, None, None].expand(-1, self.pose.shape[1], 1)], 2
            )
        return Detections(boxes, scores, labels, masks, points)


def learner(task: Task[Dataset[Labelled], Any], iou_types: Sequence[IoUType]) -> Learner[Any, Any, TypicalBoxes]:
    """The baseline of a task that is evaluated by these IoU types, the first of which gives the headline metric."""
    return Learner[BaselineDetectorSettings, Dataset[Labelled], TypicalBoxes](
        name="baseline",
        summary="Constant baseline: k-means centres of the training boxes, the same in every image.",
        source="k-means clustering of the training boxes",
        task=task,
        accepts=frozenset({"image"}),
        settings=BaselineDetectorSettings,
        build=lambda c, spec: build(iou_types, spec),
        fit=lambda c, data, model, run: fit(iou_types[0], data, model, run),
    )


def build(iou_types: Sequence[IoUType], spec: Spec) -> TypicalBoxes:
    """Build the unfitted baseline for a task."""
    target = target_of(spec)
    return TypicalBoxes(
        len(target.names), "masks" in iou_types, len(target.keypoints) if "keypoints" in iou_types else 0
    )


def fit(iou_type: IoUType, data: Dataset[Labelled], model: TypicalBoxes, run: Run) -> None:
    """Fit the typical boxes: k-means centres of the boxes of each class, scored by their hit rate.

    The 100 boxes are divided among the classes in proportion to their objects, at least one for each class.
    """
    samples = list(_objects_and_sizes(data))
    target = target_of(data.spec)
    boxes = torch.cat([objects.boxes / size.repeat(2) for objects, size in samples])  # (M, 4) in fractions
    labels = torch.cat([objects.labels for objects, _ in samples])
    centres = [
        (centre, label)
        for label, max_clusters in enumerate(_clusters_per_class(labels, target))
        if max_clusters
        for centre in _cluster_centres(boxes[labels == label], max_clusters)
    ]
    if centres:
        typical = torch.stack([centre for centre, _ in centres])
        typical_labels = torch.tensor([label for _, label in centres])
        scores = _hit_rates(typical, typical_labels, samples)
        order = torch.argsort(scores, descending=True, stable=True)[:MAX_DETECTIONS]
        model.boxes[: len(order)] = typical[order]
        model.labels[: len(order)], model.scores[: len(order)] = typical_labels[order], scores[order]
    _fit_masks_and_poses(model, samples)
    model.to(run.device)
    choose_threshold(iou_type, model, data, run)


def _objects_and_sizes(data: Dataset[Labelled]) -> Iterator[LabelledSize]:
    for scene in subsample(data, "train", MAX_IMAGES).scenes("train").in_order():
        assert isinstance(scene.truth, GroundTruth)
        height, width = scene.image.shape[-2:]
        yield scene.truth.trainable, torch.tensor([width, height])


def _clusters_per_class(labels: Tensor, target: Boxes) -> list[int]:
    """Number of typical boxes of each class."""
    counts = torch.bincount(labels, minlength=len(target.names)).double()
    return [max(1, int(MAX_DETECTIONS * count / counts.sum())) if count else 0 for count in counts.tolist()]


def _cluster_centres(boxes: Tensor, max_clusters: int) -> Tensor:
    """(k, 4) k-means centres of boxes, k ≤ `max_clusters`, with `BOXES_PER_CLUSTER` boxes each on average."""
    from sklearn.cluster import KMeans

    count = min(max_clusters, -(-len(boxes) // BOXES_PER_CLUSTER), len(torch.unique(boxes, dim=0)))
    clusters = KMeans(count, n_init=1, random_state=0).fit(boxes.double().numpy())
    return torch.from_numpy(clusters.cluster_centers_).float()


def _hit_rates(boxes: Tensor, labels: Tensor, samples: Sequence[LabelledSize]) -> Tensor:
    """(k,) fraction of images in which a typical box matches an object of its class."""
    hits = torch.zeros(len(boxes))
    for objects, size in samples:
        true = (objects.boxes / size.repeat(2))[None]  # (1, n, 4)
        sides = torch.minimum(boxes[:, None, 2:], true[..., 2:]) - torch.maximum(boxes[:, None, :2], true[..., :2])
        intersection = sides.clamp(min=0).prod(-1)  # (k, n)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None] + (true[..., 2:] - true[..., :2]).prod(-1)
        is_hit = (intersection >= IOU_THRESHOLD * (areas - intersection)) & (labels[:, None] == objects.labels)
        hits += is_hit.any(1)
    return (hits + 0.5) / (len(samples) + 1)


def _fit_masks_and_poses(model: TypicalBoxes, samples: Sequence[LabelledSize]) -> None:
    """Set the mean mask and the mean pose of each class, relative to the box."""
    masks, count = torch.zeros_like(model.masks), torch.zeros(len(model.pose))
    points, num_labelled = torch.zeros_like(model.pose), torch.zeros(model.pose.shape[:2])
    for objects, _ in samples:
        for k, label in enumerate(objects.labels.tolist()):
            count[label] += 1
            if model.with_masks and objects.masks is not None:
                masks[label] += _resampled_mask(objects.masks[k], objects.boxes[k])
            if model.pose.shape[1] and objects.keypoints is not None:
                labelled = objects.keypoints[k, :, 2] > 0
                corner, end = objects.boxes[k].view(2, 2).unbind(0)
                relative = (objects.keypoints[k, :, :2] - corner) / (end - corner)
                points[label] += torch.where(labelled[:, None], relative, 0)
                num_labelled[label] += labelled
    if model.with_masks:
        model.masks.copy_(masks / count.clamp(min=1)[:, None, None])
    model.pose.copy_(torch.where(num_labelled[..., None] > 0, points / num_labelled.clamp(min=1)[..., None], 0.5))


def _resampled_mask(mask: Tensor, box: Tensor) -> Tensor:
    """(MASK_SIZE, MASK_SIZE) mask sampled on a regular grid over its box, zeros and ones."""
    step = (torch.arange(MASK_SIZE) + 0.5) / MASK_SIZE
    rows, columns = (
        ((start + step * (end - start)).long().clamp(0, size - 1)).numpy()
        for start, end, size in ((box[1], box[3], mask.shape[0]), (box[0], box[2], mask.shape[1]))
    )
    return mask[np.ix_(rows, columns)].float()
