"""Logistic regression on Gaussian radial basis functions (RBF network).

Source: lecture 001, φ1 and φ2; Bishop 2006, section 4.3.1.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.learner import FLATTENED, Learner
from snellen.core.random import key
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.nn.rbf import GaussianBases, kmeans_centres
from snellen.tasks.classify.objective import ClassBalanceSettings, ClassificationNetwork, CrossEntropyObjective
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import fit_supervised, subset


@settings
class RBFClassifierSettings:
    """Settings of logistic regression on radial basis functions: centres, width, training."""

    bases: Annotated[int, Limit(min=1)] = 30
    """Number of basis functions; their centres are the k-means centroids of the training inputs."""
    centers: tuple[float, ...] | None = None
    """Centres of the basis functions: all coordinates of the first, then of the next, in data units; auto: k-means."""
    bandwidth: Annotated[float, Limit(above=0)] | None = None
    """Bandwidth: standard deviation of each basis function, in units of standardised inputs; auto: twice the mean
    distance from a centre to the nearest other."""
    training: TrainingSettings = TrainingSettings(epochs=15, lr=0.01)
    class_balance: ClassBalanceSettings = ClassBalanceSettings()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    suggestions = {}
    if spec.modality == "image":
        suggestions["bases"] = Suggestion(value=200, reason="images vary in many dimensions")
    if count < 10_000:  # the loss is convex: a high learning rate is safe
        suggestions |= {
            "epochs": Suggestion(value=100 if count < 2000 else 40, reason=f"{count:,} samples: more epochs"),
            "lr": Suggestion(
                value=0.1 if count < 2000 else 0.03, reason="few samples: few steps, so a higher learning rate"
            ),
        }
    return suggestions


def build(c: RBFClassifierSettings, spec: Spec) -> ClassificationNetwork:
    assert isinstance(spec.target, Classes | Labels)
    preprocessing = preprocessing_of(c, spec)
    inputs, count = flattened_size(spec, preprocessing), min(c.bases, spec.sizes.get("train", c.bases))
    if c.centers is not None:
        if len(c.centers) % inputs:
            raise UsageError(
                f"--centers has {len(c.centers)} coordinates for inputs of {inputs}", f"Give {inputs} for each centre."
            )
        count = len(c.centers) // inputs
    linear = nn.Linear(count, len(spec.target.names))
    nn.init.zeros_(linear.weight)  # the loss is convex: the initial weights do not matter
    nn.init.zeros_(linear.bias)
    body = nn.Sequential(GaussianBases(count, inputs), linear)
    return ClassificationNetwork(Network(Standardize(spec.input, preprocessing.channels), body))


def preprocessing_of(c: RBFClassifierSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=32)


def fit(c: RBFClassifierSettings, data: Dataset[Labelled], model: ClassificationNetwork, run: Run) -> None:
    network = model.network
    bases = network.body[0]  # type: ignore[index]
    assert isinstance(bases, GaussianBases)
    sample = subset(data.samples("train")).x
    network.standardize.fit(sample, data.value_range)

    def centres() -> Tensor:
        raw = sample if c.centers is None else torch.tensor(c.centers, dtype=torch.float64).view(-1, *sample.shape[1:])
        standard: Tensor = network.standardize(raw)
        if c.centers is not None:
            return standard.flatten(1)
        return kmeans_centres(standard.flatten(1), len(bases.centres), key(run.seed, "k-means"))

    bases.set_centres(run.once("centres", centres), c.bandwidth)
    fit_supervised(model, CrossEntropyObjective(data.spec, c.class_balance, run), data, run, c.training, Augment())


LEARNER = Learner[RBFClassifierSettings, Dataset[Labelled], ClassificationNetwork](
    name="bases",
    summary="Logistic regression on Gaussian radial basis functions around k-means centres.",
    source="Bishop 2006, 4.3.1; Broomhead and Lowe 1988; lecture 001",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=RBFClassifierSettings,
    suggest=suggest,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
