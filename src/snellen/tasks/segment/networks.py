"""Segmenters from all dense architectures."""

from __future__ import annotations

from typing import Any

from snellen.architectures.dense import DENSE
from snellen.architectures.dense.architecture import DenseArchitecture
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import merge_groups
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.segment.objective import (
    SegmentationLossSettings,
    SegmentationNetwork,
    SegmentationObjective,
    check_class_weights,
)
from snellen.tasks.segment.task import TASK, class_names
from snellen.training.dense import fit_dense, resolve_tile_size

ADDS = SegmentationLossSettings  # settings added to those of an architecture


def learner(architecture: DenseArchitecture[Any]) -> Learner[Any, Dataset[Labelled], SegmentationNetwork]:
    """Learner of an architecture with one output channel per class, trained with cross-entropy and Dice loss."""

    def check_requirements(c: Any, spec: Spec) -> None:
        architecture.check_requirements(c.network)
        check_class_weights(c.task)

    def build(c: Any, spec: Spec) -> SegmentationNetwork:
        return SegmentationNetwork(architecture.build(c.network, spec, len(class_names(spec))))

    def fit(c: Any, data: Dataset[Labelled], model: SegmentationNetwork, run: Run) -> None:
        architecture.load_pretrained(c.network, model.network, run)
        fit_dense(
            model,
            SegmentationObjective(data.spec, c.task, run),
            data,
            run,
            c.network.training,
            c.network.augment,
            resolve_tile_size(c.network.tiles, data.spec),
        )

    return Learner[Any, Dataset[Labelled], SegmentationNetwork](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=frozenset({"image"}),
        settings=merge_groups(architecture.settings.__name__, network=architecture.settings, task=ADDS),
        suggest=architecture.suggestions,
        check_requirements=check_requirements,
        preprocessing_of=lambda c, spec: architecture.preprocessing_of(spec),
        input_size=lambda c, spec: architecture.input_size(c.network, spec),
        build=build,
        fit=fit,
        in_default_ladder=TASK.name in architecture.default_ladders,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in DENSE.values())
