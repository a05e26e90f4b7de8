"""Seasonal naive forecast: the value one season before."""

from __future__ import annotations

from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import scaled_errors
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.task import TASK


@settings
class SeasonalNaiveSettings:
    """Settings of the seasonal naive forecast (none; the season is that of the data, --season)."""


class SeasonalNaive(nn.Module):
    """Forecast x(t + h − m ⌈h / m⌉) of the first `features` features, m = `season`, at each of `steps` steps."""

    def __init__(self, steps: int, features: int, season: int) -> None:
        super().__init__()
        self.steps = steps
        self.features = features
        self.season = season

    def forecast(self, x: Tensor) -> Tensor:
        return scaled_errors.seasonal_naive(x[..., : self.features], self.steps, self.season)


def unsupported_reason(spec: Spec) -> str | None:
    season, window = future(spec).season, spec.input.shape[0] or 1
    if season is None:
        return "needs a season, and none was found: --season STEPS"
    return f"needs windows of at least a season: --window {season}" if season > window else None


def build(c: SeasonalNaiveSettings, spec: Spec) -> SeasonalNaive:
    return SeasonalNaive(future(spec).steps, len(future(spec).names), future(spec).season or 1)


def fit(c: SeasonalNaiveSettings, data: Dataset[Labelled], model: SeasonalNaive, run: Run) -> None:
    """Nothing is fitted."""


LEARNER = Learner[SeasonalNaiveSettings, Dataset[Labelled], SeasonalNaive](
    name="seasonal-naive",
    summary="Seasonal naive forecast: the value one season before.",
    source="Hyndman and Athanasopoulos 2021, sec. 5.2",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=SeasonalNaiveSettings,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
)
