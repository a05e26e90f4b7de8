"""N6: a perceptron with one hidden layer of 20 to 120 units on MNIST.

Source: lecture 004, 784 → 20 < H < 120 → 10. Its curve is lost; the counts of weights and the range are known.
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.errors import SnellenError
from snellen.data.open_dataset import dataset
from snellen.reproduce.table import How, Measured, Row, Table, above, between, not_run, over_seeds
from snellen.reproduce.training import Data, learned, part, whole

WIDTHS = (20, 40, 60, 80, 100, 120)
EPOCHS = 15
SMALLER = (5000, 1000, 3)  # samples of training and test, and epochs, of a quick run
RISING = "120 units less 20"
LOST = "[lecture] 004"
EXPECTED = "lost; about 94 – 98 expected"


def name(width: int) -> str:
    return f"{width} hidden units"


def measure(how: How) -> Iterator[tuple[str, Measured]]:
    try:
        data = whole(dataset("mnist"))
    except SnellenError as error:  # without the data every row says so
        for row in TABLE.rows:
            yield row.name, not_run(error.cause)
        return
    if how.quick:
        data = part(data, *SMALLER[:2])
    found: dict[int, list[float]] = {}
    for width in WIDTHS:
        found[width] = [accuracy(width, data, how, seed) for seed in range(how.seeds)]
        yield name(width), told(found[width], data, how)
    rise = [wide - narrow for wide, narrow in zip(found[WIDTHS[-1]], found[WIDTHS[0]], strict=True)]
    yield RISING, told(rise, data, how)


def accuracy(width: int, data: Data, how: How, seed: int) -> float:
    """Percent of the test samples."""
    settings = {"hidden": (width,), "epochs": SMALLER[2] if how.quick else EPOCHS}
    with learned(data, "mlp", how, seed, settings) as trained:
        value = trained.metrics["accuracy"].value
    assert value is not None
    return 100 * value


def told(each: list[float], data: Data, how: How) -> Measured:
    found = over_seeds(each)
    if not how.quick:
        return found
    sizes = data.spec.sizes
    smaller = f"{sizes['train']:,} training and {sizes['test']:,} test samples, {SMALLER[2]} epochs"
    return Measured(
        value=found.value,
        low=found.low,
        high=found.high,
        over=found.over,
        each=found.each,
        scaled=True,
        deviations=(smaller,),
    )


TABLE = Table(
    name="mnist-mlp",
    title="N6: one hidden layer of 20 to 120 units on MNIST",
    setup="784 → H → 10 units; 60,000 training and 10,000 test pictures; how it was trained is not told.",
    unit="% right of the test samples",
    rows=(
        *(Row(name=name(width), published=between("94.0", "98.0", LOST, EXPECTED)) for width in WIDTHS),
        Row(name=RISING, published=above(0, "[lecture] 004: rising")),
    ),
    seeds=3,
    few=1,
    seconds=lambda how: len(WIDTHS) * how.seeds * (1.0 if how.quick else 6.0),
    measure=measure,
    deviations=(f"ReLU, Adam, {EPOCHS} epochs, batches of 64, one-cycle up to a rate of 0.002: ours",),
)
