"""A detector: raw pictures of any size to finds in their own pixels.

Source: Girshick et al. 2014; Girshick 2015; Ren, He, Girshick and Sun 2015; He et al. 2017; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from snellen.core.detections import Detections, Objects
from snellen.nn.detection.box_head import Finds, Regions
from snellen.nn.detection.image_batch import Batch, DetectorTransform
from snellen.nn.detection.keypoint_head import Keypoints
from snellen.nn.detection.mask_head import Masks
from snellen.nn.detection.mask_pasting import regions
from snellen.nn.detection.rpn import Proposals

MOST = 100  # finds a picture


class Body(Protocol):
    """What finds objects in a batch that is scaled already; a module whose `forward` gives `Finds`."""

    def losses(self, batch: Batch, truths: Sequence[Objects], /) -> dict[str, Tensor]:
        """Truths in pixels of the network (masks in those of the picture) to named scalars."""

    def __call__(self, batch: Batch, /) -> Finds: ...


class TwoStage(nn.Module):
    """Faster R-CNN: proposals from the maps, then a look at each; with a third branch for masks or keypoints.

    Args:
        backbone: (B, C, H, W) to maps by name.
        proposals: where something may be.
        regions: what it is; the last map of the pyramid serves proposals only.
        masks, keypoints: what else is asked of every object.
    """

    def __init__(
        self,
        backbone: nn.Module,
        proposals: Proposals,
        regions: Regions,
        masks: Masks | None = None,
        keypoints: Keypoints | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.proposals = proposals
        self.regions = regions
        self.masks = masks
        self.keypoints = keypoints

    def losses(self, batch: Batch, truths: Sequence[Objects]) -> dict[str, Tensor]:
        maps = list(self.backbone(batch.x).values())
        proposed, losses = self.proposals.learn(maps, batch, truths)
        maps = pooled_from(maps)
        more, sampled = self.regions.learn(maps, batch, proposed, truths)
        losses |= more
        if self.masks is not None:
            losses["mask"] = self.masks.learn(maps, batch, sampled, truths)
        if self.keypoints is not None:
            losses["keypoint"] = self.keypoints.learn(maps, batch, sampled, truths)
        return losses

    def forward(self, batch: Batch) -> Finds:
        maps = list(self.backbone(batch.x).values())
        proposed, sure = self.proposals(maps, batch)
        maps = pooled_from(maps)
        finds: Finds = self.regions(maps, batch, proposed, sure)
        if self.masks is not None:
            finds = finds._replace(masks=self.masks(maps, batch, finds))
        if self.keypoints is not None:
            finds = finds._replace(keypoints=self.keypoints(maps, batch, finds))
        return finds


def pooled_from(maps: list[Tensor]) -> list[Tensor]:
    """The maps that regions are read from: all but the last, which was made for large anchors."""
    return maps[:-1] if len(maps) > 1 else maps


class Detector(nn.Module):
    """Raw pictures in, finds out.

    Args:
        pictures: standardises and scales.
        body: what finds.
    """

    threshold: Tensor

    def __init__(self, pictures: DetectorTransform, body: nn.Module) -> None:
        super().__init__()
        self.pictures = pictures
        self.body = body
        self.register_buffer("threshold", torch.tensor(0.5))

    def losses(self, images: Sequence[Tensor], truths: Sequence[Objects]) -> dict[str, Tensor]:
        """(C, H, W) raw pictures and their objects to named scalars, whose sum is minimised."""
        batch = self.pictures(images)
        inside = [batch.inwards(k, truth) for k, truth in enumerate(truths)]
        found: dict[str, Tensor] = self.body.losses(batch, inside)  # type: ignore[operator]
        return found

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """(C, H, W) raw pictures to what is found in each, in its own pixels."""
        batch = self.pictures(images)
        finds = outwards(self.body(batch), batch)
        return [found(finds, k, image) for k, image in enumerate(images)]

    def forward(self, x: Tensor) -> Finds:
        """Raw pictures of one size, (B, C, H, W), to finds in their pixels."""
        batch = self.pictures.alike(x)
        return outwards(self.body(batch), batch)

    def padded(self, x: Tensor) -> dict[str, Tensor]:
        """The finds of (B, C, H, W) as `MOST` rows for every picture, with zeros after the last: what is exported."""
        finds = self(x)
        there = finds.scores > 0  # (B, D)
        said = {"boxes": finds.boxes, "scores": finds.scores, "labels": finds.labels}
        if finds.masks is not None:
            said["masks"] = finds.masks
        if finds.keypoints is not None:
            said["keypoints"] = finds.keypoints
        rows = {name: to_rows(tensor, there) for name, tensor in said.items()}
        count = {"count": there.sum(1)}
        return {
            **{name: rows[name] for name in ("boxes", "scores", "labels")},
            **count,
            **{name: tensor for name, tensor in rows.items() if name in ("masks", "keypoints")},
        }


def to_rows(values: Tensor, there: Tensor) -> Tensor:
    """(B, D, ...) to (B, MOST, ...), with zeros where `there` (B, D) is not, and after that."""
    shape = [*there.shape, *[1] * (values.ndim - 2)]
    kept = torch.where(there.view(shape), values, torch.zeros((), dtype=values.dtype, device=values.device))
    return nn.functional.pad(kept, (0, 0) * (values.ndim - 2) + (0, MOST - values.shape[1]))


def outwards(finds: Finds, batch: Batch) -> Finds:
    """Finds in pixels of the pictures."""
    down, across = batch.ratios[:, 0], batch.ratios[:, 1]
    boxes = finds.boxes / torch.stack([across, down, across, down], 1)[:, None]
    points = finds.keypoints
    if points is not None:
        points = points / torch.stack([across, down, torch.ones_like(down)], 1)[:, None, None]
    return finds._replace(boxes=boxes, keypoints=points)


def found(finds: Finds, k: int, image: Tensor) -> Detections:
    """What was found in picture k."""
    there = int((finds.scores[k] > 0).sum())
    boxes = finds.boxes[k, :there]
    masks = points = None
    if finds.masks is not None:
        masks = regions(finds.masks[k, :there], boxes, (image.shape[1], image.shape[2]))
    if finds.keypoints is not None:
        points = finds.keypoints[k, :there]
    return Detections(boxes, finds.scores[k, :there], finds.labels[k, :there], masks, points)
