"""N8: the five orders of batch normalisation, ReLU and addition in a residual unit, on CIFAR-10.

Source: lecture 003, table of five rows; He, Zhang, Ren and Sun 2016, "Identity mappings in deep residual networks".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from snellen.core.errors import DataError, SnellenError
from snellen.reproduce.depth import choose_setup, errors
from snellen.reproduce.depth import seconds as seconds_of_depth
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    mean_over_seeds,
    not_run,
    printed_value,
)

NEEDS = "needs CIFAR-10 and a GPU: fifty trainings of 64,000 steps"


class UnitOrder(NamedTuple):
    """Value of the setting residual_unit, and the published errors for 110 and 164 layers."""

    unit: str
    printed: dict[int, str]


ORDERS = {
    "original": UnitOrder("original", {110: "6.61", 164: "5.93"}),
    "normalised after addition": UnitOrder("bn-after-addition", {110: "8.17", 164: "6.50"}),
    "ReLU before addition": UnitOrder("relu-before-addition", {110: "7.84", 164: "6.14"}),
    "ReLU-only pre-activation": UnitOrder("relu-only-pre-activation", {110: "6.71", 164: "5.91"}),
    "full pre-activation": UnitOrder("full-pre-activation", {110: "6.37", 164: "5.46"}),
}


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    """Train ten networks in the published setup; in a scaled-down setup, 110 layers would not be comparable."""
    try:
        setup = choose_setup(options)
        if setup.deviations:
            raise DataError(NEEDS)
    except SnellenError as error:
        for row in TABLE.rows:
            yield row.name, not_run(error.cause)
        return
    for order, (unit, printed) in ORDERS.items():
        for depth in printed:
            each = [
                errors(f"resnet{depth}", setup, options, seed, {"residual_unit": unit}).test
                for seed in range(options.seeds)
            ]
            yield row_of(order, depth), mean_over_seeds(each)


def row_of(order: str, depth: int) -> str:
    return f"{order}, ResNet-{depth}"


def seconds(options: MeasureOptions) -> float:
    full = options.device.startswith("cuda") and not options.quick
    return 10 * seconds_of_depth(options) if full else 0.0


TABLE = PublishedTable(
    name="cifar10-units",
    title="N8: orders of the residual unit on CIFAR-10",
    setup="ResNet-110 and ResNet-164 (with bottlenecks), as for depth; learning rate 0.01 for the first 400 steps, "
    "median of 5.",
    unit="% error",
    rows=tuple(
        TableRow(name=row_of(order, depth), published=printed_value(text, "[lecture] 003"), unavailable_reason=NEEDS)
        for order, (_, printed) in ORDERS.items()
        for depth, text in printed.items()
    ),
    seeds=5,
    quick_seeds=1,
    seconds=seconds,
    measure=measure,
    deviations=("no initial steps with learning rate 0.01", "mean over seeds instead of the median"),
)
