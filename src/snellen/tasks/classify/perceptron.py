"""The perceptron: a hyperplane moved by each mistake.

Source: Rosenblatt 1958; lecture 000, w += ρ (y − ŷ) x; lecture 001, step function; Novikoff 1962 for the bound on
the number of updates, (R/γ)².
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.batches import Batches
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.tasks.classify.task import TASK, one_class
from snellen.training.supervised import some


@settings
class PerceptronSettings:
    """The rule has a rate and an end."""

    epochs: Annotated[int, Limit(least=1)] = 10
    """Most passes over the training data; it ends earlier after one without a mistake."""
    lr: Annotated[float, Limit(above=0)] = 1.0
    """ρ, how far a mistake moves the hyperplane."""


class Perceptron(nn.Module):
    """One hyperplane a class, that class against the rest; the one furthest on the right side answers.

    w: (K, D + 1) weights, the last the offset. The scores are no probabilities.
    """

    probabilistic = False
    w: Tensor

    def __init__(self, standardize: Standardize, inputs: int, classes: int) -> None:
        super().__init__()
        self.standardize = standardize
        self.register_buffer("w", torch.zeros(classes, inputs + 1))

    def scores(self, x: Tensor) -> Tensor:
        return with_one(self.standardize(x)) @ self.w.T


def with_one(x: Tensor) -> Tensor:
    """(B, ...) to (B, D + 1): flattened, with a one for the offset."""
    flat = x.flatten(1)
    return torch.cat([flat, flat.new_ones(flat.shape[0], 1)], dim=1)


def passing(w: Tensor, x: Tensor, y: Tensor, rate: float) -> int:
    """The perceptron rule over some samples, in their order; `w` is changed in place.

    Args:
        w: (K, D) weights. x: (N, D). y: (N, K) zeros and ones.
    Returns:
        How many mistakes were made, each an update.
    """
    mistakes = 0
    for sample, truth in zip(x, y, strict=True):
        said = (w @ sample > 0).float()  # the step function
        error = truth - said  # (K,) in −1, 0, 1
        if error.any():
            w += rate * torch.outer(error, sample)
            mistakes += int(error.abs().sum())
    return mistakes


def build(c: PerceptronSettings, spec: Spec) -> Perceptron:
    assert isinstance(spec.target, Classes)
    return Perceptron(
        Standardize(spec.input, preprocessing_of(c, spec).channels),
        flat_size(spec, preprocessing_of(c, spec)),
        len(spec.target.names),
    )


def preprocessing_of(c: PerceptronSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=64)


def fit(c: PerceptronSettings, data: Dataset[Labelled], model: Perceptron, run: Run) -> None:
    """Passes until one is without a mistake. A step is a block of samples, so that a stop waits for seconds only."""
    train = data.samples("train")
    model.standardize.learn(some(train).x, data.value_range)
    blocks = Batches(train, 2000, run.seed)
    classes = model.w.shape[0]
    mistakes = run.once("mistakes", lambda: torch.zeros((), dtype=torch.int64))
    updates = run.once("updates", lambda: torch.zeros((), dtype=torch.int64))
    run.keep(model=model)
    for step in run.steps(c.epochs * len(blocks), about=blocks.names):
        if step % len(blocks) == 0:
            mistakes.zero_()
        batch = blocks.at(step)
        x = with_one(model.standardize(batch.x))
        y = nn.functional.one_hot(batch.y, classes).float()
        made = passing(model.w, x, y, c.lr)
        mistakes += made
        updates += made
        if (step + 1) % len(blocks) == 0:
            run.log(mistakes=float(mistakes), updates=float(updates))
            if not mistakes:
                run.enough()
    passes = c.epochs
    run.notes["converged"] = bool(mistakes == 0)
    if mistakes:
        run.say(
            f"The perceptron did not converge: {int(mistakes):,} mistakes in pass {passes}. "
            "Either the classes cannot be parted by hyperplanes, or it needs more --passes."
        )
    model.to(run.device)


LEARNER = Learner[PerceptronSettings, Dataset[Labelled], Perceptron](
    name="perceptron",
    summary="Rosenblatt's rule: each mistake moves a hyperplane towards the sample.",
    source="Rosenblatt 1958; lectures 000, 001, 003",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=PerceptronSettings,
    preprocessing_of=preprocessing_of,
    unsupported_reason=one_class,
    build=build,
    fit=fit,
)
