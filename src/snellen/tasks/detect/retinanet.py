"""RetinaNet: class and box at every anchor of every map at once, with a loss that heeds the hard ones.

Source: Lin, Goyal, Girshick, He and Dollár 2017, "Focal loss for dense object detection".
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import THIRDS, Published
from snellen.detection.one_stage import detector
from snellen.detection.pretrained import begin, gentle, there
from snellen.detection.settings import Sight, preprocessing_of
from snellen.detection.training import Lesson, learn
from snellen.nn.detection.detector import Detector
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {"resnet50": Published(name="retinanet_resnet50_fpn", anchors=THIRDS, epsilon=0.0)}


@settings
class RetinaNetSettings:
    """What it sees with, and how it learns."""

    sight: Sight = Sight()
    descent: TrainingSettings = TrainingSettings(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: RetinaNetSettings, spec: Spec) -> Detector:
    return detector("retinanet", c.sight, spec, PUBLISHED)


def fit(c: RetinaNetSettings, data: Dataset[Labelled], model: Detector, run: Run) -> None:
    begin(c.sight, PUBLISHED, LEARNER.name, model, run)
    learn(model, Lesson(part="boxes", data=data, vary=c.augment), run, c.descent)


LEARNER = Learner[RetinaNetSettings, Dataset[Labelled], Detector](
    name="retinanet",
    summary="Tells class and box at every anchor at once; the focal loss heeds the hard ones.",
    source="Lin et al. 2017",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=RetinaNetSettings,
    suggest=gentle,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.sight, spec),
    needs=lambda c, spec: there(c.sight, PUBLISHED, "retinanet"),
    in_default_ladder=False,
)
