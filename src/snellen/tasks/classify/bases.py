"""Logistic regression on Gaussian basis functions: linear not in the input but in its nearness to some centres.

Source: lecture 001, φ1 and φ2; Bishop 2006, section 4.3.1.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.random import key
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.nn.rbf import GaussianBases, middles
from snellen.tasks.classify.objective import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import learn, some


@settings
class BasesSettings:
    """Where the bases stand and how wide they are, and how their weights are learned."""

    bases: Annotated[int, Limit(least=1)] = 30
    """How many basis functions; their centres are found by k-means of the training inputs."""
    centers: tuple[float, ...] | None = None
    """The centres themselves, coordinate after coordinate, in the data's own units; auto: k-means."""
    bandwidth: Annotated[float, Limit(above=0)] | None = None
    """Deviation s of each, of standardised inputs; auto: twice the mean distance from a centre to the next."""
    descent: TrainingSettings = TrainingSettings(epochs=15, lr=0.01)
    weighting: Weighting = Weighting()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    found = {}
    if spec.modality == "image":
        found["bases"] = Suggestion(value=200, why="pictures differ in many ways")
    if count < 10_000:  # the loss is convex: large steps do no harm
        found |= {
            "epochs": Suggestion(value=100 if count < 2000 else 40, why=f"{count:,} samples: more passes"),
            "lr": Suggestion(value=0.1 if count < 2000 else 0.03, why="few samples: few steps, so larger ones"),
        }
    return found


def build(c: BasesSettings, spec: Spec) -> Logits:
    assert isinstance(spec.target, Classes | Labels)
    preprocessing = preprocessing_of(c, spec)
    inputs, count = flat_size(spec, preprocessing), min(c.bases, spec.sizes.get("train", c.bases))
    if c.centers is not None:
        if len(c.centers) % inputs:
            raise UsageError(
                f"--centers has {len(c.centers)} coordinates for inputs of {inputs}", f"Give {inputs} for each centre."
            )
        count = len(c.centers) // inputs
    linear = nn.Linear(count, len(spec.target.names))
    nn.init.zeros_(linear.weight)  # the loss is convex: any start leads to the same end
    nn.init.zeros_(linear.bias)
    body = nn.Sequential(GaussianBases(count, inputs), linear)
    return Logits(Network(Standardize(spec.input, preprocessing.channels), body))


def preprocessing_of(c: BasesSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=32)


def fit(c: BasesSettings, data: Dataset[Labelled], model: Logits, run: Run) -> None:
    network = model.network
    bases = network.body[0]  # type: ignore[index]
    assert isinstance(bases, GaussianBases)
    sample = some(data.samples("train")).x
    network.standardize.learn(sample, data.value_range)

    def centres() -> Tensor:
        raw = sample if c.centers is None else torch.tensor(c.centers, dtype=torch.float64).view(-1, *sample.shape[1:])
        standard: Tensor = network.standardize(raw)
        if c.centers is not None:
            return standard.flatten(1)
        return middles(standard.flatten(1), len(bases.centres), key(run.seed, "k-means"))

    bases.place(run.once("centres", centres), c.bandwidth)
    learn(model, ByCrossEntropy(data.spec, c.weighting, run), data, run, c.descent, Augment())


LEARNER = Learner[BasesSettings, Dataset[Labelled], Logits](
    name="bases",
    summary="Logistic regression on Gaussian basis functions about the centres of the data.",
    source="Bishop 2006, 4.3.1; Broomhead and Lowe 1988; lecture 001",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=BasesSettings,
    suggest=suggest,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
