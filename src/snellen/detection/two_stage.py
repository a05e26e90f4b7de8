"""Builder of two-stage detectors from settings: Faster R-CNN, Mask R-CNN, Keypoint R-CNN."""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.settings import Limit, settings
from snellen.core.spec import Boxes, Spec
from snellen.detection.checkpoints import Checkpoints, detector_pyramid, detector_transform, selected_checkpoint
from snellen.detection.settings import BackboneSettings, preprocessing_of
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import FPN_CHANNELS
from snellen.nn.detection.box_head import DetectionFilter
from snellen.nn.detection.builders import DetectorConfig, two_stage
from snellen.nn.detection.detector import DetectionNetwork
from snellen.nn.detection.rpn import BoxSampling

MAX_PROPOSALS = 300  # per image; suits images with few objects, and training on a CPU
ANCHOR_CELLS = 8.0  # side of an anchor in feature-map cells, before fitting to the boxes


@settings
class RoISettings:
    """Regions of interest: their number and their pooling."""

    max_proposals: Annotated[int, Limit(min=1)] | None = None
    """Region proposals kept per image after NMS; auto: 300, or the number of the published checkpoint."""
    rois_per_image: Annotated[int, Limit(min=1)] = 128
    """Regions of interest (RoIs) sampled per image for the training loss of the box head."""
    roi_pooling: Literal["roi-align", "roi-pool"] = "roi-align"
    """RoI pooling: roi-align interpolates the feature map bilinearly, roi-pool rounds to whole cells."""


def two_stage_detector(
    backbone_settings: BackboneSettings,
    rois: RoISettings,
    spec: Spec,
    checkpoints: Checkpoints,
    masks: Literal["none", "joint", "staged"] = "none",
    keypoints: bool = False,
) -> DetectionNetwork:
    """Build an untrained Faster R-CNN, with a mask or keypoint head on request."""
    target = spec.target
    assert isinstance(target, Boxes)
    checkpoint = selected_checkpoint(backbone_settings, checkpoints)
    channels = preprocessing_of(backbone_settings, spec).channels or 3
    maps = detector_pyramid(backbone_settings, channels, checkpoints)
    is_narrow = maps.out_channels < FPN_CHANNELS
    proposals = rois.max_proposals or (checkpoint.max_proposals if checkpoint else MAX_PROPOSALS)
    config = DetectorConfig(
        classes=len(target.names),
        masks=masks,
        keypoints=len(target.keypoints) if keypoints else 0,
        pool=rois.roi_pooling,
        aligned=not checkpoint,
        width=256 if is_narrow else 1024,
        depth=2 if is_narrow else 4,
        sampling=BoxSampling(
            batch_size_per_image=rois.rois_per_image, positive_fraction=0.25, foreground_iou=0.5, background_iou=0.5
        ),
        detection_filter=DetectionFilter(),
        train_proposals=(proposals * 2, proposals * 2),
        test_proposals=(proposals, proposals),
        min_objectness=checkpoint.min_score if checkpoint else 0.0,
    )
    sizes = checkpoint.anchors if checkpoint else [[ANCHOR_CELLS * stride] for stride in maps.strides]
    body = two_stage(maps, Anchors(sizes, fixed=checkpoint is not None), config)
    return DetectionNetwork(detector_transform(backbone_settings, spec, channels, checkpoints), body)
