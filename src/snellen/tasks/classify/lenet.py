"""LeNet-5: the network that read digits.

Source: LeCun, Bottou, Bengio and Haffner 1998; lectures 002, 004.
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
from snellen.nn.convnets.lenet import LEAST, LeNet
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.scheme import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK


@settings
class LeNetSettings:
    """The network is what it is; what varies is how it learns."""

    image_size: Annotated[int, Limit(least=12)] | None = None
    """Pixels a side that pictures are resized to; auto: their own, at most 64."""
    descent: Descent = Descent(epochs=30, lr=0.002)
    augment: Augment = Augment(rotate=10.0, zoom=0.1, shift=0.07)
    weighting: Weighting = Weighting()


def suggest(spec: Spec) -> dict[str, Because]:
    count = spec.sizes.get("train", 0)
    return {} if count >= 10_000 else {"epochs": Because(value=60, why=f"{count:,} samples: more passes")}


def refuses(spec: Spec) -> str | None:
    _, height, width = spec.input.shape
    if height is not None and width is not None and min(height, width) < LEAST:
        return f"needs {LEAST} pixels a side, these are {width}x{height}"
    return None


def reads(c: LeNetSettings, spec: Spec) -> Reading:
    return fixed_size(spec, most=64, asked=c.image_size)


def build(c: LeNetSettings, spec: Spec) -> Logits:
    assert isinstance(spec.target, Classes | Labels)
    reading = reads(c, spec)
    assert reading.size is not None
    assert reading.channels is not None
    body = LeNet(reading.channels, reading.size, len(spec.target.names))
    return Logits(Network(Standardize(spec.input, reading.channels), body))


def fit(c: LeNetSettings, data: Dataset[Labelled], model: Logits, run: Run) -> None:
    learn(model, ByCrossEntropy(data.spec, c.weighting, run), data, run, c.descent, c.augment)


LEARNER = Learner[LeNetSettings, Dataset[Labelled], Logits](
    name="lenet",
    summary="LeNet-5: two convolutions, pooling, three linear layers.",
    source="LeCun et al. 1998; lectures 002, 004",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=LeNetSettings,
    suggest=suggest,
    refuses=refuses,
    reads=reads,
    build=build,
    fit=fit,
)
