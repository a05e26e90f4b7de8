"""Linear autoregression of each feature on its own past and on the other inputs, by least squares."""

from __future__ import annotations

from typing import Annotated

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.forecast.linear import LinearAutoregression, least_squares
from snellen.tasks.forecast.task import TASK


@settings
class LinearAutoregressionSettings:
    """Steps of the past, and regularisation."""

    order: Annotated[int, Limit(min=2)] | None = None
    """Order: last steps of the window that are used; auto: all."""
    rcond: Annotated[float, Limit(min=0, below=1)] = 1e-6
    """Singular values below this fraction of the largest count as zero."""


def unsupported_reason(spec: Spec) -> str | None:
    return "needs windows of at least 2 steps: --window 2" if spec.input.shape[0] == 1 else None


def build(c: LinearAutoregressionSettings, spec: Spec) -> LinearAutoregression:
    window = spec.input.shape[0] or 1
    return LinearAutoregression(spec, min(c.order or window, window))


def fit(c: LinearAutoregressionSettings, data: Dataset[Labelled], model: LinearAutoregression, run: Run) -> None:
    least_squares(model, data, c.rcond)
    model.to(run.device)


LEARNER = Learner[LinearAutoregressionSettings, Dataset[Labelled], LinearAutoregression](
    name="linear-autoregression",
    summary="Linear autoregression: each feature from its past and the inputs, by least squares for each step ahead.",
    source="Yule 1927; direct for each step with the last value subtracted: Zeng, Chen, Zhang and Xu 2023",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=LinearAutoregressionSettings,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
    stoppable=False,
)
