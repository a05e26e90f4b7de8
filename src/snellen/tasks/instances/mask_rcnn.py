"""Mask R-CNN (He et al. 2017): Faster R-CNN with a mask head for instance segmentation.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN"; lectures 002 ("from box to shape") and 003.
"""

from __future__ import annotations

from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.detection.checkpoints import FPN_ANCHORS, DetectorCheckpoint
from snellen.detection.learners import backbone_detector
from snellen.detection.settings import BackboneSettings
from snellen.detection.two_stage import RoISettings, two_stage_detector
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.instances.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {"resnet50": DetectorCheckpoint(name="maskrcnn_resnet50_fpn", anchors=FPN_ANCHORS, epsilon=0.0)}


@settings
class MaskRCNNSettings:
    """Mask gradient, backbone and input size, regions of interest, training and augmentation."""

    detach_masks: bool = False
    """Detach the mask head: the mask loss sends no gradient into the backbone, which is trained for boxes alone."""
    backbone_settings: BackboneSettings = BackboneSettings()
    rois: RoISettings = RoISettings()
    training: TrainingSettings = TrainingSettings(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: MaskRCNNSettings, spec: Spec) -> DetectionNetwork:
    return two_stage_detector(
        c.backbone_settings, c.rois, spec, PUBLISHED, masks="staged" if c.detach_masks else "joint"
    )


LEARNER = backbone_detector(
    name="mask-rcnn",
    summary="Mask R-CNN: Faster R-CNN with a mask head that segments the object in each box.",
    source="He et al. 2017; lectures 002, 003",
    task=TASK,
    iou_type="masks",
    settings=MaskRCNNSettings,
    build=build,
    checkpoints=PUBLISHED,
    in_default_ladder=True,
)
