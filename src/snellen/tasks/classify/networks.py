"""Every architecture as a classifier."""

from __future__ import annotations

from typing import Any

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture
from snellen.architectures.pretrained import begin, there
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import joined
from snellen.core.spec import Classes, Labels, Reading, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK
from snellen.training.supervised import learn

ADDS = Weighting  # to the settings of an architecture


def learner(architecture: Architecture[Any]) -> Learner[Any, Dataset[Labelled], Logits]:
    """The architecture with as many outputs as there are classes, under cross-entropy."""

    def reads(c: Any, spec: Spec) -> Reading:
        return architecture.reads(c.network.start, spec)

    def build(c: Any, spec: Spec) -> Logits:
        assert isinstance(spec.target, Classes | Labels)
        body = architecture.built(c.network, spec, len(spec.target.names))
        return Logits(Network(Standardize(spec.input, reads(c, spec).channels), body))

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
        refuses=architecture.refuses,
        needs=lambda c, spec: there(architecture, c.network.start),
        reads=reads,
        build=build,
        fit=fit,
        climbs=architecture.climbs,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in ARCHITECTURES.values())
