"""Perceptron (Rosenblatt 1958).

Source: Rosenblatt 1958; lecture 000, w += ρ (y − ŷ) x; lecture 001, step function; Novikoff 1962, the bound (R/γ)² on
the number of updates.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.batches import Batches
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.nn.piecewise_linear import LinearLayers, linear_layer
from snellen.tasks.classify.task import TASK, labels_unsupported
from snellen.training.supervised import subset


@settings
class PerceptronSettings:
    """Settings of the perceptron."""

    epochs: Annotated[int, Limit(min=1)] = 10
    """Epochs: maximum number; training ends earlier after an epoch without a mistake."""
    lr: Annotated[float, Limit(above=0)] = 1.0
    """Learning rate ρ of the updates."""


class Perceptron(nn.Module):
    """Multi-class perceptron, one hyperplane per class (one vs. rest); the class with the highest score is predicted.

    w: (K, D + 1) weights, the last the bias. The scores are not probabilities.
    """

    probabilistic = False
    w: Tensor

    def __init__(self, standardize: Standardize, inputs: int, classes: int) -> None:
        super().__init__()
        self.standardize = standardize
        self.register_buffer("w", torch.zeros(classes, inputs + 1))

    def scores(self, x: Tensor) -> Tensor:
        return append_one(self.standardize(x)) @ self.w.T

    def linear_layers(self) -> LinearLayers:
        return linear_layer(self.w[:, :-1], self.w[:, -1], self.standardize)


def append_one(x: Tensor) -> Tensor:
    """Flatten (B, ...) to (B, D + 1), with a one for the bias."""
    flattened = x.flatten(1)
    return torch.cat([flattened, flattened.new_ones(flattened.shape[0], 1)], dim=1)


def apply_perceptron_rule(w: Tensor, x: Tensor, y: Tensor, rate: float) -> int:
    """Apply the perceptron rule to samples in their order; changes `w` in place.

    Args:
        w: (K, D) weights. x: (N, D). y: (N, K) zeros and ones.
    Returns:
        The number of mistakes, each an update.
    """
    mistakes = 0
    for sample, truth in zip(x, y, strict=True):
        predicted = (w @ sample > 0).float()  # the step function
        error = truth - predicted  # (K,) in −1, 0, 1
        if error.any():
            w += rate * torch.outer(error, sample)
            mistakes += int(error.abs().sum())
    return mistakes


def build(c: PerceptronSettings, spec: Spec) -> Perceptron:
    assert isinstance(spec.target, Classes)
    return Perceptron(
        Standardize(spec.input, preprocessing_of(c, spec).channels),
        flattened_size(spec, preprocessing_of(c, spec)),
        len(spec.target.names),
    )


def preprocessing_of(c: PerceptronSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=64)


def fit(c: PerceptronSettings, data: Dataset[Labelled], model: Perceptron, run: Run) -> None:
    """Train until an epoch has no mistake. A step is a block of samples, so that training can stop within seconds."""
    train = data.samples("train")
    model.standardize.fit(subset(train).x, data.value_range)
    blocks = Batches(train, 2000, run.seed)
    classes = model.w.shape[0]
    mistakes = run.once("mistakes", lambda: torch.zeros((), dtype=torch.int64))
    updates = run.once("updates", lambda: torch.zeros((), dtype=torch.int64))
    run.keep(model=model)
    for step in run.steps(c.epochs * len(blocks), describe=blocks.names):
        if step % len(blocks) == 0:
            mistakes.zero_()
        batch = blocks.at(step)
        x = append_one(model.standardize(batch.x))
        y = nn.functional.one_hot(batch.y, classes).float()
        errors = apply_perceptron_rule(model.w, x, y, c.lr)
        mistakes += errors
        updates += errors
        if (step + 1) % len(blocks) == 0:
            run.log(mistakes=float(mistakes), updates=float(updates))
            if not mistakes:
                run.end_loop()
    epochs = c.epochs
    run.notes["converged"] = bool(mistakes == 0)
    if mistakes:
        run.message(
            f"The perceptron did not converge: {int(mistakes):,} errors (samples × classes) in epoch {epochs}. "
            "The classes are not linearly separable, or it needs more --epochs."
        )
    model.to(run.device)


LEARNER = Learner[PerceptronSettings, Dataset[Labelled], Perceptron](
    name="perceptron",
    summary="Perceptron: linear classifier, updated at each misclassified sample (Rosenblatt's rule).",
    source="Rosenblatt 1958; lectures 000, 001, 003",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=PerceptronSettings,
    preprocessing_of=preprocessing_of,
    unsupported_reason=labels_unsupported,
    build=build,
    fit=fit,
)
