"""Detectors of two stages from settings: Faster R-CNN, Mask R-CNN, and the one for keypoints."""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.settings import Limit, settings
from snellen.core.spec import Boxes, Spec
from snellen.detection.checkpoints import Known, begun, standardize
from snellen.detection.settings import Sight, preprocessing_of
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import EPSILON, Norm, pyramid
from snellen.nn.detection.box_head import Choice
from snellen.nn.detection.builders import Plan, two_stage
from snellen.nn.detection.detector import Detector
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.detection.rpn import Share

PROPOSALS = 300  # regions a picture: a few objects, and a processor
ANCHOR = 8.0  # sides of an anchor in cells of its map, until they are fitted to the boxes


@settings
class Stages:
    """What is proposed, and how it is looked at."""

    max_proposals: Annotated[int, Limit(least=1)] | None = None
    """Regions a picture that are looked at; auto: 300, or as many as with published weights."""
    rois_per_image: Annotated[int, Limit(least=1)] = 128
    """Regions a picture that are learned from."""
    roi_pooling: Literal["roi-align", "roi-pool"] = "roi-align"
    """How a region is read from the maps: between their cells, or cut at whole ones."""


def detector(
    sight: Sight,
    stages: Stages,
    spec: Spec,
    known: Known,
    masks: Literal["none", "joint", "staged"] = "none",
    keypoints: bool = False,
) -> Detector:
    """The untrained detector."""
    target = spec.target
    assert isinstance(target, Boxes)
    published = begun(sight, known)
    small = sight.backbone == "small"
    channels = preprocessing_of(sight, spec).channels or 3
    norm: Norm = "frozen" if published else sight.norm
    maps = pyramid(
        sight.backbone, channels, norm, 3 if published else 5, epsilon=published.epsilon if published else EPSILON
    )
    proposals = stages.max_proposals or (published.proposals if published else PROPOSALS)
    plan = Plan(
        classes=len(target.names),
        masks=masks,
        keypoints=len(target.keypoints) if keypoints else 0,
        pool=stages.roi_pooling,
        aligned=not published,
        width=256 if small else 1024,
        depth=2 if small else 4,
        share=Share(count=stages.rois_per_image, positive=0.25, high=0.5, low=0.5),
        choice=Choice(),
        learning=(proposals * 2, proposals * 2),
        using=(proposals, proposals),
        least=published.least if published else 0.0,
    )
    sizes = published.anchors if published else [[ANCHOR * stride] for stride in maps.strides]
    body = two_stage(maps, Anchors(sizes, fixed=published is not None), plan)
    sides = sight.sides(spec, published.sides if published else None)
    return Detector(DetectorTransform(standardize(spec, channels, published), *sides), body)
