"""Every architecture as a classifier."""

from __future__ import annotations

from typing import Any

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture
from snellen.architectures.pretrained import begin, there
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import joined
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK
from snellen.training.supervised import learn

ADDS = Weighting  # to the settings of an architecture


def learner(architecture: Architecture[Any]) -> Learner[Any, Dataset[Labelled], Logits]:
    """The architecture with as many outputs as there are classes, under cross-entropy."""

    def preprocessing_of(c: Any, spec: Spec) -> Preprocessing:
        return architecture.preprocessing_of(c.network.start, spec)

    def build(c: Any, spec: Spec) -> Logits:
        assert isinstance(spec.target, Classes | Labels)
        body = architecture.built(c.network, spec, len(spec.target.names))
        return Logits(Network(Standardize(spec.input, preprocessing_of(c, spec).channels), body))

    def fit(c: Any, data: Dataset[Labelled], model: Logits, run: Run) -> None:
        begin(architecture, c.network.start, model.network, run)
        learn(model, ByCrossEntropy(data.spec, c.task, run), data, run, c.network.descent, c.network.augment)

    return Learner[Any, Dataset[Labelled], Logits](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=architecture.accepts,
        settings=joined(architecture.settings.__name__, network=architecture.settings, task=ADDS),
        suggest=architecture.suggested,
        unsupported_reason=architecture.unsupported_reason,
        needs=lambda c, spec: there(architecture, c.network.start),
        preprocessing_of=preprocessing_of,
        build=build,
        fit=fit,
        in_default_ladder=architecture.in_default_ladder,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in ARCHITECTURES.values())
