"""RetinaNet (Lin et al. 2017): one-stage detector with anchors on a feature pyramid and the focal loss.

Source: Lin, Goyal, Girshick, He and Dollár 2017, "Focal loss for dense object detection".
"""

from __future__ import annotations

from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.detection.checkpoints import RETINANET_ANCHORS, DetectorCheckpoint
from snellen.detection.learners import backbone_detector
from snellen.detection.one_stage import one_stage_detector
from snellen.detection.settings import BackboneSettings
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {"resnet50": DetectorCheckpoint(name="retinanet_resnet50_fpn", anchors=RETINANET_ANCHORS, epsilon=0.0)}


@settings
class RetinaNetSettings:
    """Backbone and input size, training and augmentation."""

    backbone_settings: BackboneSettings = BackboneSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: RetinaNetSettings, spec: Spec) -> DetectionNetwork:
    return one_stage_detector("retinanet", c.backbone_settings, spec, PUBLISHED)


LEARNER = backbone_detector(
    name="retinanet",
    summary="RetinaNet: one-stage detector on a feature pyramid; focal loss down-weights easy examples.",
    source="Lin et al. 2017",
    task=TASK,
    iou_type="boxes",
    settings=RetinaNetSettings,
    build=build,
    checkpoints=PUBLISHED,
)
