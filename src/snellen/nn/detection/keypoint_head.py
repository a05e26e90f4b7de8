"""Where the keypoints of an object lie: a map of each, over its box.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN", section 5; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from snellen.core.detections import Objects
from snellen.nn.detection.box_head import Finds, Sampled, rows_of
from snellen.nn.detection.image_batch import Batch
from snellen.nn.detection.roi_pooling import Pool


class Keypoints(nn.Module):
    """For every region and keypoint, at which of M x M places it lies.

    Args:
        pool: reads a region.
        head, predictor: torchvision's `KeypointRCNNHeads` and `KeypointRCNNPredictor`: (R, C, s, s) to (R, K, M, M).
        count: K.
    """

    def __init__(self, pool: Pool, head: nn.Module, predictor: nn.Module, count: int) -> None:
        super().__init__()
        self.count = count
        self.pool = pool
        self.head = head
        self.predictor = predictor

    def learn(self, maps: Sequence[Tensor], batch: Batch, sampled: Sampled, truths: Sequence[Objects]) -> Tensor:
        """Cross-entropy over the places of a map, for every labelled keypoint that lies in its region."""
        empty = sum((features.sum() for features in maps), start=batch.x.new_zeros(())) * 0
        if not len(sampled.regions):
            return empty
        said = self.predictor(self.head(self.pool(maps, batch.x, sampled.regions))).float()  # (P, K, M, M)
        points = said.new_zeros(len(said), said.shape[1], 3)
        for k, truth in enumerate(truths):
            here = sampled.regions[:, 0] == k
            known = truth.learned.keypoints
            assert known is not None
            points[here] = known[sampled.objects[here]]
        place, inside = places(points, sampled.regions[:, 1:], said.shape[-1])
        if not bool(inside.any()):
            return empty
        return cross_entropy(said.flatten(2)[inside], place[inside])

    def forward(self, maps: Sequence[Tensor], batch: Batch, finds: Finds) -> Tensor:
        """(B, D, K, 3) x, y in pixels of the batch, and how sure in 0 … 1."""
        count, per = finds.labels.shape
        regions = rows_of(finds.boxes)
        if not torch.compiler.is_exporting() and not per:
            return finds.boxes.new_zeros(count, 0, self.count, 3)
        said = self.predictor(self.head(self.pool(maps, batch.x, regions))).float()
        return told(said, regions[:, 1:]).view(count, per, said.shape[1], 3)


def places(points: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """In which cell of a grid over its box each keypoint lies.

    Args:
        points: (P, K, 3). boxes: (P, 4).
    Returns:
        (P, K) int64, row · side + column; and (P, K) bool, whether it is labelled and lies in the box.
    """
    first, last = boxes[:, None, :2], boxes[:, None, 2:]
    xy = points[..., :2]
    cell = ((xy - first) * (side / (last - first).clamp(min=1e-6))).floor().long()
    cell = torch.where(xy == last, side - 1, cell)
    inside = ((cell >= 0) & (cell < side)).all(2) & (points[..., 2] > 0)
    column, row = cell.clamp(0, side - 1).unbind(2)
    return row * side + column, inside


def told(maps: Tensor, boxes: Tensor) -> Tensor:
    """The surest place of each map, refined between its cells by the parabola through it and its neighbours.

    Args:
        maps: (P, K, M, M) logits. boxes: (P, 4).
    Returns:
        (P, K, 3) x, y, and the probability of the place.
    """
    side = maps.shape[-1]
    flat = maps.flatten(2)
    sure, index = flat.softmax(2).max(2)
    row, column = index // side, index % side

    def at(row: Tensor, column: Tensor) -> Tensor:
        place = row.clamp(0, side - 1) * side + column.clamp(0, side - 1)
        return flat.gather(2, place[:, :, None])[:, :, 0]

    def shift(before: Tensor, here: Tensor, after: Tensor) -> Tensor:
        bend = (2 * here - before - after).clamp(min=1e-6)
        return ((after - before) / (2 * bend)).clamp(-0.5, 0.5)

    here = at(row, column)
    x = column + 0.5 + shift(at(row, column - 1), here, at(row, column + 1))
    y = row + 0.5 + shift(at(row - 1, column), here, at(row + 1, column))
    size = (boxes[:, None, 2:] - boxes[:, None, :2]) / side  # (P, 1, 2)
    place = torch.stack([x, y], 2) * size + boxes[:, None, :2]
    return torch.cat([place, sure[:, :, None]], 2)
