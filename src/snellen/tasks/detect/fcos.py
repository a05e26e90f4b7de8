"""FCOS (Tian et al. 2019): anchor-free one-stage detector on a feature pyramid.

Source: Tian, Shen, Chen and He 2019, "FCOS: fully convolutional one-stage object detection".
"""

from __future__ import annotations

from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.detection.checkpoints import DetectorCheckpoint
from snellen.detection.learners import backbone_detector
from snellen.detection.one_stage import one_stage_detector
from snellen.detection.settings import BackboneSettings
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {"resnet50": DetectorCheckpoint(name="fcos_resnet50_fpn")}


@settings
class FCOSSettings:
    """Backbone and input size, training and augmentation."""

    backbone_settings: BackboneSettings = BackboneSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: FCOSSettings, spec: Spec) -> DetectionNetwork:
    return one_stage_detector("fcos", c.backbone_settings, spec, PUBLISHED)


LEARNER = backbone_detector(
    name="fcos",
    summary="FCOS: anchor-free one-stage detector; class, box and centre-ness at every location of a feature pyramid.",
    source="Tian et al. 2019",
    task=TASK,
    iou_type="boxes",
    settings=FCOSSettings,
    build=build,
    checkpoints=PUBLISHED,
    soft_targets=True,  # of the centre-ness
)
