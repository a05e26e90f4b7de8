"""Gradient-boosted decision trees on lag features: one model of all steps ahead for each series.

scikit-learn fits the trees to histograms of the features; they are stored as tensors, and PyTorch evaluates them.

Source: Friedman 2001; Ke et al. 2017; on lags and known inputs: Januschowski et al. 2022 (trees in the M5 competition).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.nn.trees import TreeEnsemble, boosting_base, boosting_rounds
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.lag_features import LagFeatures
from snellen.tasks.forecast.task import TASK
from snellen.training.trees import BoostingSettings, boosting_arguments, check_time, fit_estimator, set_best_rounds

MAX_TARGETS = 20  # one model each
MAX_ROWS = 300_000  # windows times steps that the trees are fitted to
BATCH = 4096  # windows


@settings
class BoostedTreesForecasterSettings:
    """Settings of boosted trees: trees, loss."""

    boosting: BoostingSettings = BoostingSettings()
    loss: Literal["absolute", "squared"] = "absolute"
    """Loss of an error e: absolute, |e|, that of the headline metric; squared, e²."""


class BoostedTreesForecaster(nn.Module):
    """Forecast level + unit · trees(lag features), for each series (see `Level`)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.features = LagFeatures(spec)
        self.trees = nn.ModuleList(
            TreeEnsemble(self.features.count, 1, torch.float64, torch.empty(0, 1, dtype=torch.float64))
            for _ in range(self.features.targets)
        )

    def forecast(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to (B, H, D) float64 in the user's units."""
        level, unit = self.features.level(x)
        changes = [
            trees(self.features(x, k).flatten(0, 1)).reshape(-1, self.features.steps)
            for k, trees in enumerate(self.trees)
        ]
        y: Tensor = level[:, None] + torch.stack(changes, 2) * unit[:, None]
        return y


class Rows:
    """Rows of lag features of one target, and their truth in units of the scale, in batches.

    Args:
        every: one window of so many is used.
    """

    def __init__(self, model: BoostedTreesForecaster, samples: Samples, target: int, every: int = 1) -> None:
        self.model, self.samples, self.target, self.every = model, samples, target, every

    def __len__(self) -> int:
        return len(self.samples)

    def in_order(self, size: int = BATCH) -> Iterator[Labelled]:
        """Batches of `size` rows or a few more."""
        k, features = self.target, self.model.features
        for batch in self.samples.in_order(max(1, size // features.steps)):
            x, y = batch.x[:: self.every], batch.y[:: self.every, :, k].double()
            level, unit = (values[:, k : k + 1] for values in features.level(x))
            truth = (y - level) / unit
            yield Labelled(features(x, k).flatten(0, 1), truth.reshape(-1, 1), batch.ids)


def unsupported_reason(spec: Spec) -> str | None:
    count = len(future(spec).names)
    if count > MAX_TARGETS:
        return f"forecasts at most {MAX_TARGETS} columns, these are {count:,}: name some with --target"
    return None


def build(c: BoostedTreesForecasterSettings, spec: Spec) -> BoostedTreesForecaster:
    return BoostedTreesForecaster(spec)


def fit(c: BoostedTreesForecasterSettings, data: Dataset[Labelled], model: BoostedTreesForecaster, run: Run) -> None:
    """Fit the trees of each series to all steps ahead together."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    train, val = data.samples("train"), data.samples("val")
    model.features.level.fit(train)
    every = max(1, -(-len(train) * model.features.steps // MAX_ROWS))
    if every > 1:
        run.message(f"The trees are fitted to one window of {every}, as there are {len(train):,}.")
    for k, trees in enumerate(model.trees):
        assert isinstance(trees, TreeEnsemble)
        batches = list(Rows(model, train, k, every).in_order(BATCH * model.features.steps))
        x, y = torch.cat([b.x for b in batches]).numpy(), torch.cat([b.y for b in batches])[:, 0].numpy()
        estimator = HistGradientBoostingRegressor(loss=f"{c.loss}_error", **boosting_arguments(c.boosting, run))
        if k == 0:
            check_time(estimator, x, y, run, "max_iter", fits=len(model.trees))
        fit_estimator(estimator, x, y)
        trees.base[0] = boosting_base(estimator)[0]
        set_best_rounds(
            trees, boosting_rounds(estimator), Rows(model, val, k), _absolute if c.loss == "absolute" else _squared
        )
    run.notes["trees"] = sum(trees.trees for trees in model.trees if isinstance(trees, TreeEnsemble))
    model.to(run.device)


def _absolute(staged: Tensor, y: Tensor) -> Tensor:
    """(B, rounds, 1) and (B, 1) to (B, rounds)."""
    return (staged - y[:, None]).abs().sum(2)


def _squared(staged: Tensor, y: Tensor) -> Tensor:
    return (staged - y[:, None]).square().sum(2)


LEARNER = Learner[BoostedTreesForecasterSettings, Dataset[Labelled], BoostedTreesForecaster](
    name="boosted-trees",
    summary="Gradient-boosted decision trees on lags, earlier seasons and inputs known in advance.",
    source="Friedman 2001; Ke et al. 2017; Januschowski et al. 2022",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=BoostedTreesForecasterSettings,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
    stoppable=False,
)
