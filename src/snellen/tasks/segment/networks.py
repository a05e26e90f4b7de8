"""Every dense architecture as a segmenter."""

from __future__ import annotations

from typing import Any

from snellen.architectures.dense import DENSE
from snellen.architectures.dense.architecture import DenseArchitecture, channels
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import joined
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.segment.objective import ByOverlap, PixelLogits, Weighting, refuse_idle
from snellen.tasks.segment.task import TASK, classes
from snellen.training.dense import learn_dense, tile_of

ADDS = Weighting  # to the settings of an architecture


def learner(architecture: DenseArchitecture[Any]) -> Learner[Any, Dataset[Labelled], PixelLogits]:
    """The architecture with as many outputs a pixel as there are classes, under cross-entropy and Dice."""

    def needs(c: Any, spec: Spec) -> None:
        architecture.needs(c.network)
        refuse_idle(c.task)

    def build(c: Any, spec: Spec) -> PixelLogits:
        body = architecture.body(c.network, channels(spec), len(classes(spec)))
        return PixelLogits(Network(Standardize(spec.input, channels(spec)), body))

    def fit(c: Any, data: Dataset[Labelled], model: PixelLogits, run: Run) -> None:
        architecture.begin(c.network, model.network, run)
        learn_dense(
            model,
            ByOverlap(data.spec, c.task, run),
            data,
            run,
            c.network.descent,
            c.network.augment,
            tile_of(c.network.sight, data.spec),
        )

    return Learner[Any, Dataset[Labelled], PixelLogits](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=frozenset({"image"}),
        settings=joined(architecture.settings.__name__, network=architecture.settings, task=ADDS),
        suggest=architecture.suggested,
        needs=needs,
        preprocessing_of=lambda c, spec: architecture.preprocessing_of(spec),
        build=build,
        fit=fit,
        in_default_ladder=architecture.in_default_ladder,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in DENSE.values())
