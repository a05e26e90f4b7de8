"""One-stage detectors: RetinaNet, FCOS and SSDLite, with torchvision's heads.

Source: Lin, Goyal, Girshick, He and Dollár 2017, "Focal loss for dense object detection"; Tian, Shen, Chen and He 2019,
"FCOS"; Liu et al. 2016, "SSD"; Howard et al. 2019, "Searching for MobileNetV3".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snellen.core.detections import GroundTruth
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.box_head import BoxPredictions, DetectionFilter, filter_detections
from snellen.nn.detection.boxes import ANCHOR_WEIGHTS, REGION_WEIGHTS, clip_boxes, decode_boxes, top_k
from snellen.nn.detection.image_batch import ImageBatch

OneStageKind = Literal["retinanet", "fcos", "ssdlite"]

MAX_PER_MAP = 1000  # candidates, pairs of anchor and class, per feature map
MAX_PER_CLASS = 300  # candidates of SSD per class
DETECTION_FILTERS: dict[OneStageKind, DetectionFilter] = {
    "retinanet": DetectionFilter(),
    "fcos": DetectionFilter(nms_threshold=0.6),
    "ssdlite": DetectionFilter(score_threshold=0.001, nms_threshold=0.55),
}  # as published


class OneStageDetector(nn.Module):
    """One-stage detector: class and box at every anchor.

    Args:
        kind: architecture, with its head and losses.
        net: torchvision's `RetinaNet`, `FCOS` or `SSD`: its backbone, head and losses are used.
        anchors: anchors of every feature map; None: those of `net`.
    """

    def __init__(self, kind: OneStageKind, net: Any, anchors: Anchors | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.backbone = net.backbone
        self.head = net.head
        self.anchors = anchors
        self.detection_filter = DETECTION_FILTERS[kind]
        self._net = (net,)  # in a tuple, so that it is no submodule: backbone and head belong to this module

    def losses(self, batch: ImageBatch, truths: Sequence[GroundTruth]) -> dict[str, Tensor]:
        """Focal loss or cross-entropy of the class, and box regression loss at positive anchors."""
        from torchvision.ops import box_iou

        net: Any = self._net[0]
        if self.kind == "ssdlite" and len(truths) == 1:
            # Batch normalisation of the last map, a single cell, needs two images.
            batch, truths = ImageBatch(*(torch.cat([part, part]) for part in batch)), [*truths, *truths]
        maps = list(self.backbone(batch.x).values())
        outputs = {name: tensor.float() for name, tensor in self.head(maps).items()}
        anchors_per_map = self.anchors_at(maps, batch)
        anchors = [torch.cat(anchors_per_map)] * len(truths)
        first_class = 1 if self.kind == "ssdlite" else 0  # SSD has a background class
        targets = [{"boxes": truth.trainable.boxes, "labels": truth.trainable.labels + first_class} for truth in truths]
        if self.kind == "fcos":
            losses = net.compute_loss(targets, outputs, anchors, [len(boxes) for boxes in anchors_per_map])
        elif self.kind == "retinanet":
            losses = net.compute_loss(targets, outputs, anchors)
        else:
            background = torch.full((len(anchors[0]),), -1, device=batch.x.device)
            matches = [
                net.proposal_matcher(box_iou(target["boxes"], anchor)) if len(target["boxes"]) else background
                for target, anchor in zip(targets, anchors, strict=True)
            ]
            losses = net.compute_loss(targets, outputs, anchors, matches)
        return {LOSS_NAMES[name]: loss for name, loss in losses.items()}

    def anchors_at(self, maps: Sequence[Tensor], batch: ImageBatch) -> list[Tensor]:
        """Anchors of each feature map."""
        if self.anchors is not None:
            return self.anchors(maps, batch.x)  # type: ignore[no-any-return]
        grids = [features.shape[-2:] for features in maps]
        generator: Any = self._net[0].anchor_generator
        boxes: Tensor = generator._grid_default_boxes(grids, batch.x.shape[-2:]).to(batch.x.device)
        size = torch.stack([boxes.new_full((), batch.x.shape[k]) for k in (3, 2, 3, 2)])
        x, y, w, h = boxes.unbind(1)
        return [torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) * size]

    def forward(self, batch: ImageBatch) -> BoxPredictions:
        maps = list(self.backbone(batch.x).values())
        outputs = {name: tensor.float() for name, tensor in self.head(maps).items()}
        anchors_per_map = self.anchors_at(maps, batch)
        anchors = torch.cat(anchors_per_map)
        scores = (
            outputs["cls_logits"].softmax(2)[..., 1:] if self.kind == "ssdlite" else outputs["cls_logits"].sigmoid()
        )
        if self.kind == "fcos":
            scores = (scores * outputs["bbox_ctrness"].sigmoid()).sqrt()
        if self.kind == "ssdlite":
            best, index, label = top_per_class(scores)
        else:
            best, index, label = top_per_map(scores, [boxes.shape[0] for boxes in anchors_per_map])
        offsets = outputs["bbox_regression"].gather(1, index[:, :, None].expand(-1, -1, 4))
        boxes = (
            decode_side_distances(offsets, anchors[index])
            if self.kind == "fcos"
            else decode_boxes(offsets, anchors[index], REGION_WEIGHTS if self.kind == "ssdlite" else ANCHOR_WEIGHTS)
        )
        return filter_detections(clip_boxes(boxes, batch.sizes), best, label, scores.shape[2], self.detection_filter)


def top_per_map(scores: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Highest-scoring pairs of anchor and class of each feature map.

    Args:
        scores: (B, P, K), in 0 … 1. lengths: anchors of each feature map.
    Returns:
        (B, N) scores, anchor indices and classes.
    """
    candidates, start, classes = [], 0, scores.shape[2]
    for length in lengths:
        best, index = top_k(scores.narrow(1, start, length).flatten(1), MAX_PER_MAP)
        candidates.append((best, index // classes + start, index % classes))
        start += length
    best, index, label = (torch.cat(part, 1) for part in zip(*candidates, strict=True))
    return best, index, label


def top_per_class(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Highest-scoring anchors of each class: (B, P, K) to (B, N) scores, anchor indices and classes."""
    count, _, classes = scores.shape
    best, index = top_k(scores.transpose(1, 2).flatten(0, 1), MAX_PER_CLASS)
    best, index = best.view(count, classes, -1), index.view(count, classes, -1)  # (B, K, n)
    label = torch.arange(classes, device=scores.device)[:, None].expand_as(index)
    return best.flatten(1), index.flatten(1), label.flatten(1)


LOSS_NAMES = {"classification": "class", "bbox_regression": "box", "bbox_ctrness": "centre"}


def decode_side_distances(sides: Tensor, anchors: Tensor) -> Tensor:
    """Boxes from FCOS's (..., 4) distances of left, top, right and bottom from the anchor centre, in anchor sizes."""
    first, last = anchors[..., :2], anchors[..., 2:]
    centre, size = (first + last) / 2, last - first
    return torch.cat([centre - sides[..., :2] * size, centre + sides[..., 2:] * size], -1)
