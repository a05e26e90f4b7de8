"""Faster R-CNN: a network proposes where something may be, and looks at each place again.

Source: Ren, He, Girshick and Sun 2015, "Faster R-CNN"; Lin et al. 2017, "Feature pyramid networks"; lecture 003.
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import ALL, EACH, Published
from snellen.detection.pretrained import begin, gentle, there
from snellen.detection.settings import Sight, preprocessing_of
from snellen.detection.training import Lesson, learn
from snellen.detection.two_stage import Stages, detector
from snellen.nn.detection.detector import Detector
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {
    "resnet50": Published(name="fasterrcnn_resnet50_fpn", anchors=EACH, epsilon=0.0),
    "mobilenet": Published(
        name="fasterrcnn_mobilenet_v3_large_320_fpn", anchors=ALL, sides=(320, 640), proposals=150, least=0.05
    ),
}


@settings
class FasterRCNNSettings:
    """What it sees with, what it proposes, and how it learns."""

    sight: Sight = Sight()
    stages: Stages = Stages()
    descent: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: FasterRCNNSettings, spec: Spec) -> Detector:
    return detector(c.sight, c.stages, spec, PUBLISHED)


def fit(c: FasterRCNNSettings, data: Dataset[Labelled], model: Detector, run: Run) -> None:
    begin(c.sight, PUBLISHED, LEARNER.name, model, run)
    learn(model, Lesson(part="boxes", data=data, vary=c.augment), run, c.descent)


LEARNER = Learner[FasterRCNNSettings, Dataset[Labelled], Detector](
    name="faster-rcnn",
    summary="Proposes where something may be, then looks at each place again: class and box.",
    source="Ren et al. 2015; lecture 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=FasterRCNNSettings,
    suggest=gentle,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.sight, spec),
    needs=lambda c, spec: there(c.sight, PUBLISHED, "faster-rcnn"),
)
