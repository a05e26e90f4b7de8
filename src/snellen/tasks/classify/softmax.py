"""Softmax regression: one linear layer under cross-entropy; logistic regression where there are two classes.

Source: lecture 001, y = Ax + a and ∇ = Σ(σ(wᵀx) − t) x; lecture 004; Bishop 2006, section 4.3.4.
"""

from __future__ import annotations

from torch import nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import learn


@settings
class SoftmaxSettings:
    """A linear layer has nothing to set but how it learns."""

    descent: TrainingSettings = TrainingSettings(epochs=15, lr=0.002)
    weighting: Weighting = Weighting()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 10_000:  # the loss is convex: large steps do no harm
        return {
            "epochs": Suggestion(value=100 if count < 1000 else 40, why=f"{count:,} samples: more passes"),
            "lr": Suggestion(value=0.03 if count < 1000 else 0.01, why="few samples: few steps, so larger ones"),
        }
    return {}


def build(c: SoftmaxSettings, spec: Spec) -> Logits:
    assert isinstance(spec.target, Classes | Labels)
    linear = nn.Linear(flat_size(spec, preprocessing_of(c, spec)), len(spec.target.names))
    nn.init.zeros_(linear.weight)  # the loss is convex: any start leads to the same end
    nn.init.zeros_(linear.bias)
    return Logits(
        Network(Standardize(spec.input, preprocessing_of(c, spec).channels), nn.Sequential(nn.Flatten(), linear))
    )


def preprocessing_of(c: SoftmaxSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=64)


def fit(c: SoftmaxSettings, data: Dataset[Labelled], model: Logits, run: Run) -> None:
    learn(model, ByCrossEntropy(data.spec, c.weighting, run), data, run, c.descent, Augment())


LEARNER = Learner[SoftmaxSettings, Dataset[Labelled], Logits](
    name="softmax",
    summary="Softmax (logistic) regression: one linear layer, a convex loss.",
    source="Bishop 2006, 4.3.4; lectures 001, 003, 004",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=SoftmaxSettings,
    suggest=suggest,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
