"""Residual networks.

Source: He, Zhang, Ren and Sun 2016; lecture 003.
"""

from __future__ import annotations

from typing import Annotated

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Because, Limit, settings
from snellen.core.spec import Classes, Labels, Reading, Spec
from snellen.data.augment import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.reading import fixed_size
from snellen.fitting.descent import Descent
from snellen.fitting.supervised import learn
from snellen.nn.convnets.resnet import resnet18
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.scheme import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK


@settings
class ResNetSettings:
    """The network is what it is; what varies is how it learns."""

    image_size: Annotated[int, Limit(least=8)] | None = None
    """Pixels a side that pictures are resized to; auto: their own, at most 128."""
    descent: Descent = Descent(
        epochs=8, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0005, schedule="one-cycle"
    )
    augment: Augment = Augment(flip=True, crop=4)
    weighting: Weighting = Weighting()


def suggest(spec: Spec) -> dict[str, Because]:
    suggested = {}
    if isinstance(spec.target, Classes) and set(spec.target.names) <= set("0123456789"):
        suggested["flip"] = Because(value=False, why="digits change their meaning in a mirror")
    side = min(spec.input.shape[1] or 128, spec.input.shape[2] or 128)
    if side < 32:
        suggested["crop"] = Because(value=side // 8, why=f"pictures of {side} pixels: shift them less")
    return suggested


def reads(c: ResNetSettings, spec: Spec) -> Reading:
    return fixed_size(spec, most=128, asked=c.image_size)


def build(c: ResNetSettings, spec: Spec) -> Logits:
    assert isinstance(spec.target, Classes | Labels)
    reading = reads(c, spec)
    assert reading.size is not None
    assert reading.channels is not None
    body = resnet18(reading.channels, len(spec.target.names), small=max(reading.size) <= 64)
    return Logits(Network(Standardize(spec.input, reading.channels), body))


def fit(c: ResNetSettings, data: Dataset[Labelled], model: Logits, run: Run) -> None:
    learn(model, ByCrossEntropy(data.spec, c.weighting, run), data, run, c.descent, c.augment)


LEARNER = Learner[ResNetSettings, Dataset[Labelled], Logits](
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
