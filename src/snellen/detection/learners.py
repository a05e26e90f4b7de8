"""Learners of detectors: of networks with published weights, and of proposals by selective search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.spec import Preprocessing, Spec
from snellen.core.task import Task
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import Checkpoints
from snellen.detection.pretrained import check_weights, load_pretrained, suggest_fine_tuning_lr
from snellen.detection.proposals_from_search import train_in_stages
from snellen.detection.protocol import Detector, IoUType
from snellen.detection.selective_search import check_opencv
from snellen.detection.settings import BackboneSettings, input_size_of, preprocessing_of
from snellen.detection.training import fit_detector
from snellen.nn.detection.detector import DetectionNetwork
from snellen.training.settings import TrainingSettings

DetectionTask = Task[Dataset[Labelled], Detector]
DetectorLearner = Learner[Any, Dataset[Labelled], DetectionNetwork]


class DetectorSettings(Protocol):
    """Setting groups of every detector."""

    @property
    def training(self) -> TrainingSettings: ...
    @property
    def augment(self) -> SceneAugment: ...


class BackboneDetectorSettings(DetectorSettings, Protocol):
    """Setting groups of a detector on a backbone."""

    @property
    def backbone_settings(self) -> BackboneSettings: ...


B = TypeVar("B", bound=BackboneDetectorSettings)
D = TypeVar("D", bound=DetectorSettings)


def backbone_detector(
    *,
    name: str,
    summary: str,
    source: str,
    task: DetectionTask,
    iou_type: IoUType,
    settings: type[B],
    build: Callable[[B, Spec], DetectionNetwork],
    checkpoints: Checkpoints,
    soft_targets: bool = False,
    in_default_ladder: bool = False,
) -> DetectorLearner:
    """Learner of a detector on a backbone.

    Args:
        iou_type: of the validation score and of the score threshold.
        checkpoints: published weights by backbone.
        soft_targets: whether the loss of a perfect detector is above 0.
    """

    def fit(c: B, data: Dataset[Labelled], model: DetectionNetwork, run: Run) -> None:
        load_pretrained(c.backbone_settings, checkpoints, name, model, run)
        if soft_targets:
            run.notes["soft targets"] = True
        fit_detector(model, iou_type, data, run, c.training, c.augment)

    return Learner(
        name=name,
        summary=summary,
        source=source,
        task=task,
        accepts=frozenset({"image"}),
        settings=settings,
        suggest=suggest_fine_tuning_lr,
        build=build,
        fit=fit,
        preprocessing_of=lambda c, spec: preprocessing_of(c.backbone_settings, spec),
        input_size=lambda c, spec: input_size_of(c.backbone_settings, spec),
        check_requirements=lambda c, spec: check_weights(c.backbone_settings, checkpoints, name),
        in_default_ladder=in_default_ladder,
    )


def proposal_detector(
    *,
    name: str,
    summary: str,
    source: str,
    task: DetectionTask,
    settings: type[D],
    build: Callable[[D, Spec], DetectionNetwork],
) -> DetectorLearner:
    """Learner of a detector of boxes with proposals by selective search, trained in two stages."""

    def fit(c: D, data: Dataset[Labelled], model: DetectionNetwork, run: Run) -> None:
        train_in_stages(model, data, run, c.training, c.augment)

    return Learner(
        name=name,
        summary=summary,
        source=source,
        task=task,
        accepts=frozenset({"image"}),
        settings=settings,
        build=build,
        fit=fit,
        preprocessing_of=lambda c, spec: Preprocessing(channels=spec.input.shape[0] or 3),
        check_requirements=lambda c, spec: check_opencv(),
        in_default_ladder=False,
    )
