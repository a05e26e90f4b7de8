"""Keypoint R-CNN: Faster R-CNN with a third branch that tells where the keypoints of an object lie in its box.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN", section 5; lecture 003.
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import EACH, Published
from snellen.detection.pretrained import begin, gentle, there
from snellen.detection.settings import Sight, preprocessing_of
from snellen.detection.training import Lesson, learn
from snellen.detection.two_stage import Stages, detector
from snellen.nn.detection.detector import Detector
from snellen.tasks.keypoints.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {"resnet50": Published(name="keypointrcnn_resnet50_fpn", anchors=EACH, epsilon=0.0)}


@settings
class KeypointRCNNSettings:
    """What it sees with, what it proposes, and how it learns."""

    sight: Sight = Sight()
    stages: Stages = Stages()
    descent: TrainingSettings = TrainingSettings(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: KeypointRCNNSettings, spec: Spec) -> Detector:
    return detector(c.sight, c.stages, spec, PUBLISHED, keypoints=True)


def fit(c: KeypointRCNNSettings, data: Dataset[Labelled], model: Detector, run: Run) -> None:
    begin(c.sight, PUBLISHED, LEARNER.name, model, run)
    learn(model, Lesson(part="keypoints", data=data, vary=c.augment), run, c.descent)


LEARNER = Learner[KeypointRCNNSettings, Dataset[Labelled], Detector](
    name="keypoint-rcnn",
    summary="Faster R-CNN that also tells where the keypoints of an object lie.",
    source="He et al. 2017; lecture 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=KeypointRCNNSettings,
    suggest=gentle,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.sight, spec),
    needs=lambda c, spec: there(c.sight, PUBLISHED, "keypoint-rcnn"),
)
