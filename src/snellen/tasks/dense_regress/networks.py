"""Every dense architecture as a measurer of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snellen.architectures.dense import DENSE
from snellen.architectures.dense.architecture import DenseArchitecture, channels
from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, joined
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.dense_regress.objective import ByDistance, Measured, PixelErrors
from snellen.tasks.dense_regress.task import TASK, asked
from snellen.training.dense import learn_dense, tile_of

ADDS = PixelErrors  # to the settings of an architecture


def learner(architecture: DenseArchitecture[Any]) -> Learner[Any, Dataset[Labelled], Measured]:
    """The architecture with as many outputs a pixel as there are numbers."""

    def suggest(spec: Spec) -> Mapping[str, Suggestion]:
        still = "how bright a surface is decides on the number"
        fixed = {"brightness": Suggestion(value=0.0, why=still)} if asked(spec).kind == "reflectance" else {}
        return {**architecture.suggested(spec), **fixed}

    def needs(c: Any, spec: Spec) -> None:
        if c.task.loss is not None and asked(spec).kind in ("edges", "normals"):
            raise UsageError(f"--loss {c.task.loss} does not suit {asked(spec).kind}", "Leave --loss out.")
        architecture.needs(c.network)

    def build(c: Any, spec: Spec) -> Measured:
        body = architecture.body(c.network, channels(spec), len(asked(spec).names))
        return Measured(Network(Standardize(spec.input, channels(spec)), body), asked(spec), c.task.log_depth)

    def fit(c: Any, data: Dataset[Labelled], model: Measured, run: Run) -> None:
        architecture.begin(c.network, model.network, run)
        model.learn(data)
        learn_dense(
            model,
            ByDistance(asked(data.spec), c.task, run),
            data,
            run,
            c.network.descent,
            c.network.augment,
            tile_of(c.network.sight, data.spec),
        )

    return Learner[Any, Dataset[Labelled], Measured](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=frozenset({"image"}),
        settings=joined(architecture.settings.__name__, network=architecture.settings, task=ADDS),
        suggest=suggest,
        needs=needs,
        preprocessing_of=lambda c, spec: architecture.preprocessing_of(spec),
        build=build,
        fit=fit,
        in_default_ladder=architecture.in_default_ladder,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in DENSE.values())
