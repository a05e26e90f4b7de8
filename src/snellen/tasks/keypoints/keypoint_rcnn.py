"""Keypoint R-CNN (He et al. 2017): Faster R-CNN with a keypoint head.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN", section 5; lecture 003.
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import FPN_ANCHORS, DetectorCheckpoint
from snellen.detection.pretrained import check_weights, load_pretrained, suggest_fine_tuning_lr
from snellen.detection.settings import BackboneSettings, input_size_of, preprocessing_of
from snellen.detection.training import DetectionTrainingData, fit_detector
from snellen.detection.two_stage import RoISettings, two_stage_detector
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.keypoints.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {"resnet50": DetectorCheckpoint(name="keypointrcnn_resnet50_fpn", anchors=FPN_ANCHORS, epsilon=0.0)}


@settings
class KeypointRCNNSettings:
    """Backbone and input size, regions of interest, training and augmentation."""

    backbone_settings: BackboneSettings = BackboneSettings()
    rois: RoISettings = RoISettings()
    training: TrainingSettings = TrainingSettings(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: KeypointRCNNSettings, spec: Spec) -> DetectionNetwork:
    return two_stage_detector(c.backbone_settings, c.rois, spec, PUBLISHED, keypoints=True)


def fit(c: KeypointRCNNSettings, data: Dataset[Labelled], model: DetectionNetwork, run: Run) -> None:
    load_pretrained(c.backbone_settings, PUBLISHED, LEARNER.name, model, run)
    fit_detector(model, DetectionTrainingData(iou_type="keypoints", data=data, augment=c.augment), run, c.training)


LEARNER = Learner[KeypointRCNNSettings, Dataset[Labelled], DetectionNetwork](
    name="keypoint-rcnn",
    summary="Keypoint R-CNN: Faster R-CNN with a keypoint head that locates the named points of each object.",
    source="He et al. 2017; lecture 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=KeypointRCNNSettings,
    suggest=suggest_fine_tuning_lr,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.backbone_settings, spec),
    input_size=lambda c, spec: input_size_of(c.backbone_settings, spec),
    check_requirements=lambda c, spec: check_weights(c.backbone_settings, PUBLISHED, "keypoint-rcnn"),
)
