"""C13: LeNet-5 on MNIST.

Source: LeCun, Bottou, Bengio and Haffner 1998, section III.B. Their network has fewer connections, a hyperbolic tangent
and a radial basis output; ours is today's form.
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.errors import SnellenError
from snellen.data.open_dataset import dataset
from snellen.reproduce.mnist_mlp import percent_correct, with_deviations
from snellen.reproduce.table import Measurement, MeasureOptions, PublishedTable, TableRow, claim_below, not_run
from snellen.reproduce.training import merge_validation, subset

EPOCHS = 15
QUICK = (5000, 1000, 3)  # training samples, test samples and epochs of a quick run
ROW = "LeNet-5, test error"


def measure(options: MeasureOptions) -> Iterator[tuple[str, Measurement]]:
    try:
        data = merge_validation(dataset("mnist"))
    except SnellenError as error:
        yield ROW, not_run(error.cause)
        return
    if options.quick:
        data = subset(data, *QUICK[:2])
    settings = {"epochs": QUICK[2] if options.quick else EPOCHS}
    errors = [100 - percent_correct("lenet", data, options, seed, settings) for seed in range(options.seeds)]
    yield ROW, with_deviations(errors, data, options)


TABLE = PublishedTable(
    name="mnist-lenet",
    title="C13: LeNet-5 on MNIST",
    setup="60,000 training and 10,000 test images, padded to 32×32; 20 passes of a diagonal Newton method.",
    unit="% error",
    rows=(
        TableRow(
            name=ROW, published=claim_below(1, "[paper] LeCun et al. 1998, section III.B", "0.95; below 1 expected")
        ),
    ),
    seeds=5,
    quick_seeds=1,
    seconds=lambda options: options.seeds * (5.0 if options.quick else 150.0),
    measure=measure,
    deviations=(
        "today's form: all maps connected, ReLU, softmax",
        f"our choice: Adam, {EPOCHS} epochs, batch size 64, one-cycle learning rate",
    ),
)
