"""Mask head of Mask R-CNN: a mask of the object in every box.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN"; lecture 003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snellen.core.detections import GroundTruth
from snellen.nn.detection.box_head import BoxPredictions, PositiveRegions, with_image_index
from snellen.nn.detection.image_batch import ImageBatch
from snellen.nn.detection.losses import mask_loss
from snellen.nn.detection.roi_align import RoIPooling


class MaskHead(nn.Module):
    """Mask head: a small mask for every region and class.

    Args:
        pool: extracts the features of a region.
        head, predictor: torchvision's `MaskRCNNHeads` and `MaskRCNNPredictor`: (R, C, s, s) to (R, 1 + K, 2s, 2s).
        staged: train this head only, without gradient into the feature maps.
    """

    def __init__(self, pool: RoIPooling, head: nn.Module, predictor: nn.Module, staged: bool = False) -> None:
        super().__init__()
        self.pool = pool
        self.head = head
        self.predictor = predictor
        self.staged = staged

    def loss(
        self, maps: Sequence[Tensor], batch: ImageBatch, sampled: PositiveRegions, truths: Sequence[GroundTruth]
    ) -> Tensor:
        """Binary cross-entropy of the mask of the true class, over positive regions."""
        if not len(sampled.regions):
            return sum((features.sum() for features in maps), start=batch.x.new_zeros(())) * 0
        if self.staged:
            maps = [features.detach() for features in maps]
        logits = self.predictor(self.head(self.pool(maps, batch.x, sampled.regions))).float()  # (P, 1 + K, M, M)
        labels, targets = torch.empty_like(sampled.objects), []
        for k, truth in enumerate(truths):
            in_image = sampled.regions[:, 0] == k
            trainable, objects = truth.trainable, sampled.objects[in_image]
            labels[in_image] = trainable.labels[objects] + 1
            assert trainable.masks is not None
            boxes = boxes_in_image_pixels(sampled.regions[in_image, 1:], batch.ratios[k])
            targets.append(mask_targets(trainable.masks, objects, boxes, logits.shape[-1], self.pool.aligned))
        return mask_loss(logits, labels, torch.cat(targets))

    def forward(self, maps: Sequence[Tensor], batch: ImageBatch, detections: BoxPredictions) -> Tensor:
        """Masks of the detections, (B, D, M, M): probability that each part of the box belongs to the object."""
        count, per = detections.labels.shape
        if not torch.compiler.is_exporting() and not per:
            return detections.boxes.new_zeros(count, 0, 1, 1)
        logits = self.predictor(self.head(self.pool(maps, batch.x, with_image_index(detections.boxes)))).float()
        index = (detections.labels.reshape(-1, 1, 1, 1) + 1).expand(-1, 1, *logits.shape[2:])
        probability: Tensor = logits.gather(1, index).sigmoid()
        return probability.view(count, per, *logits.shape[2:])


def boxes_in_image_pixels(boxes: Tensor, ratio: Tensor) -> Tensor:
    """(P, 4) boxes from pixels of the network to pixels of their image; ratio: (2,) vertical and horizontal."""
    scale_y, scale_x = ratio.unbind()
    return boxes / torch.stack([scale_x, scale_y, scale_x, scale_y])


def mask_targets(masks: Tensor, objects: Tensor, boxes: Tensor, side: int, aligned: bool = True) -> Tensor:
    """Target mask of each box: fraction of each cell covered by the object. Only pixels in a box are made float.

    Args:
        masks: (N, H, W) bool. objects: (P,) mask index of each box. boxes: (P, 4), pixels of the masks.
    Returns:
        (P, side, side) in 0 … 1.
    """
    from torchvision.ops import roi_align

    grids = [boxes.new_zeros(0, side, side)]
    for index, box, (x1, y1, x2, y2) in zip(objects.tolist(), boxes, boxes.tolist(), strict=True):
        left, top = max(math.floor(x1) - 1, 0), max(math.floor(y1) - 1, 0)
        part = masks[index, top : math.ceil(y2) + 1, left : math.ceil(x2) + 1].to(boxes.dtype)
        roi = torch.cat([box.new_zeros(1), box - box.new_tensor([left, top, left, top])])[None]
        grids.append(roi_align(part[None, None], roi, (side, side), 1.0, aligned=aligned)[0])
    return torch.cat(grids)
