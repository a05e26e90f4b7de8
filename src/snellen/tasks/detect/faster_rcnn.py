"""Faster R-CNN (Ren et al. 2015): region proposal network and box head on a feature pyramid.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; Lin et al. 2017, "Feature pyramid networks"; lecture 003.
"""

from __future__ import annotations

from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.detection.checkpoints import FPN_ANCHORS, MOBILENET_ANCHORS, DetectorCheckpoint
from snellen.detection.learners import backbone_detector
from snellen.detection.settings import BackboneSettings
from snellen.detection.two_stage import RoISettings, two_stage_detector
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {
    "resnet50": DetectorCheckpoint(name="fasterrcnn_resnet50_fpn", anchors=FPN_ANCHORS, epsilon=0.0),
    "mobilenet": DetectorCheckpoint(
        name="fasterrcnn_mobilenet_v3_large_320_fpn",
        anchors=MOBILENET_ANCHORS,
        min_max_size=(320, 640),
        max_proposals=150,
        min_score=0.05,
    ),
}


@settings
class FasterRCNNSettings:
    """Backbone and input size, regions of interest, training and augmentation."""

    backbone_settings: BackboneSettings = BackboneSettings()
    rois: RoISettings = RoISettings()
    training: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: FasterRCNNSettings, spec: Spec) -> DetectionNetwork:
    return two_stage_detector(c.backbone_settings, c.rois, spec, PUBLISHED)


LEARNER = backbone_detector(
    name="faster-rcnn",
    summary="Faster R-CNN: two-stage detector; a region proposal network, then a box head on a feature pyramid.",
    source="Ren et al. 2015; lecture 003",
    task=TASK,
    iou_type="boxes",
    settings=FasterRCNNSettings,
    build=build,
    checkpoints=PUBLISHED,
    in_default_ladder=True,
)
