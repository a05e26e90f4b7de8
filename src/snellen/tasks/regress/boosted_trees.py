"""Gradient-boosted decision trees for regression.

scikit-learn fits the trees to histograms of the columns; they are stored as tensors, and PyTorch evaluates them.

Source: Friedman 2001; Ke et al. 2017 (LightGBM); scikit-learn's HistGradientBoostingRegressor.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.trees import Tree, TreeEnsemble, boosting_base, boosting_rounds
from snellen.tasks.regress.objective import target_count
from snellen.tasks.regress.task import TASK, headline
from snellen.training.trees import (
    BoostingSettings,
    boosting_arguments,
    check_time,
    comparison_dtype,
    fit_estimator,
    set_best_rounds,
    suggest_leaf_size,
    training_rows,
)


@settings
class BoostedTreesRegressorSettings:
    """Settings of boosted trees: trees, loss."""

    boosting: BoostingSettings = BoostingSettings()
    loss: Literal["squared", "absolute"] | None = None
    """Loss of an error e: squared, e²; absolute, |e|; auto: absolute for one target, whose headline is the mean
    absolute error, squared for several, whose headline is R²."""


class BoostedTreesRegressor(nn.Module):
    """Boosted trees whose sums are the targets, in the user's units."""

    def __init__(self, trees: TreeEnsemble) -> None:
        super().__init__()
        self.trees = trees

    def predict(self, x: Tensor) -> Tensor:
        y: Tensor = self.trees(x)
        return y


def build(c: BoostedTreesRegressorSettings, spec: Spec) -> BoostedTreesRegressor:
    value = torch.empty(0, 1, dtype=torch.float64)
    return BoostedTreesRegressor(
        TreeEnsemble(spec.input.shape[0] or 1, target_count(spec), comparison_dtype(spec.input), value)
    )


def fit(c: BoostedTreesRegressorSettings, data: Dataset[Labelled], model: BoostedTreesRegressor, run: Run) -> None:
    """Fit the trees of each target separately; all targets have the same number of trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = training_rows(data.samples("train"))
    loss = c.loss or ("squared" if headline(data.spec) == "R2" else "absolute")
    estimator = HistGradientBoostingRegressor(loss=f"{loss}_error", **boosting_arguments(c.boosting, run))
    inputs = x.double().numpy()
    check_time(estimator, inputs, y[:, 0].numpy(), run, "max_iter", fits=y.shape[1])
    trees: list[list[Tree]] = []
    for k in range(y.shape[1]):
        fit_estimator(estimator, inputs, y[:, k].numpy())
        model.trees.base[k] = boosting_base(estimator)[0]
        trees.append([tree for (tree,) in boosting_rounds(estimator)])
    std = y.std(0, correction=0)
    scale = torch.where(std > 0, std, torch.ones_like(std))
    rounds = list(zip(*trees, strict=True))
    set_best_rounds(model.trees, rounds, data.samples("val"), partial(regression_losses, loss=loss, scale=scale))
    run.notes["trees"] = model.trees.trees
    model.to(run.device)


def regression_losses(staged: Tensor, y: Tensor, loss: str, scale: Tensor) -> Tensor:
    """Loss of each sample after each round, summed over targets in units of `scale`: (B, rounds, K) to (B, rounds)."""
    errors = (staged - y[:, None]) / scale
    return (errors.abs() if loss == "absolute" else errors.square()).sum(2)


LEARNER = Learner[BoostedTreesRegressorSettings, Dataset[Labelled], BoostedTreesRegressor](
    name="boosted-trees",
    summary="Gradient-boosted decision trees: each tree corrects the sum of those before it.",
    source="Friedman 2001; Ke et al. 2017",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=BoostedTreesRegressorSettings,
    suggest=suggest_leaf_size,
    build=build,
    fit=fit,
    stoppable=False,
)
