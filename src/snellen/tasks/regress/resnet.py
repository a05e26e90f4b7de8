"""Residual networks for numbers.

Source: He, Zhang, Ren and Sun 2016; lecture 003.
"""

from __future__ import annotations

from typing import Annotated

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Because, Limit, settings
from snellen.core.spec import Reading, Spec
from snellen.data.augment import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.reading import fixed_size
from snellen.fitting.descent import Descent
from snellen.fitting.supervised import learn
from snellen.nn.convnets.resnet import resnet18
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.regress.scheme import ByError, Errors, Scaled, learn_targets, targets
from snellen.tasks.regress.task import TASK


@settings
class ResNetSettings:
    """The network is what it is; what varies is how it learns."""

    image_size: Annotated[int, Limit(least=8)] | None = None
    """Pixels a side that pictures are resized to; auto: their own, at most 128."""
    descent: Descent = Descent(epochs=20, lr=0.001)
    augment: Augment = Augment()  # mirrored or shifted pictures may have another number: the user says what keeps it
    errors: Errors = Errors()


def suggest(spec: Spec) -> dict[str, Because]:
    count = spec.sizes.get("train", 0)
    return {} if count >= 2000 else {"epochs": Because(value=40, why=f"{count:,} samples: more passes")}


def reads(c: ResNetSettings, spec: Spec) -> Reading:
    return fixed_size(spec, most=128, asked=c.image_size)


def build(c: ResNetSettings, spec: Spec) -> Scaled:
    reading = reads(c, spec)
    assert reading.size is not None
    assert reading.channels is not None
    body = resnet18(reading.channels, targets(spec), small=max(reading.size) <= 64)
    return Scaled(Network(Standardize(spec.input, reading.channels), body), targets(spec))


def fit(c: ResNetSettings, data: Dataset[Labelled], model: Scaled, run: Run) -> None:
    learn_targets(model, data)
    learn(model, ByError(c.errors, run), data, run, c.descent, c.augment)


LEARNER = Learner[ResNetSettings, Dataset[Labelled], Scaled](
    name="resnet18",
    summary="ResNet-18: residual units, for pictures of any size.",
    source="He et al. 2016; lecture 003",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=ResNetSettings,
    suggest=suggest,
    reads=reads,
    build=build,
    fit=fit,
)
