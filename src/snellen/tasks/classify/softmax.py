"""Softmax regression (multinomial logistic regression): one linear layer with cross-entropy.

Source: lecture 001, y = Ax + a and ∇ = Σ(σ(wᵀx) − t) x; lecture 004; Bishop 2006, section 4.3.4.
"""

from __future__ import annotations

from torch import nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ClassBalanceSettings, ClassificationNetwork, CrossEntropyObjective
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import fit_supervised


@settings
class SoftmaxSettings:
    """Settings of softmax regression."""

    training: TrainingSettings = TrainingSettings(epochs=15, lr=0.002)
    class_balance: ClassBalanceSettings = ClassBalanceSettings()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 10_000:  # the loss is convex: a high learning rate is safe
        return {
            "epochs": Suggestion(value=100 if count < 1000 else 40, reason=f"{count:,} samples: more epochs"),
            "lr": Suggestion(
                value=0.03 if count < 1000 else 0.01, reason="few samples: few steps, so a higher learning rate"
            ),
        }
    return {}


def build(c: SoftmaxSettings, spec: Spec) -> ClassificationNetwork:
    assert isinstance(spec.target, Classes | Labels)
    linear = nn.Linear(flattened_size(spec, preprocessing_of(c, spec)), len(spec.target.names))
    nn.init.zeros_(linear.weight)  # the loss is convex: the initial weights do not matter
    nn.init.zeros_(linear.bias)
    return ClassificationNetwork(
        Network(Standardize(spec.input, preprocessing_of(c, spec).channels), nn.Sequential(nn.Flatten(), linear))
    )


def preprocessing_of(c: SoftmaxSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=64)


def fit(c: SoftmaxSettings, data: Dataset[Labelled], model: ClassificationNetwork, run: Run) -> None:
    fit_supervised(model, CrossEntropyObjective(data.spec, c.class_balance, run), data, run, c.training, Augment())


LEARNER = Learner[SoftmaxSettings, Dataset[Labelled], ClassificationNetwork](
    name="softmax",
    summary="Softmax regression (multinomial logistic regression): one linear layer, a convex loss.",
    source="Bishop 2006, 4.3.4; lectures 001, 003, 004",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=SoftmaxSettings,
    suggest=suggest,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
