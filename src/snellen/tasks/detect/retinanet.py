"""RetinaNet (Lin et al. 2017): one-stage detector with anchors on a feature pyramid and the focal loss.

Source: Lin, Goyal, Girshick, He and Dollár 2017, "Focal loss for dense object detection".
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import RETINANET_ANCHORS, DetectorCheckpoint
from snellen.detection.one_stage import one_stage_detector
from snellen.detection.pretrained import check_weights, load_pretrained, suggest_fine_tuning_lr
from snellen.detection.settings import BackboneSettings, input_size_of, preprocessing_of
from snellen.detection.training import DetectionTrainingData, fit_detector
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


def fit(c: RetinaNetSettings, data: Dataset[Labelled], model: DetectionNetwork, run: Run) -> None:
    load_pretrained(c.backbone_settings, PUBLISHED, LEARNER.name, model, run)
    fit_detector(model, DetectionTrainingData(iou_type="boxes", data=data, augment=c.augment), run, c.training)


LEARNER = Learner[RetinaNetSettings, Dataset[Labelled], DetectionNetwork](
    name="retinanet",
    summary="RetinaNet: one-stage detector on a feature pyramid; focal loss down-weights easy examples.",
    source="Lin et al. 2017",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=RetinaNetSettings,
    suggest=suggest_fine_tuning_lr,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.backbone_settings, spec),
    input_size=lambda c, spec: input_size_of(c.backbone_settings, spec),
    check_requirements=lambda c, spec: check_weights(c.backbone_settings, PUBLISHED, "retinanet"),
    in_default_ladder=False,
)
