"""Training of tree ensembles by scikit-learn, shared by classification and regression.

Source: Friedman 2001, gradient boosting; Ke et al. 2017, histograms and leaf-wise growth; Breiman 2001, random forests.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from snellen.core.random import key
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Input, Spec
from snellen.data.dataset import Labelled, Samples
from snellen.nn.layers import Standardize
from snellen.nn.trees import Forest, Tree, TreeEnsemble, forest_trees
from snellen.training.supervised import all_samples
from snellen.training.time_limit import require_time

MAX_VALUES = 1 << 22  # of leaves, for the samples whose validation loss is computed at once
MAX_ROWS = 1 << 16  # that a tree of a random forest is fitted to
MAX_ROW_VALUES = 1 << 21  # of these rows, one for each output: bounds the memory of all trees
FEW_ROWS = 2000  # below which boosted trees have smaller leaves
COARSE = 1000.0  # standard deviations of the offset above which float32 resolves a column badly
HUGE = 1e30  # values near the limit of float32


class RowBatches(Protocol):
    """Samples in batches of about so many rows, such as `Samples`."""

    def __len__(self) -> int: ...

    def in_order(self, size: int) -> Iterator[Labelled]: ...


@settings
class BoostingSettings:
    """Boosted trees: number, size, learning rate."""

    max_iter: Annotated[int, Limit(min=1, max=10_000)] = 300
    """Boosting iterations, each of one tree, or of one for each class of several; those after the lowest validation
    loss are removed."""
    lr: Annotated[float, Limit(above=0, max=1)] = 0.1
    """Learning rate (shrinkage): factor of each tree."""
    max_leaf_nodes: Annotated[int, Limit(min=2)] = 31
    """Leaves of a tree, at most."""
    min_samples_leaf: Annotated[int, Limit(min=1)] = 20
    """Samples of a leaf, at least."""


def suggest_leaf_size(spec: Spec) -> dict[str, Suggestion]:
    """Smaller leaves of boosted trees for few samples, whose trees would have only few leaves."""
    count = spec.sizes.get("train", 0)
    if count >= FEW_ROWS:
        return {}
    return {"min_samples_leaf": Suggestion(value=10, reason=f"few samples ({count:,}): smaller leaves")}


def boosting_arguments(c: BoostingSettings, run: Run) -> dict[str, Any]:
    """Arguments of scikit-learn's HistGradientBoosting."""
    return {
        "max_iter": c.max_iter,
        "learning_rate": c.lr,
        "max_leaf_nodes": c.max_leaf_nodes,
        "min_samples_leaf": c.min_samples_leaf,
        "early_stopping": False,
        "random_state": seed_of(run, "boosted trees"),
    }


def seed_of(run: Run, purpose: str) -> int:
    """Seed for scikit-learn, 31 bits."""
    return key(run.seed, purpose) & 0x7FFFFFFF


def training_rows(samples: Samples) -> tuple[Tensor, Tensor]:
    """Raw inputs (N, D) and targets of all samples."""
    x, y, _ = all_samples(samples)
    return x.flatten(1), y


def comparison_dtype(input: Input) -> torch.dtype:
    """Type of the comparisons of boosted trees, in which every raw value is exact."""
    return torch.float64 if input.dtype == "float64" else torch.float32


def fit_forest(estimator: Any, forest: Forest, x: Tensor, y: Tensor, run: Run) -> None:
    """Fit a random forest of scikit-learn to raw inputs (N, D) and copy its trees."""
    if isinstance(forest.standardize, Standardize):
        _fit_float32(forest.standardize, x)
    limit = min(MAX_ROWS, max(MAX_ROW_VALUES // forest.trees.outputs, 1))
    if len(x) > limit:
        estimator.set_params(max_samples=limit)
        run.message(f"Each tree is fitted to {limit:,} rows, drawn from the {len(x):,}.")
    estimator.set_params(random_state=seed_of(run, "random forest"), n_jobs=torch.get_num_threads())
    arrays = forest.standardize(x).float().numpy(), y.numpy()
    check_time(estimator, *arrays, run, "n_estimators")
    fit_estimator(estimator, *arrays)
    forest.trees.set_trees(forest_trees(estimator, forest.trees.outputs))


def _fit_float32(standardize: Standardize, x: Tensor) -> None:
    """Standardise the float64 columns that float32 does not resolve, and no others.

    Such are seconds since 1970, and values beyond 3e38.
    """
    standardize.fit(x)
    is_fine = (standardize.mean.abs() <= COARSE * standardize.std) & (x.abs().amax(0) <= HUGE)
    standardize.mean.masked_fill_(is_fine, 0.0)
    standardize.std.masked_fill_(is_fine, 1.0)


def fit_estimator(estimator: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Fit an estimator of scikit-learn with one OpenMP thread: several would sum in a random order."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        estimator.fit(x, y)


def check_time(estimator: Any, x: np.ndarray, y: np.ndarray, run: Run, count: str, fits: int = 1) -> None:
    """Check that an estimator can be fitted within the time limit, by fitting two small ones.

    Args:
        count: the parameter that is the number of trees or iterations, to which the time is proportional.
        fits: number of estimators.
    Raises:
        TooLittleTime: if not.
    """
    from sklearn.base import clone

    if run.seconds_left is None:
        return
    parallel = getattr(estimator, "n_jobs", 1)
    what = {"max_iter": "iterations", "n_estimators": "trees"}[count]
    total, few, seconds = getattr(estimator, count), (parallel, 4 * parallel), []
    for number in few:
        started = time.monotonic()
        fit_estimator(clone(estimator).set_params(**{count: number}), x, y)
        seconds.append(time.monotonic() - started)
    each = max(seconds[1] - seconds[0], 0.0) / (few[1] - few[0])
    require_time(run, fits * (seconds[0] + total * each), f"{total:,} {what}", f"Give more time, or fewer {what}.")


def set_best_rounds(
    ensemble: TreeEnsemble,
    rounds: Sequence[Sequence[Tree]],
    samples: RowBatches,
    losses: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Set the trees of the boosting rounds up to the lowest validation loss; of all without a validation split.

    Args:
        rounds: for each round one tree for each output.
        losses: loss of each sample after each round, from predictions (B, rounds, K) and targets: (B, rounds).
    """
    ensemble.set_trees(list(itertools.chain.from_iterable(rounds)))
    if not len(samples) or not rounds:
        return
    total = torch.zeros(len(rounds), dtype=torch.float64)
    for batch in samples.in_order(max(1, min(256, MAX_VALUES // ensemble.trees))):
        staged = ensemble.contributions(batch.x).cumsum(1) + ensemble.base
        total += losses(staged, batch.y).sum(0)
    best = int(total.argmin()) + 1
    ensemble.set_trees(list(itertools.chain.from_iterable(rounds[:best])))
