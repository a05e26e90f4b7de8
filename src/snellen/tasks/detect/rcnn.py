"""R-CNN (Girshick et al. 2014): selective-search proposals, each cropped, warped and classified by a network.

Trained in two stages: proposals of every image, then the network. Class and box are trained jointly with
cross-entropy and smooth L1; the original R-CNN fitted support vector machines to its features.

Source: Girshick, Donahue, Darrell and Malik 2014, "Rich feature hierarchies"; lecture 003.
"""

from __future__ import annotations

from typing import Annotated

from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.detection.learners import proposal_detector
from snellen.detection.proposals_from_search import ProposalSettings, build_rcnn
from snellen.nn.detection.detector import DetectionNetwork
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings


@settings
class RCNNSettings:
    """Region proposals, regions of interest, training and augmentation."""

    region_size: Annotated[int, Limit(min=32)] = 64
    """Region size: pixels a side to which each proposal is warped."""
    proposals: ProposalSettings = ProposalSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=8, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip_grad=5.0
    )
    augment: SceneAugment = SceneAugment(hflip=False)


def build(c: RCNNSettings, spec: Spec) -> DetectionNetwork:
    return build_rcnn(c.proposals, c.region_size, spec)


LEARNER = proposal_detector(
    name="rcnn",
    summary="R-CNN: selective-search proposals, each cropped, warped and classified separately.",
    source="Girshick et al. 2014; lecture 003",
    task=TASK,
    settings=RCNNSettings,
    build=build,
)
