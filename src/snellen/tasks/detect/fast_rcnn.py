"""Fast R-CNN (Girshick 2015): selective-search proposals pooled from one feature map by RoIPool.

Trained in two stages: proposals of every image, then the network. Class and box are trained jointly with
cross-entropy and smooth L1; the original R-CNN fitted support vector machines to its features.

Source: Girshick 2015, "Fast R-CNN"; lecture 003.
"""

from __future__ import annotations

from typing import Literal

from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.detection.learners import proposal_detector
from snellen.detection.proposals_from_search import ProposalSettings, build_fast_rcnn
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings


@settings
class FastRCNNSettings:
    """Region proposals, regions of interest, training and augmentation."""

    roi_pooling: Literal["roi-pool", "roi-align"] = "roi-pool"
    """RoI pooling: roi-pool rounds to whole cells of the feature map, roi-align interpolates bilinearly."""
    proposals: ProposalSettings = ProposalSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment(hflip=False)


def build(c: FastRCNNSettings, spec: Spec) -> DetectionNetwork:
    return build_fast_rcnn(c.proposals, c.roi_pooling, spec)


LEARNER = proposal_detector(
    name="fast-rcnn",
    summary="Fast R-CNN: selective-search proposals, all pooled from one feature map of the image.",
    source="Girshick 2015; lecture 003",
    task=TASK,
    settings=FastRCNNSettings,
    build=build,
)
