"""Summary features of sequences and ridge regression.

Source: Fulcher and Jones 2014 (features of a series); Hoerl and Kennard 1970.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.summary_linear import SummaryLinear
from snellen.tasks.regress.objective import target_count
from snellen.tasks.regress.ridge import best_penalty, ridge_weights, standardized_svd
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import all_samples


@settings
class SummaryRegressorSettings:
    """Settings of summary features with ridge regression."""

    alpha: Annotated[float, Limit(min=0)] | None = None
    """Ridge penalty λ of λ/2 ‖w‖², for standardised features; auto: chosen by leave-one-out cross-validation."""


class SummaryRegressor(nn.Module):
    """Ridge regression of the summary features of a sequence, in the user's units."""

    def __init__(self, features: int, targets: int) -> None:
        super().__init__()
        self.linear = SummaryLinear(features, targets)

    def predict(self, x: Tensor) -> Tensor:
        numbers: Tensor = self.linear(x)
        return numbers


def build(c: SummaryRegressorSettings, spec: Spec) -> SummaryRegressor:
    return SummaryRegressor(spec.input.shape[1] or 1, target_count(spec))


def fit(c: SummaryRegressorSettings, data: Dataset[Labelled], model: SummaryRegressor, run: Run) -> None:
    x, t, _ = all_samples(data.samples("train"))
    phi = standardized_svd(model.linear.fit_statistics(x))
    penalty = best_penalty(phi, t.double()) if c.alpha is None else c.alpha
    run.notes["penalty"] = penalty
    model.linear.w.copy_(ridge_weights(phi, t.double(), penalty))
    model.to(run.device)


LEARNER = Learner[SummaryRegressorSettings, Dataset[Labelled], SummaryRegressor](
    name="summary-features",
    summary="Ridge regression of statistics of a sequence: means, extremes, slopes, dominant frequencies.",
    source="Fulcher and Jones 2014; Hoerl and Kennard 1970",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=SummaryRegressorSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
