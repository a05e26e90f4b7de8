"""Random forest for classification.

scikit-learn fits the trees; they are stored as tensors, and PyTorch evaluates them.

Source: Breiman 2001; scikit-learn's RandomForestClassifier.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.trees import Forest
from snellen.tasks.classify.task import TASK, headline, labels_unsupported
from snellen.training.trees import fit_forest, training_rows

MIN_PROBABILITY = 1e-6  # so that every class has a finite log-probability


@settings
class RandomForestClassifierSettings:
    """Settings of the random forest: trees, class weights."""

    n_estimators: Annotated[int, Limit(min=1, max=10_000)] = 100
    """Number of trees."""
    min_samples_leaf: Annotated[int, Limit(min=1)] = 1
    """Samples of a leaf, at least."""
    class_weights: Literal["none", "balanced"] = "none"
    """Class weights of the predictions; balanced: the class fractions of the leaves are divided by the frequencies of
    the classes, so that rare classes are predicted more often."""


class RandomForestClassifier(nn.Module):
    """Random forest whose probabilities are the mean class fractions of the leaves, weighted; none is zero."""

    probabilistic = True

    def __init__(self, forest: Forest) -> None:
        super().__init__()
        self.forest = forest

    def scores(self, x: Tensor) -> Tensor:
        fractions: Tensor = self.forest(x)
        return fractions.clamp(min=MIN_PROBABILITY).log()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    if isinstance(spec.target, Classes) and headline(spec) == "balanced accuracy":
        return {"class_weights": Suggestion(value="balanced", reason="the headline is the balanced accuracy")}
    return {}


def build(c: RandomForestClassifierSettings, spec: Spec) -> RandomForestClassifier:
    assert isinstance(spec.target, Classes)
    return RandomForestClassifier(Forest(spec.input, len(spec.target.names), torch.float32))


def fit(c: RandomForestClassifierSettings, data: Dataset[Labelled], model: RandomForestClassifier, run: Run) -> None:
    """Fit the forest without class weights: they would not change the pure leaves of deep trees."""
    from sklearn.ensemble import RandomForestClassifier as Estimator

    x, y = training_rows(data.samples("train"))
    estimator = Estimator(n_estimators=c.n_estimators, min_samples_leaf=c.min_samples_leaf)
    fit_forest(estimator, model.forest, x, y, run)
    if c.class_weights == "balanced":
        counts = torch.bincount(y, minlength=model.forest.trees.outputs).clamp(min=1)
        model.forest.trees.value.mul_(len(y) / (len(counts) * counts))
    model.to(run.device)


LEARNER = Learner[RandomForestClassifierSettings, Dataset[Labelled], RandomForestClassifier](
    name="random-forest",
    summary="Random forest: mean of decision trees, each grown on a bootstrap sample with random columns.",
    source="Breiman 2001",
    task=TASK,
    accepts=frozenset({"vector"}),
    settings=RandomForestClassifierSettings,
    suggest=suggest,
    unsupported_reason=labels_unsupported,
    build=build,
    fit=fit,
    stoppable=False,
)
