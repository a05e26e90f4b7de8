"""Keypoint head of Keypoint R-CNN: a heatmap of each keypoint over the box.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN", section 5; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snellen.core.detections import GroundTruth
from snellen.nn.detection.box_head import BoxPredictions, PositiveRegions, with_image_index
from snellen.nn.detection.image_batch import ImageBatch
from snellen.nn.detection.losses import keypoint_loss
from snellen.nn.detection.roi_align import RoIPooling


class KeypointHead(nn.Module):
    """Keypoint head: for every region and keypoint, a heatmap of M x M cells.

    Args:
        pool: extracts the features of a region.
        head, predictor: torchvision's `KeypointRCNNHeads` and `KeypointRCNNPredictor`: (R, C, s, s) to (R, K, M, M).
        count: K.
    """

    def __init__(self, pool: RoIPooling, head: nn.Module, predictor: nn.Module, count: int) -> None:
        super().__init__()
        self.count = count
        self.pool = pool
        self.head = head
        self.predictor = predictor

    def loss(
        self, maps: Sequence[Tensor], batch: ImageBatch, sampled: PositiveRegions, truths: Sequence[GroundTruth]
    ) -> Tensor:
        """Cross-entropy over the cells of a heatmap, for every labelled keypoint inside its region."""
        zero = sum((features.sum() for features in maps), start=batch.x.new_zeros(())) * 0
        if not len(sampled.regions):
            return zero
        logits = self.predictor(self.head(self.pool(maps, batch.x, sampled.regions))).float()  # (P, K, M, M)
        points = logits.new_zeros(len(logits), logits.shape[1], 3)
        for k, truth in enumerate(truths):
            in_image = sampled.regions[:, 0] == k
            keypoints = truth.trainable.keypoints
            assert keypoints is not None
            points[in_image] = keypoints[sampled.objects[in_image]]
        targets, inside = heatmap_targets(points, sampled.regions[:, 1:], logits.shape[-1])
        if not bool(inside.any()):
            return zero
        return keypoint_loss(logits, inside, targets)

    def forward(self, maps: Sequence[Tensor], batch: ImageBatch, detections: BoxPredictions) -> Tensor:
        """Keypoints of the detections, (B, D, K, 3): x, y in pixels of the batch, and a score in 0 … 1."""
        count, per = detections.labels.shape
        regions = with_image_index(detections.boxes)
        if not torch.compiler.is_exporting() and not per:
            return detections.boxes.new_zeros(count, 0, self.count, 3)
        logits = self.predictor(self.head(self.pool(maps, batch.x, regions))).float()
        return decode_heatmaps(logits, regions[:, 1:]).view(count, per, logits.shape[1], 3)


def heatmap_targets(points: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Target cell of each keypoint in the heatmap over its box.

    Args:
        points: (P, K, 3). boxes: (P, 4).
    Returns:
        (P, K) int64, row · side + column; and (P, K) bool, whether the keypoint is labelled and inside the box.
    """
    first, last = boxes[:, None, :2], boxes[:, None, 2:]
    xy = points[..., :2]
    cell = ((xy - first) * (side / (last - first).clamp(min=1e-6))).floor().long()
    cell = torch.where(xy == last, side - 1, cell)
    inside = ((cell >= 0) & (cell < side)).all(2) & (points[..., 2] > 0)
    column, row = cell.clamp(0, side - 1).unbind(2)
    return row * side + column, inside


def decode_heatmaps(maps: Tensor, boxes: Tensor) -> Tensor:
    """Keypoints from heatmaps: the maximum, refined by the parabola through it and its neighbouring cells.

    Args:
        maps: (P, K, M, M) logits. boxes: (P, 4).
    Returns:
        (P, K, 3) x, y, and the probability of the cell.
    """
    side = maps.shape[-1]
    flat = maps.flatten(2)
    score, index = flat.softmax(2).max(2)
    row, column = index // side, index % side

    def at(row: Tensor, column: Tensor) -> Tensor:
        cell = row.clamp(0, side - 1) * side + column.clamp(0, side - 1)
        return flat.gather(2, cell[:, :, None])[:, :, 0]

    def offset(before: Tensor, peak: Tensor, after: Tensor) -> Tensor:
        curvature = (2 * peak - before - after).clamp(min=1e-6)
        return ((after - before) / (2 * curvature)).clamp(-0.5, 0.5)

    peak = at(row, column)
    x = column + 0.5 + offset(at(row, column - 1), peak, at(row, column + 1))
    y = row + 0.5 + offset(at(row - 1, column), peak, at(row + 1, column))
    size = (boxes[:, None, 2:] - boxes[:, None, :2]) / side  # (P, 1, 2)
    position = torch.stack([x, y], 2) * size + boxes[:, None, :2]
    return torch.cat([position, score[:, :, None]], 2)
