"""N6: nearest neighbours and support vectors on MNIST.

Source: lecture 004, "Knn: 96.8", "SVM: 98.6"; the setups are not told there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from snellen.core.errors import SnellenError
from snellen.data.open_dataset import dataset
from snellen.reproduce.table import How, Measured, Row, Table, figure, not_run, tried
from snellen.reproduce.training import Data, learned, part, whole

SMALLER = (5000, 1000)  # samples of training and test of a quick run


class Kind(NamedTuple):
    """A learner with its settings, what the lecture prints of it, and about how many seconds it takes on one core."""

    learner: str
    settings: Mapping[str, Any]
    accuracy: str
    seconds: float


KINDS = {
    "k-NN, k = 1": Kind("knn", {"k": 1}, "96.8", 25),
    "k-NN, k = 3": Kind("knn", {"k": 3}, "96.8", 25),
    "k-NN, k = 5": Kind("knn", {"k": 5}, "96.8", 25),
    "SVM, RBF, C = 10, γ = 0.02": Kind("svm", {"C": 10.0, "gamma": 0.02}, "98.6", 300),
}


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    try:
        data = whole(dataset("mnist"))
    except SnellenError as error:  # without the data every row says so
        for row in KINDS:
            yield row, not_run(error.cause)
        return
    if how.quick:
        data = part(data, *SMALLER)
    for row, kind in KINDS.items():
        yield row, tried(lambda kind=kind: accuracy(kind, data, how))  # type: ignore[misc]


def accuracy(kind: Kind, data: Data, how: How) -> Measured:
    """Percent of the test samples, with Wilson's interval."""
    with learned(data, kind.learner, how, settings=kind.settings) as trained:
        metric = trained.metrics["accuracy"]
    assert metric.value is not None
    assert metric.low is not None
    assert metric.high is not None
    smaller = (f"{data.spec.sizes['train']:,} training and {data.spec.sizes['test']:,} test samples",)
    return Measured(
        value=100 * metric.value,
        low=100 * metric.low,
        high=100 * metric.high,
        over=f"{data.spec.sizes['test']:,} test samples",
        scaled=how.quick,
        deviations=smaller if how.quick else (),
    )


TABLE = Table(
    name="mnist",
    title="N6: nearest neighbours and support vectors on MNIST",
    setup="60,000 training and 10,000 test pictures; k, the kernel and its constants are not told.",
    unit="% right of the test samples",
    rows=tuple(Row(name=row, published=figure(kind.accuracy, "[lecture] 004")) for row, kind in KINDS.items()),
    seeds=1,
    few=1,
    seconds=lambda how: 20.0 if how.quick else sum(kind.seconds for kind in KINDS.values()),
    measure=measure,
    fixed=True,
    deviations=("k, kernel, C and γ are ours, for the lecture names none",),
)
