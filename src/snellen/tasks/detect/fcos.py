"""FCOS (Tian et al. 2019): anchor-free one-stage detector on a feature pyramid.

Source: Tian, Shen, Chen and He 2019, "FCOS: fully convolutional one-stage object detection".
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import DetectorCheckpoint
from snellen.detection.one_stage import one_stage_detector
from snellen.detection.pretrained import check_weights, load_pretrained, suggest_fine_tuning_lr
from snellen.detection.settings import BackboneSettings, input_size_of, preprocessing_of
from snellen.detection.training import DetectionTrainingData, fit_detector
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


def fit(c: FCOSSettings, data: Dataset[Labelled], model: DetectionNetwork, run: Run) -> None:
    load_pretrained(c.backbone_settings, PUBLISHED, LEARNER.name, model, run)
    run.notes["soft targets"] = True  # of the centre-ness
    fit_detector(model, DetectionTrainingData(iou_type="boxes", data=data, augment=c.augment), run, c.training)


LEARNER = Learner[FCOSSettings, Dataset[Labelled], DetectionNetwork](
    name="fcos",
    summary="FCOS: anchor-free one-stage detector; class, box and centre-ness at every location of a feature pyramid.",
    source="Tian et al. 2019",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=FCOSSettings,
    suggest=suggest_fine_tuning_lr,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.backbone_settings, spec),
    input_size=lambda c, spec: input_size_of(c.backbone_settings, spec),
    check_requirements=lambda c, spec: check_weights(c.backbone_settings, PUBLISHED, "fcos"),
    in_default_ladder=False,
)
