"""N8: the five orders of normalisation, ReLU and addition in a residual unit, on CIFAR-10.

Source: lecture 003, table of five rows; He, Zhang, Ren and Sun 2016, "Identity mappings in deep residual networks".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from snellen.core.errors import DataError, SnellenError
from snellen.reproduce.depth import errors, setup
from snellen.reproduce.depth import seconds as seconds_of_depth
from snellen.reproduce.table import How, Measured, Row, Table, figure, not_run, over_seeds

NEEDS = "needs CIFAR-10 and a GPU: fifty trainings of 64,000 steps"


class Order(NamedTuple):
    """The setting of the learner, and what is printed for 110 and for 164 layers."""

    unit: str
    printed: dict[int, str]


ORDERS = {
    "original": Order("original", {110: "6.61", 164: "5.93"}),
    "normalised after addition": Order("bn-after-addition", {110: "8.17", 164: "6.50"}),
    "ReLU before addition": Order("relu-before-addition", {110: "7.84", 164: "6.14"}),
    "ReLU-only pre-activation": Order("relu-only-pre-activation", {110: "6.71", 164: "5.91"}),
    "full pre-activation": Order("full-pre-activation", {110: "6.37", 164: "5.46"}),
}


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    """Ten networks; where the published setup cannot be had, none: 110 layers in a few steps say nothing."""
    try:
        made = setup(how)
        if made.lacks:
            raise DataError(NEEDS)
    except SnellenError as error:
        for row in TABLE.rows:
            yield row.name, not_run(error.cause)
        return
    for order, (unit, printed) in ORDERS.items():
        for depth in printed:
            each = [
                errors(f"resnet{depth}", made, how, seed, {"residual_unit": unit}).test for seed in range(how.seeds)
            ]
            yield row_of(order, depth), over_seeds(each)


def row_of(order: str, depth: int) -> str:
    return f"{order}, ResNet-{depth}"


def seconds(how: How) -> float:
    full = how.device.startswith("cuda") and not how.quick
    return 10 * seconds_of_depth(how) if full else 0.0


TABLE = Table(
    name="cifar10-units",
    title="N8: orders of the residual unit on CIFAR-10",
    setup="ResNet-110 and ResNet-164 (with bottlenecks), as for depth; rate 0.01 for the first 400 steps, median of 5.",
    unit="% wrong",
    rows=tuple(
        Row(name=row_of(order, depth), published=figure(text, "[lecture] 003"), cannot=NEEDS)
        for order, (_, printed) in ORDERS.items()
        for depth, text in printed.items()
    ),
    seeds=5,
    few=1,
    seconds=seconds,
    measure=measure,
    deviations=("no steps at the rate of 0.01 first", "the mean of the seeds in the place of the median"),
)
