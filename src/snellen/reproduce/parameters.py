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
    PublishedValue,
    TableRow,
    measure_or_skip,
    printed_value,
)
from snellen.tasks import LEARNERS

TORCHVISION = "[documentation] torchvision 0.29, whose network this is: no independent figure"
VGG = "[paper] Simonyan and Zisserman 2015, table 2"
CIFAR = "[paper] He et al. 2016, table 6"
XIE = "[paper] Xie et al. 2017, table 1"


def million(text: str, source: str) -> PublishedValue:
    """A number of parameters that is printed in millions."""
    printed = printed_value(text, source)
    return PublishedValue(text=f"{text} million", low=printed.low * 1e6, high=printed.high * 1e6, source=source)


class CountedNetwork(NamedTuple):
    """A learner, its published number of parameters, and the input shape, classes and settings of that count."""

    learner: str
    published: PublishedValue
    shape: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000
    settings: Mapping[str, object] = {}
    deviation: str = ""


ALL_CONNECTIONS = "today's form: every map of the second convolution is connected to every map of the first"
DIGITS = (1, 28, 28)
SMALL = (3, 32, 32)

LECTURE = "[lecture] 004"

NETWORKS = {
    "MLP with 20 hidden units": CountedNetwork("mlp", printed_value("15,910", LECTURE), DIGITS, 10, {"hidden": (20,)}),
    "MLP with 120 hidden units": CountedNetwork(
        "mlp", printed_value("95,410", LECTURE), DIGITS, 10, {"hidden": (120,)}
    ),
    "LeNet-5": CountedNetwork(
        "lenet", million("0.060", "[paper] LeCun et al. 1998, section II"), DIGITS, 10, deviation=ALL_CONNECTIONS
    ),
    "AlexNet": CountedNetwork(
        "alexnet", million("60", "[paper] Krizhevsky et al. 2012, section 1"), deviation="one column (Krizhevsky 2014)"
    ),
    "VGG-11": CountedNetwork("vgg11", million("133", VGG)),
    "VGG-13": CountedNetwork("vgg13", million("133", VGG)),
    "VGG-16": CountedNetwork("vgg16", million("138", VGG)),
    "VGG-19": CountedNetwork("vgg19", million("144", VGG)),
    "GoogLeNet": CountedNetwork("googlenet", printed_value("6,624,904", TORCHVISION)),
    "ResNet-18": CountedNetwork("resnet18", printed_value("11,689,512", TORCHVISION)),
    "ResNet-34": CountedNetwork("resnet34", printed_value("21,797,672", TORCHVISION)),
    "ResNet-50": CountedNetwork("resnet50", million("25.5", XIE)),
    "ResNet-101": CountedNetwork("resnet101", printed_value("44,549,160", TORCHVISION)),
    "ResNeXt-50 (32×4d)": CountedNetwork("resnext50", million("25.0", XIE)),
    "DenseNet-121": CountedNetwork("densenet121", printed_value("7,978,856", TORCHVISION)),
    "MobileNetV2": CountedNetwork("mobilenetv2", million("3.4", "[paper] Sandler et al. 2018, table 4")),
    "ResNet-20 for CIFAR-10": CountedNetwork("resnet20", million("0.27", CIFAR), SMALL, 10),
    "ResNet-32 for CIFAR-10": CountedNetwork("resnet32", million("0.46", CIFAR), SMALL, 10),
    "ResNet-44 for CIFAR-10": CountedNetwork("resnet44", million("0.66", CIFAR), SMALL, 10),
    "ResNet-56 for CIFAR-10": CountedNetwork("resnet56", million("0.85", CIFAR), SMALL, 10),
    "ResNet-110 for CIFAR-10": CountedNetwork("resnet110", million("1.7", CIFAR), SMALL, 10),
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
        yield row, measure_or_skip(lambda network=network: measured(network))  # type: ignore[misc]


def measured(network: CountedNetwork) -> Measurement:
    return Measurement(value=count(network), deviations=(network.deviation,) if network.deviation else ())


TABLE = PublishedTable(
    name="parameters",
    title="C13 to C20: trainable parameters of the networks",
    setup="Images of 3×224×224 and 1000 classes; 3×32×32 and 10 for CIFAR-10, 1×28×28 and 10 for digits.",
    unit="parameters",
    rows=tuple(TableRow(name=row, published=network.published) for row, network in NETWORKS.items()),
    seeds=1,
    quick_seeds=1,
    seconds=lambda options: 3.0,
    measure=measure,
    deterministic=True,
)
