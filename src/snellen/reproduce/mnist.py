"""N6: k nearest neighbours and support vector machine on MNIST.

Source: lecture 004, "Knn: 96.8", "SVM: 98.6"; the lecture does not state the setups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from snellen.core.errors import SnellenError
from snellen.data.open_dataset import dataset
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    measure_or_skip,
    not_run,
    printed_value,
)
from snellen.reproduce.training import Data, merge_validation, subset, trained_run

QUICK_SIZES = (5000, 1000)  # training and test samples of a quick run


class Method(NamedTuple):
    """A learner with its settings, the accuracy in the lecture, and the approximate seconds on one core."""

    learner: str
    settings: Mapping[str, Any]
    accuracy: str
    seconds: float


KINDS = {
    "k-NN, k = 1": Method("knn", {"k": 1}, "96.8", 25),
    "k-NN, k = 3": Method("knn", {"k": 3}, "96.8", 25),
    "k-NN, k = 5": Method("knn", {"k": 5}, "96.8", 25),
    "SVM, RBF, C = 10, γ = 0.02": Method("svm", {"C": 10.0, "gamma": 0.02}, "98.6", 300),
}


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    try:
        data = merge_validation(dataset("mnist"))
    except SnellenError as error:  # holds for every row
        for row in KINDS:
            yield row, not_run(error.cause)
        return
    if options.quick:
        data = subset(data, *QUICK_SIZES)
    for row, kind in KINDS.items():
        yield row, measure_or_skip(lambda kind=kind: accuracy(kind, data, options))  # type: ignore[misc]


def accuracy(kind: Method, data: Data, options: MeasureOptions) -> Measurement:
    """Test accuracy in percent, with Wilson's interval."""
    with trained_run(data, kind.learner, options, settings=kind.settings) as trained:
        metric = trained.metrics["accuracy"]
    assert metric.value is not None
    assert metric.low is not None
    assert metric.high is not None
    deviation = f"{data.spec.sizes['train']:,} training and {data.spec.sizes['test']:,} test samples"
    return Measurement(
        value=100 * metric.value,
        low=100 * metric.low,
        high=100 * metric.high,
        over=f"{data.spec.sizes['test']:,} test samples",
        scaled=options.quick,
        deviations=(deviation,) if options.quick else (),
    )


TABLE = PublishedTable(
    name="mnist",
    title="N6: k nearest neighbours and SVM on MNIST",
    setup="60,000 training and 10,000 test images; k, the kernel and its parameters are not stated.",
    unit="% test accuracy",
    rows=tuple(
        TableRow(name=row, published=printed_value(kind.accuracy, "[lecture] 004")) for row, kind in KINDS.items()
    ),
    seeds=1,
    quick_seeds=1,
    seconds=lambda options: 20.0 if options.quick else sum(kind.seconds for kind in KINDS.values()),
    measure=measure,
    deterministic=True,
    deviations=("k, kernel, C and γ are our choice: the lecture does not state them",),
)
