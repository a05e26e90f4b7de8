"""Detectors that answer at every place of every map at once: RetinaNet, FCOS and SSDLite, with torchvision's heads.

Source: Lin, Goyal, Girshick, He and Dollár 2017, "Focal loss for dense object detection"; Tian, Shen, Chen and He 2019,
"FCOS"; Liu et al. 2016, "SSD"; Howard et al. 2019, "Searching for MobileNetV3".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snellen.core.detections import Objects
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.box_head import Choice, Finds, kept
from snellen.nn.detection.boxes import OF_ANCHORS, OF_REGIONS, clipped, decoded, largest
from snellen.nn.detection.image_batch import Batch

Kind = Literal["retinanet", "fcos", "ssdlite"]

OF_A_MAP = 1000  # pairs of place and class that are looked at
OF_A_CLASS = 300  # places that SSD looks at
CHOICES: dict[Kind, Choice] = {
    "retinanet": Choice(),
    "fcos": Choice(overlap=0.6),
    "ssdlite": Choice(least=0.001, overlap=0.55),
}  # as published


class OneStage(nn.Module):
    """Class and box at every anchor.

    Args:
        kind: whose head and losses it has.
        net: torchvision's `RetinaNet`, `FCOS` or `SSD`: its backbone, head and losses are used.
        anchors: at every place of every map; None: those of `net`.
    """

    def __init__(self, kind: Kind, net: Any, anchors: Anchors | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.backbone = net.backbone
        self.head = net.head
        self.anchors = anchors
        self.choice = CHOICES[kind]
        self._net = (net,)  # not a module of ours: it holds the same parts, and what learns lies in them

    def losses(self, batch: Batch, truths: Sequence[Objects]) -> dict[str, Tensor]:
        """Focal loss or cross-entropy of the class, and the distance of the box, at anchors that have an object."""
        from torchvision.ops import box_iou

        net: Any = self._net[0]
        if self.kind == "ssdlite" and len(truths) == 1:  # its last map is one cell, which normalises over two pictures
            batch, truths = Batch(*(torch.cat([part, part]) for part in batch)), [*truths, *truths]
        maps = list(self.backbone(batch.x).values())
        said = {name: tensor.float() for name, tensor in self.head(maps).items()}
        each = self.at(maps, batch)
        anchors = [torch.cat(each)] * len(truths)
        first = 1 if self.kind == "ssdlite" else 0  # SSD has a class for background
        targets = [{"boxes": one.learned.boxes, "labels": one.learned.labels + first} for one in truths]
        if self.kind == "fcos":
            losses = net.compute_loss(targets, said, anchors, [len(one) for one in each])
        elif self.kind == "retinanet":
            losses = net.compute_loss(targets, said, anchors)
        else:
            none = torch.full((len(anchors[0]),), -1, device=batch.x.device)
            match = [
                net.proposal_matcher(box_iou(target["boxes"], anchor)) if len(target["boxes"]) else none
                for target, anchor in zip(targets, anchors, strict=True)
            ]
            losses = net.compute_loss(targets, said, anchors, match)
        return {WORDS[name]: loss for name, loss in losses.items()}

    def at(self, maps: Sequence[Tensor], batch: Batch) -> list[Tensor]:
        """The anchors of each map."""
        if self.anchors is not None:
            return self.anchors(maps, batch.x)  # type: ignore[no-any-return]
        grids = [features.shape[-2:] for features in maps]
        made: Any = self._net[0].anchor_generator
        boxes: Tensor = made._grid_default_boxes(grids, batch.x.shape[-2:]).to(batch.x.device)
        size = torch.stack([boxes.new_full((), batch.x.shape[k]) for k in (3, 2, 3, 2)])
        x, y, w, h = boxes.unbind(1)
        return [torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) * size]

    def forward(self, batch: Batch) -> Finds:
        maps = list(self.backbone(batch.x).values())
        said = {name: tensor.float() for name, tensor in self.head(maps).items()}
        each = self.at(maps, batch)
        anchors = torch.cat(each)
        shares = said["cls_logits"].softmax(2)[..., 1:] if self.kind == "ssdlite" else said["cls_logits"].sigmoid()
        if self.kind == "fcos":
            shares = (shares * said["bbox_ctrness"].sigmoid()).sqrt()
        if self.kind == "ssdlite":
            best, place, label = of_classes(shares)
        else:
            best, place, label = of_maps(shares, [one.shape[0] for one in each])
        told = said["bbox_regression"].gather(1, place[:, :, None].expand(-1, -1, 4))
        boxes = (
            decoded_from_sides(told, anchors[place])
            if self.kind == "fcos"
            else decoded(told, anchors[place], OF_REGIONS if self.kind == "ssdlite" else OF_ANCHORS)
        )
        return kept(clipped(boxes, batch.sizes), best, label, shares.shape[2], self.choice)


def of_maps(shares: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The surest pairs of place and class of each map.

    Args:
        shares: (B, P, K), in 0 … 1. lengths: places of each map.
    Returns:
        (B, N) scores, places and classes.
    """
    found, start, classes = [], 0, shares.shape[2]
    for length in lengths:
        best, index = largest(shares.narrow(1, start, length).flatten(1), OF_A_MAP)
        found.append((best, index // classes + start, index % classes))
        start += length
    best, place, label = (torch.cat(part, 1) for part in zip(*found, strict=True))
    return best, place, label


def of_classes(shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The surest places of each class: (B, P, K) to (B, N) scores, places and classes."""
    count, _, classes = shares.shape
    best, place = largest(shares.transpose(1, 2).flatten(0, 1), OF_A_CLASS)
    best, place = best.view(count, classes, -1), place.view(count, classes, -1)  # (B, K, n)
    label = torch.arange(classes, device=shares.device)[:, None].expand_as(place)
    return best.flatten(1), place.flatten(1), label.flatten(1)


WORDS = {"classification": "class", "bbox_regression": "box", "bbox_ctrness": "centre"}


def decoded_from_sides(sides: Tensor, anchors: Tensor) -> Tensor:
    """(..., 4) distances of the left, upper, right and lower side from the middle of an anchor, in its sides."""
    first, last = anchors[..., :2], anchors[..., 2:]
    middle, size = (first + last) / 2, last - first
    return torch.cat([middle - sides[..., :2] * size, middle + sides[..., 2:] * size], -1)
