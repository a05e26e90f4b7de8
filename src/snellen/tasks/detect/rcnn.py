"""R-CNN: regions found by selective search, each cut out, warped and given to a network.

Learned in stages: the regions of every picture first, then the network. Class and box are learned together, by
cross-entropy and smooth L1, where the first R-CNN fitted support vector machines to its features.

Source: Girshick, Donahue, Darrell and Malik 2014, "Rich feature hierarchies"; lecture 003.
"""

from __future__ import annotations

from typing import Annotated

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.proposals_from_search import Given, by_crops, in_stages
from snellen.detection.selective_search import needed
from snellen.detection.training import Lesson
from snellen.nn.detection.detector import Detector
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings


@settings
class RCNNSettings:
    """What it is given, how it looks at a region, and how it learns."""

    region_size: Annotated[int, Limit(least=32)] = 64
    """Pixels a side that each region is warped to."""
    given: Given = Given()
    descent: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment(hflip=False)


def build(c: RCNNSettings, spec: Spec) -> Detector:
    return by_crops(c.given, c.region_size, spec)


def fit(c: RCNNSettings, data: Dataset[Labelled], model: Detector, run: Run) -> None:
    in_stages(model, Lesson(part="boxes", data=data, vary=c.augment), run, c.descent)


LEARNER = Learner[RCNNSettings, Dataset[Labelled], Detector](
    name="rcnn",
    summary="Looks at each region of selective search by itself: cut out, warped, class and box.",
    source="Girshick et al. 2014; lecture 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=RCNNSettings,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: Preprocessing(channels=spec.input.shape[0] or 3),
    needs=lambda c, spec: needed(),
    in_default_ladder=False,
)
