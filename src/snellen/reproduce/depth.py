"""N8: plain against residual networks of growing depth on CIFAR-10.

Source: lecture 003, "deeper has higher training error"; He, Zhang, Ren and Sun 2016, section 4.2 and table 6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from snellen.core.errors import DataError, SnellenError
from snellen.data.named_datasets import data_folder
from snellen.data.open_dataset import dataset
from snellen.reproduce.table import How, Measured, Row, Table, above, figure, not_run, over_seeds
from snellen.reproduce.training import Data, learned, part, whole
from snellen.tasks import LEARNERS

RECIPE: dict[str, Any] = {
    "batch_size": 128,
    "optimizer": "momentum",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "step",  # a tenth after half of the steps, a hundredth after three quarters: 32,000 and 48,000
    "warmup": 0.0,
    "pad_crop": 4,
    "hflip": True,
    "precision": "float32",
    "from_scratch": True,
}
STEPS = 64_000
SUBSET = "cifar10-subset"  # pictures in folders, in the place of the whole set

PAPER = "[paper] He et al. 2016, table 6"
LECTURE = "[lecture] 003"
ERRORS = {20: "8.75", 32: "7.51", 44: "7.17", 56: "6.97", 110: "6.43"}
DEPTHS = (20, 56)  # of a run that is scaled down
PLAIN_CLAIM = "plain, training error at 56 layers less that at 20"
RESIDUAL_CLAIM = "residual, test error at 20 layers less that at 56"


class Setup(NamedTuple):
    """The data, how long it is learned from, the depths, and in what it is less than what was published."""

    data: Data
    epochs: int
    depths: tuple[int, ...]
    lacks: tuple[str, ...]


class Errors(NamedTuple):
    """Percent."""

    training: float
    test: float


def setup(how: How) -> Setup:
    """The published one where CIFAR-10 and a GPU are there, else what there is.

    Raises:
        DataError: where there are no such pictures at all.
    """
    data, lacks = pictures()
    sizes = data.spec.sizes
    epochs = round(STEPS / (sizes["train"] / RECIPE["batch_size"]))
    if how.quick:
        data, epochs = part(data, 1000, 500), 2
    elif not how.device.startswith("cuda"):
        data, epochs = part(data, 5000, 1000), 10
    elif not lacks:
        return Setup(data, epochs, tuple(ERRORS), ())
    sizes = data.spec.sizes
    lacks = (*lacks, f"{sizes['train']:,} training and {sizes['test']:,} test pictures", f"{epochs} epochs")
    return Setup(data, epochs, DEPTHS, lacks)


def pictures() -> tuple[Data, tuple[str, ...]]:
    """CIFAR-10 with nothing held back; where it is missing, a part of it, or CIFAR-100, which is said.

    Raises:
        DataError: where none is there.
    """
    try:
        return whole(dataset("cifar10")), ()
    except DataError as missing:
        subset = data_folder() / SUBSET
        if subset.is_dir():
            return whole(dataset(subset)), ("a part of CIFAR-10",)
        try:
            return whole(dataset("cifar100")), ("CIFAR-100 in the place of CIFAR-10",)
        except DataError:
            raise missing from None


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    try:
        made = setup(how)
        missing = [
            name
            for kind in ("plain", "resnet")
            for depth in DEPTHS
            if (name := f"{kind}{depth}") not in LEARNERS["classify"]
        ]
        if missing:
            raise DataError(f"No model is called {missing[0]}")
    except SnellenError as error:  # every row waits for the same
        for row in TABLE.rows:
            yield row.name, not_run(error.cause)
        return
    residual = {}
    for depth in made.depths:
        residual[depth] = [errors(f"resnet{depth}", made, how, seed) for seed in range(how.seeds)]
        yield row_of(depth), told([found.test for found in residual[depth]], made)
    first, last = DEPTHS
    yield RESIDUAL_CLAIM, told([a.test - b.test for a, b in zip(residual[first], residual[last], strict=True)], made)
    plain = {depth: [errors(f"plain{depth}", made, how, seed) for seed in range(how.seeds)] for depth in DEPTHS}
    rise = [b.training - a.training for a, b in zip(plain[first], plain[last], strict=True)]
    yield PLAIN_CLAIM, told(rise, made)


def errors(
    model: str, made: Setup, how: How, seed: int, settings: Mapping[str, object] = MappingProxyType({})
) -> Errors:
    """Of one training, without augmentation, percent."""
    with learned(made.data, model, how, seed, {**RECIPE, "epochs": made.epochs, **settings}) as trained:
        right = [trained.evaluate(split=split)["accuracy"].value for split in ("train", "test")]
    training, test = (100 * (1 - value) for value in right if value is not None)
    return Errors(training, test)


def told(each: list[float], made: Setup) -> Measured:
    return dataclasses.replace(over_seeds(each), scaled=bool(made.lacks), deviations=made.lacks)


def row_of(depth: int) -> str:
    return f"ResNet-{depth}, test error"


def seconds(how: How) -> float:
    """A step of ResNet-20 takes 41 million multiply-adds a picture forward, three times that in all."""
    if how.device.startswith("cuda") and not how.quick:
        return how.seeds * STEPS * 0.0006 * (sum(ERRORS) + sum(DEPTHS))
    pictures = 2 * 1000 if how.quick else 10 * 5000
    return how.seeds * pictures * 0.00016 * 2 * sum(DEPTHS)


TABLE = Table(
    name="cifar10-depth",
    title="N8: plain against residual networks on CIFAR-10",
    setup="50,000 training pictures, 64,000 steps of 128, momentum 0.9, rate 0.1, a tenth after 32,000 and again after "
    "48,000 steps, weight decay 0.0001, shifted by up to 4 pixels and mirrored.",
    unit="% wrong",
    rows=(
        *(
            Row(
                name=row_of(depth),
                published=figure(text, PAPER),
                cannot="" if depth in DEPTHS else "only with CIFAR-10 and a GPU",
            )
            for depth, text in ERRORS.items()
        ),
        Row(name=RESIDUAL_CLAIM, published=above(0, PAPER)),
        Row(name=PLAIN_CLAIM, published=above(0, LECTURE)),
    ),
    seeds=1,
    few=1,
    seconds=seconds,
    measure=measure,
    deviations=(
        "biases and the scales of normalisation are not decayed",
        "values are standardised by channel, in the place of a mean of each pixel taken away",
    ),
)
