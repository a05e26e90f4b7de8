"""C13 to C20: how many weights each network has, by which a wrong copy of one is found out.

Source: LeCun et al. 1998; Krizhevsky et al. 2012; Simonyan and Zisserman 2015; Szegedy et al. 2015; He et al. 2016;
Xie et al. 2017; Huang et al. 2017; Sandler et al. 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from snellen.core.errors import UsageError
from snellen.core.settings import flat, resolve
from snellen.core.spec import Classes, Input, Spec
from snellen.reproduce.table import How, Measured, Row, Table, figure, tried
from snellen.tasks import LEARNERS

DOCUMENTED = "[paper] as built by torchvision, which documents its counts"
CIFAR = "[paper] He et al. 2016, section 4.2, computed"


class Network(NamedTuple):
    """A learner, the pictures and classes that the count is for, and what else it is set to."""

    learner: str
    weights: str
    source: str
    shape: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000
    settings: Mapping[str, object] = {}


DIGITS = (1, 28, 28)
SMALL = (3, 32, 32)

NETWORKS = {
    "MLP with 20 hidden units": Network("mlp", "15,910", "[lecture] 004", DIGITS, 10, {"hidden": (20,)}),
    "MLP with 120 hidden units": Network("mlp", "95,410", "[lecture] 004", DIGITS, 10, {"hidden": (120,)}),
    "LeNet-5": Network("lenet", "61,706", "[paper] LeCun et al. 1998 in today's form, computed", DIGITS, 10),
    "AlexNet": Network("alexnet", "61,100,840", DOCUMENTED),
    "VGG-11": Network("vgg11", "132,863,336", DOCUMENTED),
    "VGG-13": Network("vgg13", "133,047,848", DOCUMENTED),
    "VGG-16": Network("vgg16", "138,357,544", DOCUMENTED),
    "VGG-19": Network("vgg19", "143,667,240", DOCUMENTED),
    "GoogLeNet": Network("googlenet", "6,624,904", DOCUMENTED),
    "ResNet-18": Network("resnet18", "11,689,512", DOCUMENTED),
    "ResNet-34": Network("resnet34", "21,797,672", DOCUMENTED),
    "ResNet-50": Network("resnet50", "25,557,032", DOCUMENTED),
    "ResNet-101": Network("resnet101", "44,549,160", DOCUMENTED),
    "ResNeXt-50 (32×4d)": Network("resnext50", "25,028,904", DOCUMENTED),
    "ResNeXt-101 (32×4d)": Network("resnext101", "44,177,704", "[paper] Xie et al. 2017, computed"),
    "DenseNet-121": Network("densenet121", "7,978,856", DOCUMENTED),
    "MobileNetV2": Network("mobilenetv2", "3,504,872", DOCUMENTED),
    "ResNet-20 for CIFAR-10": Network("resnet20", "269,722", CIFAR, SMALL, 10),
    "ResNet-56 for CIFAR-10": Network("resnet56", "853,018", CIFAR, SMALL, 10),
    "ResNet-110 for CIFAR-10": Network("resnet110", "1,727,962", CIFAR, SMALL, 10),
}


def count(network: Network) -> int:
    """Its weights that learn; built on torch's meta device, where they take no memory.

    Raises:
        UsageError: where no learner has its name.
    """
    learner = LEARNERS["classify"].get(network.learner)
    if learner is None:
        raise UsageError(f"No model is called {network.learner}")
    given = dict(network.settings)
    if "image_size" in {setting.name for setting in flat(learner.settings)}:
        given["image_size"] = network.shape[1]
    chosen, _ = resolve(learner.settings, given, {})
    spec = Spec(
        name="counted",
        inputs={"x": Input(modality="image", shape=network.shape, dtype="uint8")},
        target=Classes(names=tuple(map(str, range(network.classes)))),
    )
    with torch.device("meta"):
        return sum(p.numel() for p in learner.build(chosen, spec).parameters())


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    for row, network in NETWORKS.items():
        yield row, tried(lambda network=network: Measured(value=count(network)))  # type: ignore[misc]


TABLE = Table(
    name="parameters",
    title="C13 to C20: weights of the networks",
    setup="Pictures of 3×224×224 and 1000 classes; 3×32×32 and 10 for CIFAR-10, 1×28×28 and 10 for digits.",
    unit="weights",
    rows=tuple(Row(name=row, published=figure(network.weights, network.source)) for row, network in NETWORKS.items()),
    seeds=1,
    few=1,
    seconds=lambda how: 3.0,
    measure=measure,
    fixed=True,
)
