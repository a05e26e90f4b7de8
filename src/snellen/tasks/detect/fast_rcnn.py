"""Fast R-CNN: regions found by selective search, all read from one map of the picture by RoIPool.

Learned in stages: the regions of every picture first, then the network. Class and box are learned together, by
cross-entropy and smooth L1, where the first R-CNN fitted support vector machines to its features.

Source: Girshick 2015, "Fast R-CNN"; lecture 003.
"""

from __future__ import annotations

from typing import Literal

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.proposals_from_search import Given, by_one_map, in_stages
from snellen.detection.selective_search import needed
from snellen.detection.training import Lesson
from snellen.nn.detection.detector import Detector
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings


@settings
class FastRCNNSettings:
    """What it is given, how it looks at a region, and how it learns."""

    roi_pooling: Literal["roi-pool", "roi-align"] = "roi-pool"
    """How a region is read from the map: cut at whole cells, or between them."""
    given: Given = Given()
    descent: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment(hflip=False)


def build(c: FastRCNNSettings, spec: Spec) -> Detector:
    return by_one_map(c.given, c.roi_pooling, spec)


def fit(c: FastRCNNSettings, data: Dataset[Labelled], model: Detector, run: Run) -> None:
    in_stages(model, Lesson(part="boxes", data=data, vary=c.augment), run, c.descent)


LEARNER = Learner[FastRCNNSettings, Dataset[Labelled], Detector](
    name="fast-rcnn",
    summary="Reads all regions of selective search from one map of the picture: class and box.",
    source="Girshick 2015; lecture 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=FastRCNNSettings,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: Preprocessing(channels=spec.input.shape[0] or 3),
    needs=lambda c, spec: needed(),
    in_default_ladder=False,
)
