"""Classifiers from all architectures."""

from __future__ import annotations

from typing import Any

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture
from snellen.architectures.pretrained import check_weights, load_pretrained
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import merge_groups
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ClassBalanceSettings, ClassificationNetwork, CrossEntropyObjective
from snellen.tasks.classify.task import TASK
from snellen.training.supervised import fit_supervised

ADDS = ClassBalanceSettings  # settings added to those of an architecture


def learner(architecture: Architecture[Any]) -> Learner[Any, Dataset[Labelled], ClassificationNetwork]:
    """Learner of an architecture with one output per class, trained with cross-entropy."""

    def preprocessing_of(c: Any, spec: Spec) -> Preprocessing:
        return architecture.preprocessing_of(c.network.init, spec)

    def build(c: Any, spec: Spec) -> ClassificationNetwork:
        assert isinstance(spec.target, Classes | Labels)
        body = architecture.build(c.network, spec, len(spec.target.names))
        return ClassificationNetwork(Network(Standardize(spec.input, preprocessing_of(c, spec).channels), body))

    def fit(c: Any, data: Dataset[Labelled], model: ClassificationNetwork, run: Run) -> None:
        load_pretrained(architecture, c.network.init, model.network, run)
        fit_supervised(
            model, CrossEntropyObjective(data.spec, c.task, run), data, run, c.network.training, c.network.augment
        )

    return Learner[Any, Dataset[Labelled], ClassificationNetwork](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=architecture.accepts,
        settings=merge_groups(architecture.settings.__name__, network=architecture.settings, task=ADDS),
        suggest=architecture.suggestions,
        unsupported_reason=architecture.unsupported_reason,
        check_requirements=lambda c, spec: check_weights(architecture, c.network.init),
        preprocessing_of=preprocessing_of,
        input_size=lambda c, spec: architecture.input_size(c.network.init, spec),
        build=build,
        fit=fit,
        in_default_ladder=architecture.in_default_ladder,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in ARCHITECTURES.values())
