"""Constant velocity: the line through the last two steps."""

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
class ConstantVelocitySettings:
    """Settings of constant velocity (none)."""


class ConstantVelocity(nn.Module):
    """Linear extrapolation of the last two steps of the first `features` features to each of `steps` steps."""

    def __init__(self, steps: int, features: int) -> None:
        super().__init__()
        self.steps = steps
        self.features = features

    def forecast(self, x: Tensor) -> Tensor:
        return forecasting.constant_velocity(x[..., : self.features].double(), self.steps)


def unsupported_reason(spec: Spec) -> str | None:
    return "needs windows of at least 2 steps: --window 2" if spec.input.shape[0] == 1 else None


def build(c: ConstantVelocitySettings, spec: Spec) -> ConstantVelocity:
    return ConstantVelocity(future(spec).steps, len(future(spec).names))


def fit(c: ConstantVelocitySettings, data: Dataset[Labelled], model: ConstantVelocity, run: Run) -> None:
    """Nothing is fitted."""


LEARNER = Learner[ConstantVelocitySettings, Dataset[Labelled], ConstantVelocity](
    name="constant-velocity",
    summary="Constant velocity: extrapolates the line through the last two steps.",
    source="Newton's first law; as a baseline of motion: Schöller, Aravantinos, Lay and Knoll 2020",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=ConstantVelocitySettings,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
)
