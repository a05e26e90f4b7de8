"""SSDLite (Howard et al. 2019): one-stage detector on MobileNetV3, a mobile backbone.

Images are resized to a square without keeping the aspect ratio: anchors are fractions of the image.

Source: Liu et al. 2016, "SSD: single shot multibox detector"; Howard et al. 2019, "Searching for MobileNetV3".
"""

from __future__ import annotations

import dataclasses

from snellen.core.errors import UsageError
from snellen.core.settings import settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.detection.checkpoints import DetectorCheckpoint
from snellen.detection.learners import backbone_detector
from snellen.detection.one_stage import one_stage_detector
from snellen.detection.pretrained import check_weights
from snellen.detection.settings import BackboneSettings
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings

HALF = (0.5, 0.5, 0.5)
PUBLISHED = {
    "mobilenet": DetectorCheckpoint(name="ssdlite320_mobilenet_v3_large", min_max_size=(320, 320), mean=HALF, std=HALF)
}


@settings
class SSDLiteSettings:
    """Backbone and input size, training and augmentation."""

    backbone_settings: BackboneSettings = BackboneSettings(backbone="mobilenet", min_size=320)
    training: TrainingSettings = TrainingSettings(
        epochs=16,
        batch_size=4,
        optimizer="adamw",
        lr=0.002,
        weight_decay=0.01,
        warmup=0.1,
        clip_grad=5.0,
        precision="float32",
    )
    augment: SceneAugment = SceneAugment()


def build(c: SSDLiteSettings, spec: Spec) -> DetectionNetwork:
    return one_stage_detector("ssdlite", c.backbone_settings, spec, PUBLISHED)


def check_requirements(c: SSDLiteSettings, spec: Spec) -> None:
    """Check that pretrained weights are available and that no setting contradicts the fixed network."""
    for flag, value, fixed in (
        ("--backbone", c.backbone_settings.backbone, "mobilenet"),
        ("--norm", c.backbone_settings.norm, "batch"),
        ("--max-size", c.backbone_settings.max_size, None),
    ):
        if value != fixed:
            raise UsageError(
                f"{flag} {value} does not apply to ssdlite, which has a MobileNetV3 backbone, batch normalisation and "
                "square input",
                f"Omit {flag}, or use --model retinanet.",
            )
    check_weights(c.backbone_settings, PUBLISHED, "ssdlite")


LEARNER = dataclasses.replace(
    backbone_detector(
        name="ssdlite",
        summary="SSDLite: small and fast one-stage detector on MobileNetV3, a mobile backbone.",
        source="Liu et al. 2016; Howard et al. 2019",
        task=TASK,
        iou_type="boxes",
        settings=SSDLiteSettings,
        build=build,
        checkpoints=PUBLISHED,
    ),
    preprocessing_of=lambda c, spec: Preprocessing(channels=3),
    check_requirements=check_requirements,
)
