"""Box head of a two-stage detector: class and box of every region.

Source: Girshick 2015, "Fast R-CNN"; Ren, He, Girshick and Sun 2015; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snellen.core.detections import GroundTruth
from snellen.nn.detection.boxes import REGION_WEIGHTS, clip_boxes, decode_boxes, encode_boxes, nms_mask
from snellen.nn.detection.image_batch import ImageBatch
from snellen.nn.detection.losses import box_losses
from snellen.nn.detection.rpn import REGION_SAMPLING, BoxSampling, match_and_sample

PRE_NMS_CANDIDATES = 1000  # pairs of region and class per image, before non-maximum suppression


class BoxPredictions(NamedTuple):
    """Detections of a batch of images, in pixels of the network, highest score first.

    boxes: (B, D, 4). scores: (B, D), 0 for padding. labels: (B, D) int64.
    masks: (B, D, M, M), probability that each part of the box belongs to the object; or None.
    keypoints: (B, D, K, 3) x, y and score; or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None


class PositiveRegions(NamedTuple):
    """Positive regions of all images, on which the mask and keypoint heads are trained.

    regions: (P, 5): image index and box. objects: (P,) int64, index among the trainable objects of that image.
    """

    regions: Tensor
    objects: Tensor


@dataclass(frozen=True, kw_only=True)
class DetectionFilter:
    """Post-processing: score threshold, IoU threshold of non-maximum suppression per class, maximum number."""

    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100


class BoxHead(nn.Module):
    """Box head: class and box of every region.

    Args:
        pool: extracts the features of a region: `RoIPooling` or `RegionWarping`.
        head: (R, C, size, size) to (R, F).
        predictor: torchvision's `FastRCNNPredictor`: (R, F) to (R, 1 + K) logits, of background first, and
            (R, 4 (1 + K)) offsets.
        sampling: of regions for the loss.
        detection_filter: post-processing of the detections.
    """

    def __init__(
        self,
        pool: nn.Module,
        head: nn.Module,
        predictor: nn.Module,
        sampling: BoxSampling = REGION_SAMPLING,
        detection_filter: DetectionFilter = DetectionFilter(),
    ) -> None:
        super().__init__()
        self.pool = pool
        self.head = head
        self.predictor = predictor
        self.sampling = sampling
        self.detection_filter = detection_filter

    def predict(self, maps: Sequence[Tensor], x: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, 1 + K) and offsets (R, 1 + K, 4) of (R, 5) regions, in float32."""
        logits, deltas = self.predictor(self.head(self.pool(maps, x, regions)))
        return logits.float(), deltas.float().view(regions.shape[0], -1, 4)

    def losses(
        self, maps: Sequence[Tensor], batch: ImageBatch, proposals: Sequence[Tensor], truths: Sequence[GroundTruth]
    ) -> tuple[dict[str, Tensor], PositiveRegions]:
        """Cross-entropy of the class, smooth L1 distance of the offsets of the true class, and the positive regions.

        Args:
            proposals: (P, 4) of each image; the true boxes are added to them.
        """
        regions, classes, matched_objects, targets = [], [], [], []
        for k, (boxes, truth) in enumerate(zip(proposals, truths, strict=True)):
            trainable = truth.trainable
            boxes = torch.cat([boxes, trainable.boxes])
            sample = match_and_sample(boxes, truth, self.sampling)
            index = sample.objects.clamp(min=0)
            sampled = boxes[sample.indices]
            positive = sample.objects >= 0
            label = trainable.labels[index] + 1 if len(trainable.labels) else torch.zeros_like(index)
            target = trainable.boxes[index] if len(trainable.boxes) else sampled
            regions.append(torch.cat([torch.full_like(sampled[:, :1], k), sampled], 1))
            classes.append(torch.where(positive, label, 0))
            matched_objects.append(sample.objects)
            targets.append(encode_boxes(target[positive], sampled[positive], REGION_WEIGHTS))
        region, label, objects = torch.cat(regions), torch.cat(classes), torch.cat(matched_objects)
        logits, deltas = self.predict(maps, batch.x, region)
        positives = torch.nonzero(objects >= 0)[:, 0]
        losses = box_losses(logits, deltas, label, positives, torch.cat(targets))
        return losses, PositiveRegions(region[positives], objects[positives])

    def forward(self, maps: Sequence[Tensor], batch: ImageBatch, proposals: Tensor, scores: Tensor) -> BoxPredictions:
        """Detections in (B, P, 4) proposals; their scores (B, P) are negative for padding."""
        count, per = scores.shape
        logits, deltas = self.predict(maps, batch.x, with_image_index(proposals))
        probabilities = logits.softmax(1)[:, 1:].masked_fill((scores < 0).reshape(-1, 1), 0.0)  # (B P, K)
        classes = probabilities.shape[1]
        best, index = probabilities.view(count, per * classes).topk(min(PRE_NMS_CANDIDATES, per * classes), dim=1)
        region, label = index // classes, index % classes
        offsets = deltas[:, 1:].reshape(count, per * classes, 4).gather(1, index[:, :, None].expand(-1, -1, 4))
        boxes = decode_boxes(offsets, proposals.gather(1, region[:, :, None].expand(-1, -1, 4)), REGION_WEIGHTS)
        return filter_detections(clip_boxes(boxes, batch.sizes), best, label, classes, self.detection_filter)


def filter_detections(
    boxes: Tensor, scores: Tensor, labels: Tensor, classes: int, detection_filter: DetectionFilter
) -> BoxPredictions:
    """Detections among (B, N) candidates, by score threshold and non-maximum suppression per class."""
    count = scores.shape[0]
    too_thin = ((boxes[..., 2:] - boxes[..., :2]) < 1e-2).any(2)
    scores = scores.masked_fill(too_thin | (scores <= detection_filter.score_threshold), 0.0)
    group_offset = torch.arange(count, device=boxes.device)[:, None] * classes
    if torch.compiler.is_exporting():
        selected = nms_mask(
            boxes.reshape(-1, 4),
            scores.reshape(-1),
            (labels + group_offset).reshape(-1),
            detection_filter.nms_threshold,
        )
    else:
        selected = torch.zeros_like(scores, dtype=torch.bool).view(-1)
        candidates = torch.nonzero(scores.view(-1))[:, 0]
        selected[candidates] = nms_mask(
            boxes.view(-1, 4)[candidates],
            scores.view(-1)[candidates],
            (labels + group_offset).view(-1)[candidates],
            detection_filter.nms_threshold,
        )
    scores = scores.masked_fill(~selected.view(scores.shape), 0.0)
    best, index = scores.topk(min(detection_filter.max_detections, scores.shape[1]), dim=1)
    if not torch.compiler.is_exporting():  # drop columns that are padding in all images
        longest = int((best > 0).sum(1).max())
        best, index = best[:, :longest], index[:, :longest]
    return BoxPredictions(boxes.gather(1, index[:, :, None].expand(-1, -1, 4)), best, labels.gather(1, index))


def with_image_index(boxes: Tensor) -> Tensor:
    """Boxes (B, N, 4) to regions (B N, 5): image index and box."""
    image = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    return torch.cat([image[:, None, None].expand(-1, boxes.shape[1], 1), boxes], 2).reshape(-1, 5)
