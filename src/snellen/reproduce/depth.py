"""N8: plain and residual networks of increasing depth on CIFAR-10.

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
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    claim_above,
    mean_over_seeds,
    not_run,
    printed_value,
)
from snellen.reproduce.training import Data, merge_validation, subset, trained_run
from snellen.tasks import LEARNERS

RECIPE: dict[str, Any] = {
    "batch_size": 128,
    "optimizer": "momentum",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "step",  # rate divided by 10 after 32,000 and after 48,000 of 64,000 steps
    "warmup": 0.0,
    "pad_crop": 4,
    "hflip": True,
    "precision": "float32",
    "from_scratch": True,
}
STEPS = 64_000
SUBSET = "cifar10-subset"  # a folder of images that replaces CIFAR-10

PAPER = "[paper] He et al. 2016, table 6"
LECTURE = "[lecture] 003"
ERRORS = {20: "8.75", 32: "7.51", 44: "7.17", 56: "6.97", 110: "6.43"}
DEPTHS = (20, 56)  # of a scaled-down run
PLAIN_CLAIM = "plain, training error at 56 layers less that at 20"
RESIDUAL_CLAIM = "residual, test error at 20 layers less that at 56"


class Setup(NamedTuple):
    """Data, number of epochs, depths, and deviations from the published setup."""

    data: Data
    epochs: int
    depths: tuple[int, ...]
    deviations: tuple[str, ...]


class TestErrors(NamedTuple):
    """Error rates of one training, percent."""

    training: float
    test: float


def choose_setup(options: MeasureOptions) -> Setup:
    """The published setup with CIFAR-10 and a GPU, else a scaled-down one.

    Raises:
        DataError: if neither CIFAR-10 nor a replacement is available.
    """
    data, deviations = cifar_images()
    sizes = data.spec.sizes
    epochs = round(STEPS / (sizes["train"] / RECIPE["batch_size"]))
    if options.quick:
        data, epochs = subset(data, 1000, 500), 2
    elif not options.device.startswith("cuda"):
        data, epochs = subset(data, 5000, 1000), 10
    elif not deviations:
        return Setup(data, epochs, tuple(ERRORS), ())
    sizes = data.spec.sizes
    deviations = (*deviations, f"{sizes['train']:,} training and {sizes['test']:,} test images", f"{epochs} epochs")
    return Setup(data, epochs, DEPTHS, deviations)


def cifar_images() -> tuple[Data, tuple[str, ...]]:
    """CIFAR-10 without a validation split, else a subset of it or CIFAR-100, with the deviation.

    Raises:
        DataError: if none is available.
    """
    try:
        return merge_validation(dataset("cifar10")), ()
    except DataError as missing:
        folder = data_folder() / SUBSET
        if folder.is_dir():
            return merge_validation(dataset(folder)), ("a subset of CIFAR-10",)
        try:
            return merge_validation(dataset("cifar100")), ("CIFAR-100 instead of CIFAR-10",)
        except DataError:
            raise missing from None


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    try:
        setup = choose_setup(options)
        missing = [
            name
            for kind in ("plain", "resnet")
            for depth in DEPTHS
            if (name := f"{kind}{depth}") not in LEARNERS["classify"]
        ]
        if missing:
            raise DataError(f"No model is called {missing[0]}")
    except SnellenError as error:  # holds for every row
        for row in TABLE.rows:
            yield row.name, not_run(error.cause)
        return
    residual = {}
    for depth in setup.depths:
        residual[depth] = [errors(f"resnet{depth}", setup, options, seed) for seed in range(options.seeds)]
        yield row_of(depth), with_deviations([test_errors.test for test_errors in residual[depth]], setup)
    first, last = DEPTHS
    yield (
        RESIDUAL_CLAIM,
        with_deviations([a.test - b.test for a, b in zip(residual[first], residual[last], strict=True)], setup),
    )
    plain = {
        depth: [errors(f"plain{depth}", setup, options, seed) for seed in range(options.seeds)] for depth in DEPTHS
    }
    rise = [b.training - a.training for a, b in zip(plain[first], plain[last], strict=True)]
    yield PLAIN_CLAIM, with_deviations(rise, setup)


def errors(
    model: str, setup: Setup, options: MeasureOptions, seed: int, settings: Mapping[str, object] = MappingProxyType({})
) -> TestErrors:
    """Training and test error of one training, without augmentation, percent."""
    with trained_run(setup.data, model, options, seed, {**RECIPE, "epochs": setup.epochs, **settings}) as trained:
        right = [trained.evaluate(split=split)["accuracy"].value for split in ("train", "test")]
    training, test = (100 * (1 - value) for value in right if value is not None)
    return TestErrors(training, test)


def with_deviations(values: list[float], setup: Setup) -> Measurement:
    return dataclasses.replace(mean_over_seeds(values), scaled=bool(setup.deviations), deviations=setup.deviations)


def row_of(depth: int) -> str:
    return f"ResNet-{depth}, test error"


def seconds(options: MeasureOptions) -> float:
    """Estimated seconds, from 41 million multiply-adds per image in the forward pass of ResNet-20, times three."""
    if options.device.startswith("cuda") and not options.quick:
        return options.seeds * STEPS * 0.0006 * (sum(ERRORS) + sum(DEPTHS))
    images = 2 * 1000 if options.quick else 10 * 5000
    return options.seeds * images * 0.00016 * 2 * sum(DEPTHS)


TABLE = PublishedTable(
    name="cifar10-depth",
    title="N8: plain and residual networks on CIFAR-10",
    setup="50,000 training images, 64,000 steps of batch size 128, momentum 0.9, learning rate 0.1, divided by 10 "
    "after 32,000 and after 48,000 steps, weight decay 0.0001, random shifts by up to 4 pixels and horizontal flips.",
    unit="% error",
    rows=(
        *(
            TableRow(
                name=row_of(depth),
                published=printed_value(text, PAPER),
                unavailable_reason="" if depth in DEPTHS else "needs CIFAR-10 and a GPU",
            )
            for depth, text in ERRORS.items()
        ),
        TableRow(name=RESIDUAL_CLAIM, published=claim_above(0, PAPER)),
        TableRow(name=PLAIN_CLAIM, published=claim_above(0, LECTURE)),
    ),
    seeds=5,
    quick_seeds=1,
    seconds=seconds,
    measure=measure,
    deviations=(
        "no weight decay on biases and normalisation parameters",
        "inputs are standardised per channel instead of subtracting the per-pixel mean",
    ),
)
