"""Mask R-CNN: Faster R-CNN with a third branch that tells which pixels of a box are the object's.

Source: He, Gkioxari, Dollár and Girshick 2017, "Mask R-CNN"; lectures 002 ("from box to shape") and 003.
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
from snellen.tasks.instances.task import TASK
from snellen.training.settings import TrainingSettings

PUBLISHED = {"resnet50": Published(name="maskrcnn_resnet50_fpn", anchors=EACH, epsilon=0.0)}


@settings
class MaskRCNNSettings:
    """What it sees with, what it proposes, and how it learns."""

    detach_masks: bool = False
    """Learn masks from maps that are made for boxes alone: nothing of the masks' loss goes back into them."""
    sight: Sight = Sight()
    stages: Stages = Stages()
    descent: TrainingSettings = TrainingSettings(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment()


def build(c: MaskRCNNSettings, spec: Spec) -> Detector:
    return detector(c.sight, c.stages, spec, PUBLISHED, masks="staged" if c.detach_masks else "joint")


def fit(c: MaskRCNNSettings, data: Dataset[Labelled], model: Detector, run: Run) -> None:
    begin(c.sight, PUBLISHED, LEARNER.name, model, run)
    learn(model, Lesson(part="masks", data=data, vary=c.augment), run, c.descent)


LEARNER = Learner[MaskRCNNSettings, Dataset[Labelled], Detector](
    name="mask-rcnn",
    summary="Faster R-CNN that also tells which pixels of a box are the object's.",
    source="He et al. 2017; lectures 002, 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=MaskRCNNSettings,
    suggest=gentle,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: preprocessing_of(c.sight, spec),
    needs=lambda c, spec: there(c.sight, PUBLISHED, "mask-rcnn"),
)
