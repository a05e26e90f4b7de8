"""Dense regressors from all dense architectures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snellen.architectures.dense import DENSE
from snellen.architectures.dense.architecture import DenseArchitecture
from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, merge_groups
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.dense_regress.objective import (
    DenseRegressionLossSettings,
    DenseRegressionNetwork,
    DenseRegressionObjective,
)
from snellen.tasks.dense_regress.task import TASK, target_of
from snellen.training.dense import fit_dense, resolve_tile_size

ADDS = DenseRegressionLossSettings  # settings added to those of an architecture


def learner(architecture: DenseArchitecture[Any]) -> Learner[Any, Dataset[Labelled], DenseRegressionNetwork]:
    """Learner of an architecture with one output channel per number."""

    def suggest(spec: Spec) -> Mapping[str, Suggestion]:
        brightness_reason = "reflectance depends on the brightness of a surface"
        overrides = (
            {"brightness": Suggestion(value=0.0, reason=brightness_reason)}
            if target_of(spec).kind == "reflectance"
            else {}
        )
        return {**architecture.suggestions(spec), **overrides}

    def check_requirements(c: Any, spec: Spec) -> None:
        if c.task.loss is not None and target_of(spec).kind in ("edges", "normals"):
            raise UsageError(f"--loss {c.task.loss} does not suit {target_of(spec).kind}", "Omit --loss.")
        architecture.check_requirements(c.network)

    def build(c: Any, spec: Spec) -> DenseRegressionNetwork:
        network = architecture.build(c.network, spec, len(target_of(spec).names))
        return DenseRegressionNetwork(network, target_of(spec), c.task.log_depth)

    def fit(c: Any, data: Dataset[Labelled], model: DenseRegressionNetwork, run: Run) -> None:
        architecture.load_pretrained(c.network, model.network, run)
        model.fit_scaling(data)
        fit_dense(
            model,
            DenseRegressionObjective(target_of(data.spec), c.task, run),
            data,
            run,
            c.network.training,
            c.network.augment,
            resolve_tile_size(c.network.tiles, data.spec),
        )

    return Learner[Any, Dataset[Labelled], DenseRegressionNetwork](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=frozenset({"image"}),
        settings=merge_groups(architecture.settings.__name__, network=architecture.settings, task=ADDS),
        suggest=suggest,
        check_requirements=check_requirements,
        preprocessing_of=lambda c, spec: architecture.preprocessing_of(spec),
        input_size=lambda c, spec: architecture.input_size(c.network, spec),
        build=build,
        fit=fit,
        in_default_ladder=TASK.name in architecture.default_ladders,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in DENSE.values())
