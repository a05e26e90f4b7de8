"""Detection networks: raw images of any size to detections in image pixels.

Source: Girshick et al. 2014; Girshick 2015; Ren, He, Girshick and Sun 2015; He et al. 2017; lecture 003.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from snellen.core.detections import Detections, GroundTruth
from snellen.nn.detection.box_head import BoxHead, BoxPredictions
from snellen.nn.detection.image_batch import DetectorTransform, ImageBatch
from snellen.nn.detection.keypoint_head import KeypointHead
from snellen.nn.detection.mask_head import MaskHead
from snellen.nn.detection.mask_pasting import paste_masks
from snellen.nn.detection.rpn import RegionProposalNetwork

MAX_DETECTIONS = 100  # per image


class DetectorBody(Protocol):
    """Body of a detector, on a preprocessed batch; a module whose `forward` returns `BoxPredictions`."""

    def losses(self, batch: ImageBatch, truths: Sequence[GroundTruth], /) -> dict[str, Tensor]:
        """Named scalar losses; truths are in pixels of the network, their masks in pixels of the image."""

    def __call__(self, batch: ImageBatch, /) -> BoxPredictions: ...


class TwoStageDetector(nn.Module):
    """Two-stage detector: Faster R-CNN, optionally with a mask head (Mask R-CNN) or keypoint head (Keypoint R-CNN).

    Args:
        backbone: (B, C, H, W) to feature maps by name.
        proposals: the region proposal network.
        regions: the box head; the last map of the pyramid is used for proposals only.
        masks, keypoints: optional heads.
    """

    def __init__(
        self,
        backbone: nn.Module,
        proposals: RegionProposalNetwork,
        regions: BoxHead,
        masks: MaskHead | None = None,
        keypoints: KeypointHead | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.proposals = proposals
        self.regions = regions
        self.masks = masks
        self.keypoints = keypoints

    def losses(self, batch: ImageBatch, truths: Sequence[GroundTruth]) -> dict[str, Tensor]:
        maps = list(self.backbone(batch.x).values())
        proposals, losses = self.proposals.proposals_and_losses(maps, batch, truths)
        maps = roi_feature_maps(maps)
        box_losses, positives = self.regions.losses(maps, batch, proposals, truths)
        losses |= box_losses
        if self.masks is not None:
            losses["mask"] = self.masks.loss(maps, batch, positives, truths)
        if self.keypoints is not None:
            losses["keypoint"] = self.keypoints.loss(maps, batch, positives, truths)
        return losses

    def forward(self, batch: ImageBatch) -> BoxPredictions:
        maps = list(self.backbone(batch.x).values())
        proposals, scores = self.proposals(maps, batch)
        maps = roi_feature_maps(maps)
        detections: BoxPredictions = self.regions(maps, batch, proposals, scores)
        if self.masks is not None:
            detections = detections._replace(masks=self.masks(maps, batch, detections))
        if self.keypoints is not None:
            detections = detections._replace(keypoints=self.keypoints(maps, batch, detections))
        return detections


def roi_feature_maps(maps: list[Tensor]) -> list[Tensor]:
    """Feature maps for RoI pooling: all but the last, which is for large anchors only."""
    return maps[:-1] if len(maps) > 1 else maps


class DetectionNetwork(nn.Module):
    """Detector on raw images.

    Args:
        transform: standardises, resizes and pads the images.
        body: a `DetectorBody`.
    """

    threshold: Tensor

    def __init__(self, transform: DetectorTransform, body: nn.Module) -> None:
        super().__init__()
        self.pictures = transform
        self.body = body
        self.register_buffer("threshold", torch.tensor(0.5))

    def losses(self, images: Sequence[Tensor], truths: Sequence[GroundTruth]) -> dict[str, Tensor]:
        """Named scalar losses of (C, H, W) raw images and their objects; their sum is minimised."""
        batch = self.pictures(images)
        scaled_truths = [batch.to_network_pixels(k, truth) for k, truth in enumerate(truths)]
        losses: dict[str, Tensor] = self.body.losses(batch, scaled_truths)  # type: ignore[operator]
        return losses

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detections in each of the (C, H, W) raw images, in its pixels."""
        batch = self.pictures(images)
        detections = to_image_pixels(self.body(batch), batch)
        return [image_detections(detections, k, image) for k, image in enumerate(images)]

    def forward(self, x: Tensor) -> BoxPredictions:
        """Detections in raw images of one size, (B, C, H, W), in their pixels."""
        batch = self.pictures.same_size_batch(x)
        return to_image_pixels(self.body(batch), batch)

    def detect_padded(self, x: Tensor) -> dict[str, Tensor]:
        """Detections in (B, C, H, W), padded with zeros to `MAX_DETECTIONS` rows per image, for export."""
        detections = self(x)
        valid = detections.scores > 0  # (B, D)
        outputs = {"boxes": detections.boxes, "scores": detections.scores, "labels": detections.labels}
        if detections.masks is not None:
            outputs["masks"] = detections.masks
        if detections.keypoints is not None:
            outputs["keypoints"] = detections.keypoints
        rows = {name: pad_rows(tensor, valid) for name, tensor in outputs.items()}
        count = {"count": valid.sum(1)}
        return {
            **{name: rows[name] for name in ("boxes", "scores", "labels")},
            **count,
            **{name: tensor for name, tensor in rows.items() if name in ("masks", "keypoints")},
        }


def pad_rows(values: Tensor, valid: Tensor) -> Tensor:
    """(B, D, ...) to (B, MAX_DETECTIONS, ...), with zeros where `valid` (B, D) is False and as padding."""
    shape = [*valid.shape, *[1] * (values.ndim - 2)]
    rows = torch.where(valid.view(shape), values, torch.zeros((), dtype=values.dtype, device=values.device))
    return nn.functional.pad(rows, (0, 0) * (values.ndim - 2) + (0, MAX_DETECTIONS - values.shape[1]))


def to_image_pixels(detections: BoxPredictions, batch: ImageBatch) -> BoxPredictions:
    """Detections from pixels of the network to pixels of the images."""
    scale_y, scale_x = batch.ratios[:, 0], batch.ratios[:, 1]
    boxes = detections.boxes / torch.stack([scale_x, scale_y, scale_x, scale_y], 1)[:, None]
    points = detections.keypoints
    if points is not None:
        points = points / torch.stack([scale_x, scale_y, torch.ones_like(scale_y)], 1)[:, None, None]
    return detections._replace(boxes=boxes, keypoints=points)


def image_detections(detections: BoxPredictions, k: int, image: Tensor) -> Detections:
    """Detections in image k of a batch."""
    count = int((detections.scores[k] > 0).sum())
    boxes = detections.boxes[k, :count]
    masks = points = None
    if detections.masks is not None:
        masks = paste_masks(detections.masks[k, :count], boxes, (image.shape[1], image.shape[2]))
    if detections.keypoints is not None:
        points = detections.keypoints[k, :count]
    return Detections(boxes, detections.scores[k, :count], detections.labels[k, :count], masks, points)
