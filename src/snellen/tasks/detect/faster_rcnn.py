"""Faster R-CNN (Ren et al. 2015): region proposal network and box head on a feature pyramid.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; Lin et al. 2017, "Feature pyramid networks"; lecture 003.
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import FPN_ANCHORS, MOBILENET_ANCHORS, DetectorCheckpoint
from snellen.detection.pretrained import check_weights, load_pretrained, suggest_fine_tuning_lr
from snellen.detection.settings import BackboneSettings, input_size_of, preprocessing_of
from snellen.detection.training import DetectionTrainingData, fit_detector
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


def fit(c: FasterRCNNSettings, data: Dataset[Labelled], model: DetectionNetwork, run: Run) -> None:
    load_pretrained(c.backbone_settings, PUBLISHED, LEARNER.name, model, run)
    fit_detector(model, DetectionTrainingData(iou_type="boxes", data=data, augment=c.augment), run, c.training)


LEARNER = Learner[FasterRCNNSettings, Dataset[Labelled], DetectionNetwork](
    name="faster-rcnn",
    summary="Faster R-CNN: two-stage detector; a region proposal network, then a box head on a feature pyramid.",
    source="Ren et al. 2015; lecture 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=FasterRCNNSettings,
    suggest=suggest_fine_tuning_lr,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.backbone_settings, spec),
    input_size=lambda c, spec: input_size_of(c.backbone_settings, spec),
    check_requirements=lambda c, spec: check_weights(c.backbone_settings, PUBLISHED, "faster-rcnn"),
)
