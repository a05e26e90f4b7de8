"""C13 to C20: number of trainable parameters of each network, which detects a wrong architecture.

Source: LeCun et al. 1998; Krizhevsky et al. 2012; Simonyan and Zisserman 2015; Szegedy et al. 2015; He et al. 2016;
Xie et al. 2017; Huang et al. 2017; Sandler et al. 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from snellen.core.errors import UsageError
from snellen.core.settings import flatten, resolve
from snellen.core.spec import Classes, Input, Spec
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    measure_or_skip,
    printed_value,
)
from snellen.tasks import LEARNERS

DOCUMENTED = "[paper] as built by torchvision, which documents its counts"
CIFAR = "[paper] He et al. 2016, section 4.2, computed"


class CountedNetwork(NamedTuple):
    """A learner, its published number of parameters, and the input shape, classes and settings of that count."""

    learner: str
    weights: str
    source: str
    shape: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000
    settings: Mapping[str, object] = {}


DIGITS = (1, 28, 28)
SMALL = (3, 32, 32)

NETWORKS = {
    "MLP with 20 hidden units": CountedNetwork("mlp", "15,910", "[lecture] 004", DIGITS, 10, {"hidden": (20,)}),
    "MLP with 120 hidden units": CountedNetwork("mlp", "95,410", "[lecture] 004", DIGITS, 10, {"hidden": (120,)}),
    "LeNet-5": CountedNetwork("lenet", "61,706", "[paper] LeCun et al. 1998 in today's form, computed", DIGITS, 10),
    "AlexNet": CountedNetwork("alexnet", "61,100,840", DOCUMENTED),
    "VGG-11": CountedNetwork("vgg11", "132,863,336", DOCUMENTED),
    "VGG-13": CountedNetwork("vgg13", "133,047,848", DOCUMENTED),
    "VGG-16": CountedNetwork("vgg16", "138,357,544", DOCUMENTED),
    "VGG-19": CountedNetwork("vgg19", "143,667,240", DOCUMENTED),
    "GoogLeNet": CountedNetwork("googlenet", "6,624,904", DOCUMENTED),
    "ResNet-18": CountedNetwork("resnet18", "11,689,512", DOCUMENTED),
    "ResNet-34": CountedNetwork("resnet34", "21,797,672", DOCUMENTED),
    "ResNet-50": CountedNetwork("resnet50", "25,557,032", DOCUMENTED),
    "ResNet-101": CountedNetwork("resnet101", "44,549,160", DOCUMENTED),
    "ResNeXt-50 (32×4d)": CountedNetwork("resnext50", "25,028,904", DOCUMENTED),
    "ResNeXt-101 (32×4d)": CountedNetwork("resnext101", "44,177,704", "[paper] Xie et al. 2017, computed"),
    "DenseNet-121": CountedNetwork("densenet121", "7,978,856", DOCUMENTED),
    "MobileNetV2": CountedNetwork("mobilenetv2", "3,504,872", DOCUMENTED),
    "ResNet-20 for CIFAR-10": CountedNetwork("resnet20", "269,722", CIFAR, SMALL, 10),
    "ResNet-56 for CIFAR-10": CountedNetwork("resnet56", "853,018", CIFAR, SMALL, 10),
    "ResNet-110 for CIFAR-10": CountedNetwork("resnet110", "1,727,962", CIFAR, SMALL, 10),
}


def count(network: CountedNetwork) -> int:
    """Number of trainable parameters; the network is built on torch's meta device, without memory.

    Raises:
        UsageError: if no learner has this name.
    """
    learner = LEARNERS["classify"].get(network.learner)
    if learner is None:
        raise UsageError(f"No model is called {network.learner}")
    given = dict(network.settings)
    if "image_size" in {setting.name for setting in flatten(learner.settings)}:
        given["image_size"] = network.shape[1]
    chosen, _ = resolve(learner.settings, given, {})
    spec = Spec(
        name="counted",
        inputs={"x": Input(modality="image", shape=network.shape, dtype="uint8")},
        target=Classes(names=tuple(map(str, range(network.classes)))),
    )
    with torch.device("meta"):
        return sum(p.numel() for p in learner.build(chosen, spec).parameters())


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    for row, network in NETWORKS.items():
        yield row, measure_or_skip(lambda network=network: Measurement(value=count(network)))  # type: ignore[misc]


TABLE = PublishedTable(
    name="parameters",
    title="C13 to C20: trainable parameters of the networks",
    setup="Images of 3×224×224 and 1000 classes; 3×32×32 and 10 for CIFAR-10, 1×28×28 and 10 for digits.",
    unit="parameters",
    rows=tuple(
        TableRow(name=row, published=printed_value(network.weights, network.source))
        for row, network in NETWORKS.items()
    ),
    seeds=1,
    quick_seeds=1,
    seconds=lambda options: 3.0,
    measure=measure,
    deterministic=True,
)
