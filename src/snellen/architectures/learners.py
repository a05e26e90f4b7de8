"""Learners of tasks with one answer for each sample: from an architecture, and from a user's PyTorch module."""

from __future__ import annotations

import copy
from typing import Annotated, Any, TypeVar, cast

from torch import nn

from snellen.architectures import front_ends
from snellen.architectures.architecture import Architecture, init_of
from snellen.architectures.network_task import NetworkTask
from snellen.architectures.pretrained import check_weights, load_pretrained
from snellen.core.learner import ANY_INPUT, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, merge_groups, settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import SupervisedObjective, check_outputs, fit_supervised

M = TypeVar("M", bound=nn.Module)


def from_architecture(
    kind: NetworkTask[M, SupervisedObjective[M]], architecture: Architecture[Any]
) -> Learner[Any, Dataset[Labelled], M]:
    """Learner of an architecture with the outputs of the task."""

    def preprocessing_of(c: Any, spec: Spec) -> Preprocessing:
        if front_ends.front_end_of(architecture, spec.modality) is not None:
            return Preprocessing()
        return architecture.preprocessing_of(init_of(c.network), spec)

    def check_requirements(c: Any, spec: Spec) -> None:
        front_ends.check_requirements(architecture, c.network, spec)
        check_weights(architecture, init_of(c.network))
        kind.check_requirements(c.task, spec)

    def build(c: Any, spec: Spec) -> M:
        outputs = kind.outputs(spec) * kind.numbers_per_output(c.task)
        body = front_ends.build(architecture, c.network, spec, outputs)
        standardize = Standardize(spec.input, preprocessing_of(c, spec).channels)
        return kind.model(Network(standardize, body, architecture.channel_axis(spec)), spec, c.task)

    def fit(c: Any, data: Dataset[Labelled], model: M, run: Run) -> None:
        load_pretrained(architecture, init_of(c.network), cast(Network, model.network), run)
        kind.prepare(model, data)
        objective = kind.objective(data.spec, c.task, run)
        reads_itself = front_ends.front_end_of(architecture, data.spec.modality) is None
        augmentation = getattr(c.network, "augment", None) if reads_itself else None  # of images
        group = getattr(c.network, "group_by_length", False)  # of sequences
        fit_supervised(model, objective, data, run, c.network.training, augmentation, group_by_length=group)

    return Learner[Any, Dataset[Labelled], M](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=kind.task,
        accepts=front_ends.accepted(architecture),
        settings=merge_groups(architecture.settings.__name__, network=architecture.settings, task=kind.settings),
        suggest=lambda spec: {**front_ends.suggestions(architecture, spec), **kind.suggest(architecture, spec)},
        unsupported_reason=lambda spec: architecture.unsupported_reason(front_ends.seen_by(architecture, spec)),
        check_requirements=check_requirements,
        preprocessing_of=preprocessing_of,
        input_size=lambda c, spec: architecture.input_size(init_of(c.network), front_ends.seen_by(architecture, spec)),
        build=build,
        fit=fit,
        in_default_ladder=architecture.in_default_ladder,
        not_in_ladder=front_ends.not_in_ladder(architecture),
        model_views=architecture.model_views,
        flattens=architecture.flattens,
    )


@settings
class ModuleSettings:
    """Settings of a user's PyTorch module."""

    image_size: Annotated[int, Limit(min=1)] | None = None
    """Image size: side in pixels after resizing; auto: the typical size of the images (of the majority, else the
    median), at most 128."""
    training: TrainingSettings = TrainingSettings(epochs=20)
    augment: Augment = Augment()


def from_module(kind: NetworkTask[M, SupervisedObjective[M]], module: nn.Module) -> Learner[Any, Dataset[Labelled], M]:
    """Learner around a module that takes standardised (B, ...) float inputs and returns (B, outputs) numbers.

    The module itself is not changed; every training run starts from a copy.
    """

    def preprocessing_of(c: Any, spec: Spec) -> Preprocessing:
        return fixed_size(spec, max_side=128, requested=c.network.image_size)

    def build(c: Any, spec: Spec) -> M:
        standardize = Standardize(spec.input, preprocessing_of(c, spec).channels)
        return kind.model(Network(standardize, copy.deepcopy(module)), spec, c.task)

    def fit(c: Any, data: Dataset[Labelled], model: M, run: Run) -> None:
        check_outputs(model, kind.outputs(data.spec) * kind.numbers_per_output(c.task), data, run)
        kind.prepare(model, data)
        objective = kind.objective(data.spec, c.task, run)
        fit_supervised(model, objective, data, run, c.network.training, c.network.augment)

    return Learner[Any, Dataset[Labelled], M](
        name=type(module).__name__,
        summary="PyTorch module of the user.",
        source="the user",
        task=kind.task,
        accepts=ANY_INPUT,
        settings=merge_groups(ModuleSettings.__name__, network=ModuleSettings, task=kind.settings),
        check_requirements=lambda c, spec: kind.check_requirements(c.task, spec),
        preprocessing_of=preprocessing_of,
        build=build,
        fit=fit,
        parts=(module,),
    )
