"""N6: multilayer perceptron with one hidden layer of 20 to 120 units on MNIST.

Source: lecture 004, 784 → 20 < H < 120 → 10. Its curve is lost; the numbers of weights and the range are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.errors import SnellenError
from snellen.data.open_dataset import dataset
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    claim_above,
    mean_over_seeds,
    not_run,
    printed_range,
)
from snellen.reproduce.training import Data, merge_validation, subset, trained_run

WIDTHS = (20, 40, 60, 80, 100, 120)
EPOCHS = 15
QUICK_SIZES = (5000, 1000, 3)  # training samples, test samples and epochs of a quick run
RISING = "120 units less 20"
LOST = "[lecture] 004"
EXPECTED = "lost; about 94 – 98 expected"


def name(width: int) -> str:
    return f"{width} hidden units"


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    try:
        data = merge_validation(dataset("mnist"))
    except SnellenError as error:  # holds for every row
        for row in TABLE.rows:
            yield row.name, not_run(error.cause)
        return
    if options.quick:
        data = subset(data, *QUICK_SIZES[:2])
    accuracies: dict[int, list[float]] = {}
    for width in WIDTHS:
        settings = {"hidden": (width,), "epochs": QUICK_SIZES[2] if options.quick else EPOCHS}
        accuracies[width] = [percent_correct("mlp", data, options, seed, settings) for seed in range(options.seeds)]
        yield name(width), with_deviations(accuracies[width], data, options)
    rise = [wide - narrow for wide, narrow in zip(accuracies[WIDTHS[-1]], accuracies[WIDTHS[0]], strict=True)]
    yield RISING, with_deviations(rise, data, options)


def percent_correct(
    model: str, data: Data, options: MeasureOptions, seed: int, settings: Mapping[str, object]
) -> float:
    """Test accuracy of one training, percent."""
    with trained_run(data, model, options, seed, settings) as trained:
        value = trained.metrics["accuracy"].value
    assert value is not None
    return 100 * value


def with_deviations(each: list[float], data: Data, options: MeasureOptions) -> Measurement:
    mean = mean_over_seeds(each)
    if not options.quick:
        return mean
    sizes = data.spec.sizes
    deviation = f"{sizes['train']:,} training and {sizes['test']:,} test samples, {QUICK_SIZES[2]} epochs"
    return Measurement(
        value=mean.value,
        low=mean.low,
        high=mean.high,
        over=mean.over,
        each=mean.each,
        scaled=True,
        deviations=(deviation,),
    )


TABLE = PublishedTable(
    name="mnist-mlp",
    title="N6: one hidden layer of 20 to 120 units on MNIST",
    setup="784 → H → 10 units; 60,000 training and 10,000 test images; the training is not described.",
    unit="% test accuracy",
    rows=(
        *(TableRow(name=name(width), published=printed_range("94.0", "98.0", LOST, EXPECTED)) for width in WIDTHS),
        TableRow(name=RISING, published=claim_above(0, "[lecture] 004: rising")),
    ),
    seeds=5,
    quick_seeds=1,
    seconds=lambda options: len(WIDTHS) * options.seeds * (1.0 if options.quick else 6.0),
    measure=measure,
    deviations=(f"our choice: ReLU, Adam, {EPOCHS} epochs, batch size 64, one-cycle learning rate up to 0.002",),
)
