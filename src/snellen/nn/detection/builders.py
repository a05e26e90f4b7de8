"""Builders of two-stage detectors: Faster R-CNN, Mask R-CNN, Keypoint R-CNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import FeaturePyramid
from snellen.nn.detection.box_head import BoxHead, DetectionFilter
from snellen.nn.detection.detector import TwoStageDetector
from snellen.nn.detection.keypoint_head import KeypointHead
from snellen.nn.detection.mask_head import MaskHead
from snellen.nn.detection.roi_align import PoolingKind, RoIPooling
from snellen.nn.detection.rpn import REGION_SAMPLING, BoxSampling, RegionProposalNetwork

BOX_POOL_SIZE = 7  # cells of a pooled region, for class and box
MASK_POOL_SIZE = 14  # for mask and keypoints


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Configuration of a two-stage detector.

    Args:
        classes: K, without background.
        masks: "none"; "joint": trained jointly with the boxes; "staged": without gradient into the backbone.
        keypoints: number of keypoints, 0 for none.
        pool, aligned: see `RoIPooling`.
        width: units of the box head; the mask head has a quarter as many channels.
        depth: convolutions of the mask head.
        train_proposals, test_proposals: maximum numbers of proposals, per feature map before and per image after
            non-maximum suppression.
        min_objectness: score threshold of proposals, in 0 … 1.
    """

    classes: int
    masks: Literal["none", "joint", "staged"] = "none"
    keypoints: int = 0
    pool: PoolingKind = "roi-align"
    aligned: bool = True
    width: int = 1024
    depth: int = 4
    sampling: BoxSampling = REGION_SAMPLING
    detection_filter: DetectionFilter = DetectionFilter()
    train_proposals: tuple[int, int] = (2000, 2000)
    test_proposals: tuple[int, int] = (1000, 1000)
    min_objectness: float = 0.0


def two_stage(pyramid: FeaturePyramid, anchors: Anchors, config: DetectorConfig) -> TwoStageDetector:
    """Two-stage detector: backbone, region proposal network and heads."""
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.rpn import RPNHead

    channels = pyramid.out_channels
    proposals = RegionProposalNetwork(
        anchors,
        RPNHead(channels, anchors.cells.shape[1]),
        config.train_proposals,
        config.test_proposals,
        config.min_objectness,
    )
    head = TwoMLPHead(channels * BOX_POOL_SIZE**2, config.width)
    regions = BoxHead(
        RoIPooling(config.pool, BOX_POOL_SIZE, config.aligned),
        head,
        FastRCNNPredictor(config.width, 1 + config.classes),
        config.sampling,
        config.detection_filter,
    )
    masks = None if config.masks == "none" else build_mask_head(channels, config)
    return TwoStageDetector(
        pyramid, proposals, regions, masks, build_keypoint_head(channels, config) if config.keypoints else None
    )


def build_mask_head(channels: int, config: DetectorConfig) -> MaskHead:
    """Mask head of Mask R-CNN."""
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    width = config.width // 4
    head: nn.Module = MaskRCNNHeads(channels, (width,) * config.depth, 1)
    predictor = MaskRCNNPredictor(width, width, 1 + config.classes)
    return MaskHead(RoIPooling(config.pool, MASK_POOL_SIZE, config.aligned), head, predictor, config.masks == "staged")


def build_keypoint_head(channels: int, config: DetectorConfig) -> KeypointHead:
    """Keypoint head of Keypoint R-CNN."""
    from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor

    width = config.width // 2
    head = KeypointRCNNHeads(channels, (width,) * (2 * config.depth))
    predictor = KeypointRCNNPredictor(width, config.keypoints)
    return KeypointHead(RoIPooling(config.pool, MASK_POOL_SIZE, config.aligned), head, predictor, config.keypoints)
