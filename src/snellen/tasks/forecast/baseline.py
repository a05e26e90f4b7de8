"""Baseline: the last value, at every step of the horizon."""

from __future__ import annotations

from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import forecasting
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.task import TASK


@settings
class LastValueSettings:
    """Settings of the last value (none)."""


class LastValue(nn.Module):
    """Forecast of the last step of the first `features` features of the window, at each of `steps` steps."""

    def __init__(self, steps: int, features: int) -> None:
        super().__init__()
        self.steps = steps
        self.features = features

    def forecast(self, x: Tensor) -> Tensor:
        return forecasting.last_value(x[..., : self.features], self.steps)


def build(c: LastValueSettings, spec: Spec) -> LastValue:
    return LastValue(future(spec).steps, len(future(spec).names))


def fit(c: LastValueSettings, data: Dataset[Labelled], model: LastValue, run: Run) -> None:
    """Nothing is fitted."""


LEARNER = Learner[LastValueSettings, Dataset[Labelled], LastValue](
    name="baseline",
    summary="Last value: forecasts that nothing changes.",
    source="the naive forecast: Hyndman and Athanasopoulos 2021, sec. 5.2",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=LastValueSettings,
    build=build,
    fit=fit,
)
