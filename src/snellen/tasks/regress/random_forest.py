"""Random forest for regression.

scikit-learn fits the trees; they are stored as tensors, and PyTorch evaluates them.

Source: Breiman 2001; scikit-learn's RandomForestRegressor.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.trees import Forest
from snellen.tasks.regress.objective import target_count
from snellen.tasks.regress.task import TASK
from snellen.training.trees import fit_forest, training_rows

MIN_COLUMNS = 8  # that each split chooses from, where there are so many; of more, it is half of them


@settings
class RandomForestRegressorSettings:
    """Settings of the random forest: number and size of the trees."""

    n_estimators: Annotated[int, Limit(min=1, max=10_000)] = 100
    """Number of trees."""
    min_samples_leaf: Annotated[int, Limit(min=1)] = 3
    """Samples of a leaf, at least."""


class RandomForestRegressor(nn.Module):
    """Random forest: the mean over trees of the mean target in the leaf, in the user's units."""

    def __init__(self, forest: Forest) -> None:
        super().__init__()
        self.forest = forest

    def predict(self, x: Tensor) -> Tensor:
        y: Tensor = self.forest(x)
        return y


def build(c: RandomForestRegressorSettings, spec: Spec) -> RandomForestRegressor:
    return RandomForestRegressor(Forest(spec.input, target_count(spec), torch.float64))


def fit(c: RandomForestRegressorSettings, data: Dataset[Labelled], model: RandomForestRegressor, run: Run) -> None:
    """Fit all targets with the same trees, each in units of its standard deviation."""
    from sklearn.ensemble import RandomForestRegressor as Estimator

    x, y = training_rows(data.samples("train"))
    columns = min(x.shape[1], max(MIN_COLUMNS, x.shape[1] // 2))  # fewer take less time, with the same error
    estimator = Estimator(n_estimators=c.n_estimators, min_samples_leaf=c.min_samples_leaf, max_features=columns)
    mean, std = y.mean(0), y.std(0, correction=0)
    if len(std) == 1:
        fit_forest(estimator, model.forest, x, y[:, 0], run)  # the splits do not depend on the unit
    else:
        std = torch.where(std > 0, std, torch.ones_like(std))
        fit_forest(estimator, model.forest, x, (y - mean) / std, run)
        model.forest.trees.value.mul_(std)
        model.forest.trees.base.copy_(mean)
    model.to(run.device)


LEARNER = Learner[RandomForestRegressorSettings, Dataset[Labelled], RandomForestRegressor](
    name="random-forest",
    summary="Random forest: mean of decision trees, each grown on a bootstrap sample with random columns.",
    source="Breiman 2001",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=RandomForestRegressorSettings,
    build=build,
    fit=fit,
    stoppable=False,
)
