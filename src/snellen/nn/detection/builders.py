"""Whole detectors of two stages from their parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import Pyramid
from snellen.nn.detection.box_head import Choice, Regions
from snellen.nn.detection.detector import TwoStage
from snellen.nn.detection.keypoint_head import Keypoints
from snellen.nn.detection.mask_head import Masks
from snellen.nn.detection.roi_pooling import Kind, Pool
from snellen.nn.detection.rpn import REGIONS, Proposals, Share

GRID, FINE = 7, 14  # parts of a region, down and across: for its class, and for its mask or keypoints


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked of every object, and how much is looked at.

    Args:
        classes: K, without background.
        masks: "none", learned jointly with the boxes, or staged: without a gradient into what boxes are told from.
        keypoints: how many, 0 for none.
        pool: how regions are read. aligned: see `Pool`.
        width: units of the box branch; channels of the mask branch are a quarter of it.
        depth: convolutions of the mask branch.
        learning, using: proposals a picture, before and after those that overlap are suppressed.
        least: how sure of a proposal, in 0 … 1.
    """

    classes: int
    masks: Literal["none", "joint", "staged"] = "none"
    keypoints: int = 0
    pool: Kind = "roi-align"
    aligned: bool = True
    width: int = 1024
    depth: int = 4
    share: Share = REGIONS
    choice: Choice = Choice()
    learning: tuple[int, int] = (2000, 2000)
    using: tuple[int, int] = (1000, 1000)
    least: float = 0.0


def two_stage(pyramid: Pyramid, anchors: Anchors, plan: Plan) -> TwoStage:
    """A detector that proposes and looks again."""
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.rpn import RPNHead

    path = pyramid.out_channels
    proposals = Proposals(anchors, RPNHead(path, anchors.cells.shape[1]), plan.learning, plan.using, plan.least)
    head = TwoMLPHead(path * GRID**2, plan.width)
    regions = Regions(
        Pool(plan.pool, GRID, plan.aligned),
        head,
        FastRCNNPredictor(plan.width, 1 + plan.classes),
        plan.share,
        plan.choice,
    )
    masks = None if plan.masks == "none" else mask_branch(path, plan)
    return TwoStage(pyramid, proposals, regions, masks, keypoint_branch(path, plan) if plan.keypoints else None)


def mask_branch(path: int, plan: Plan) -> Masks:
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    width = plan.width // 4
    head: nn.Module = MaskRCNNHeads(path, (width,) * plan.depth, 1)
    predictor = MaskRCNNPredictor(width, width, 1 + plan.classes)
    return Masks(Pool(plan.pool, FINE, plan.aligned), head, predictor, plan.masks == "staged")


def keypoint_branch(path: int, plan: Plan) -> Keypoints:
    from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor

    width = plan.width // 2
    head = KeypointRCNNHeads(path, (width,) * (2 * plan.depth))
    predictor = KeypointRCNNPredictor(width, plan.keypoints)
    return Keypoints(Pool(plan.pool, FINE, plan.aligned), head, predictor, plan.keypoints)
