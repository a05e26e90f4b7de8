"""Which pixels of a box are the object's: the mask branch.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN"; lecture 003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from snellen.core.detections import Objects
from snellen.nn.detection.box_head import Finds, Sampled, rows_of
from snellen.nn.detection.image_batch import Batch
from snellen.nn.detection.roi_pooling import Pool


class Masks(nn.Module):
    """A small mask for every region and class.

    Args:
        pool: reads a region.
        head, predictor: torchvision's `MaskRCNNHeads` and `MaskRCNNPredictor`: (R, C, s, s) to (R, 1 + K, 2s, 2s).
        staged: what it learns stays in it; else its gradient goes on into the maps that the boxes are told from.
    """

    def __init__(self, pool: Pool, head: nn.Module, predictor: nn.Module, staged: bool = False) -> None:
        super().__init__()
        self.pool = pool
        self.head = head
        self.predictor = predictor
        self.staged = staged

    def learn(self, maps: Sequence[Tensor], batch: Batch, sampled: Sampled, truths: Sequence[Objects]) -> Tensor:
        """Binary cross-entropy of the mask of the true class. Only regions with an object take part."""
        if not len(sampled.regions):
            return sum((features.sum() for features in maps), start=batch.x.new_zeros(())) * 0
        if self.staged:
            maps = [features.detach() for features in maps]
        said = self.predictor(self.head(self.pool(maps, batch.x, sampled.regions))).float()  # (P, 1 + K, M, M)
        labels, goals = torch.empty_like(sampled.objects), []
        for k, truth in enumerate(truths):
            here = sampled.regions[:, 0] == k
            learned, of = truth.learned, sampled.objects[here]
            labels[here] = learned.labels[of] + 1
            assert learned.masks is not None
            boxes = own_pixels(sampled.regions[here, 1:], batch.ratios[k])
            goals.append(wanted(learned.masks, of, boxes, said.shape[-1], self.pool.aligned))
        own = said[torch.arange(len(said), device=said.device), labels]
        return binary_cross_entropy_with_logits(own, torch.cat(goals))

    def forward(self, maps: Sequence[Tensor], batch: Batch, finds: Finds) -> Tensor:
        """(B, D, M, M) how surely each part of a find's box is the object's."""
        count, per = finds.labels.shape
        if not torch.compiler.is_exporting() and not per:
            return finds.boxes.new_zeros(count, 0, 1, 1)
        said = self.predictor(self.head(self.pool(maps, batch.x, rows_of(finds.boxes)))).float()
        index = (finds.labels.reshape(-1, 1, 1, 1) + 1).expand(-1, 1, *said.shape[2:])
        sure: Tensor = said.gather(1, index).sigmoid()
        return sure.view(count, per, *said.shape[2:])


def own_pixels(boxes: Tensor, ratio: Tensor) -> Tensor:
    """(P, 4) boxes in pixels of the network to those of their picture; ratio: (2,) down and across."""
    down, across = ratio.unbind()
    return boxes / torch.stack([across, down, across, down])


def wanted(masks: Tensor, of: Tensor, boxes: Tensor, side: int, aligned: bool = True) -> Tensor:
    """The true mask of each box, as a grid of shares. Only what lies in a box is made float.

    Args:
        masks: (N, H, W) bool. of: (P,) which of them each box is of. boxes: (P, 4), pixels of the masks.
    Returns:
        (P, side, side) in 0 … 1.
    """
    from torchvision.ops import roi_align

    grids = [boxes.new_zeros(0, side, side)]
    for place, box, (x1, y1, x2, y2) in zip(of.tolist(), boxes, boxes.tolist(), strict=True):
        left, top = max(math.floor(x1) - 1, 0), max(math.floor(y1) - 1, 0)
        part = masks[place, top : math.ceil(y2) + 1, left : math.ceil(x2) + 1].to(boxes.dtype)
        roi = torch.cat([box.new_zeros(1), box - box.new_tensor([left, top, left, top])])[None]
        grids.append(roi_align(part[None, None], roi, (side, side), 1.0, aligned=aligned)[0])
    return torch.cat(grids)
