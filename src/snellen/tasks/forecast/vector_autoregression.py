"""Vector autoregression of all features on the past of all, by ridge regression on principal components."""

from __future__ import annotations

from typing import Annotated

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.mirror import check_mirror, suggest_mirror, with_reflections
from snellen.tasks.forecast.task import TASK
from snellen.tasks.forecast.vector import COMPONENTS, RIDGE, VectorAutoregression, fit_vector


@settings
class VectorAutoregressionSettings:
    """Principal components, regularisation, reflected motion."""

    components: Annotated[int, Limit(min=1)] = COMPONENTS
    """Principal components of the changes of all features that are read at each step of the window."""
    ridge: Annotated[float, Limit(min=0)] = RIDGE
    """Ridge penalty, as a fraction of the mean square of the components."""
    mirror: bool = False
    """Motion: train on each recording a second time, reflected left to right."""


def unsupported_reason(spec: Spec) -> str | None:
    if spec.input.shape[0] == 1:
        return "needs windows of at least 2 steps: --window 2"
    if len(future(spec).names) == 1:
        return "needs at least 2 features: of one, linear-autoregression is the same"
    return None


def suggest(spec: Spec) -> dict[str, Suggestion]:
    return suggest_mirror(spec)


def build(c: VectorAutoregressionSettings, spec: Spec) -> VectorAutoregression:
    return VectorAutoregression(spec, c.components)


def fit(c: VectorAutoregressionSettings, data: Dataset[Labelled], model: VectorAutoregression, run: Run) -> None:
    fit_vector(model, with_reflections(data, c.mirror), c.ridge)
    model.to(run.device)


LEARNER = Learner[VectorAutoregressionSettings, Dataset[Labelled], VectorAutoregression](
    name="vector-autoregression",
    summary="Vector autoregression: all features from the past of all, by ridge regression on principal components.",
    source="Sims 1980; on principal components: Stock and Watson 2002",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=VectorAutoregressionSettings,
    suggest=suggest,
    unsupported_reason=unsupported_reason,
    check_requirements=lambda c, spec: check_mirror(c.mirror, spec),
    build=build,
    fit=fit,
    stoppable=False,
)
