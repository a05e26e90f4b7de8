"""Gradient-boosted decision trees for classification.

scikit-learn fits the trees to histograms of the columns; they are stored as tensors, and PyTorch evaluates them.

Source: Friedman 2001; Ke et al. 2017 (LightGBM); scikit-learn's HistGradientBoostingClassifier.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, settings
from snellen.core.spec import Classes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.trees import Tree, TreeEnsemble, boosting_base, boosting_rounds, leaf_only
from snellen.tasks.classify.task import TASK, headline, labels_unsupported
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

ABSENT = -1e4  # score of a class without a sample


@settings
class BoostedTreesClassifierSettings:
    """Settings of boosted trees: trees, class weights."""

    boosting: BoostingSettings = BoostingSettings()
    class_weights: Literal["none", "balanced"] = "none"
    """Class weights of the loss; balanced: inversely proportional to the class frequency."""


class BoostedTreesClassifier(nn.Module):
    """Boosted trees whose sums are logits; of two classes that of the second, the first has logit 0."""

    probabilistic = True

    def __init__(self, trees: TreeEnsemble) -> None:
        super().__init__()
        self.trees = trees

    def scores(self, x: Tensor) -> Tensor:
        return both_classes(self.trees(x))


def both_classes(logits: Tensor) -> Tensor:
    """(..., K) logits, also where there is only that of the second of two classes, (..., 1)."""
    return logits if logits.shape[-1] > 1 else torch.cat([torch.zeros_like(logits), logits], dim=-1)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    suggestions = suggest_leaf_size(spec)
    if isinstance(spec.target, Classes) and headline(spec) == "balanced accuracy":
        suggestions["class_weights"] = Suggestion(value="balanced", reason="the headline is the balanced accuracy")
    return suggestions


def build(c: BoostedTreesClassifierSettings, spec: Spec) -> BoostedTreesClassifier:
    assert isinstance(spec.target, Classes)
    classes = len(spec.target.names)
    value = torch.empty(0, 1, dtype=torch.float64)
    inputs = spec.input.shape[0] or 1
    return BoostedTreesClassifier(
        TreeEnsemble(inputs, classes if classes > 2 else 1, comparison_dtype(spec.input), value)
    )


def fit(c: BoostedTreesClassifierSettings, data: Dataset[Labelled], model: BoostedTreesClassifier, run: Run) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    assert isinstance(data.spec.target, Classes)
    x, y = training_rows(data.samples("train"))
    counts = torch.bincount(y, minlength=len(data.spec.target.names))
    base = torch.where(counts > 0, 0.0, ABSENT).double()
    present = counts.nonzero()[:, 0].tolist()
    rounds: list[list[Tree]] = []
    if len(present) > 1:
        boosted = present[1:] if len(present) == 2 else present  # classes whose logits have trees
        weights = None if c.class_weights == "none" else c.class_weights
        estimator = HistGradientBoostingClassifier(**boosting_arguments(c.boosting, run), class_weight=weights)
        arrays = x.double().numpy(), y.numpy()
        check_time(estimator, *arrays, run, "max_iter")
        fit_estimator(estimator, *arrays)
        base[boosted] = boosting_base(estimator)
        rounds = [_for_each_output(trees, boosted, model.trees.outputs) for trees in boosting_rounds(estimator)]
    model.trees.base.copy_(base if model.trees.outputs > 1 else base[1:] - base[:1])
    weight = len(y) / (len(present) * counts.clamp(min=1).double()) if c.class_weights == "balanced" else None
    set_best_rounds(model.trees, rounds, data.samples("val"), partial(cross_entropies, weight=weight))
    run.notes["trees"] = model.trees.trees
    model.to(run.device)


def _for_each_output(trees: list[Tree], boosted: list[int], outputs: int) -> list[Tree]:
    """The trees of one round, one for each output; an output without trees gets a leaf of zero."""
    tree_of = dict(zip(boosted, trees, strict=True))
    return trees if outputs == 1 else [tree_of.get(k, leaf_only(1)) for k in range(outputs)]


def cross_entropies(staged: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted cross-entropy of each sample after each round: logits (B, rounds, K) to (B, rounds)."""
    logits = both_classes(staged)
    truth = y[:, None].expand(logits.shape[:2])
    return nn.functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), weight, reduction="none").view_as(truth)


LEARNER = Learner[BoostedTreesClassifierSettings, Dataset[Labelled], BoostedTreesClassifier](
    name="boosted-trees",
    summary="Gradient-boosted decision trees: each tree corrects the sum of those before it.",
    source="Friedman 2001; Ke et al. 2017",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=BoostedTreesClassifierSettings,
    suggest=suggest,
    unsupported_reason=labels_unsupported,
    build=build,
    fit=fit,
    stoppable=False,
)
