"""Published tables: printed values, their measurement, and the verdict of the comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from snellen.core.errors import SnellenError, Stopped
from snellen.core.run import Progress

Verdict = Literal["match", "within interval", "undecided", "scaled down", "too few seeds", "not reproduced", "not run"]
MIN_SEEDS = 5  # for a verdict: the interval of fewer excludes or includes nearly everything


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """A printed value or claim.

    Args:
        text: as printed.
        low, high: range of values that match.
        source: "[lecture] 004", "[paper] He et al. 2016, table 6".
        whole_interval: a claim ("above 0"), which the whole measured interval must bear out.
    """

    text: str
    low: float
    high: float
    source: str
    whole_interval: bool = False


def printed_value(text: str, source: str) -> PublishedValue:
    """A printed number; values that round to it match: "96.8" is 96.75 … 96.85, "9e20" 8.5e20 … 9.5e20."""
    number = Decimal(text.replace(",", ""))
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    half = 0.5 * 10.0**exponent
    return PublishedValue(text=text, low=float(number) - half, high=float(number) + half, source=source)


def printed_range(low: str, high: str, source: str, text: str = "") -> PublishedValue:
    """A printed range; values that round into it match: "94", "98" is 93.5 … 98.5."""
    first, last = printed_value(low, source), printed_value(high, source)
    return PublishedValue(text=text or f"{low} – {high}", low=first.low, high=last.high, source=source)


def claim_above(low: float, source: str, text: str = "") -> PublishedValue:
    """A claim that a value is above a bound."""
    return PublishedValue(text=text or f"above {low:g}", low=low, high=math.inf, source=source, whole_interval=True)


def claim_below(high: float, source: str, text: str = "") -> PublishedValue:
    """A claim that a value is below a bound."""
    return PublishedValue(text=text or f"below {high:g}", low=-math.inf, high=high, source=source, whole_interval=True)


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row. `unavailable_reason` says why it is not measured here."""

    name: str
    published: PublishedValue
    unavailable_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The measured value of a row.

    Args:
        value: None if the row was not run, with its `reason`.
        low, high: 95 % interval `over` seeds, samples or draws.
        each: one value per seed, for fewer than 30.
        scaled: measured in a smaller setup than the published one: the values are not comparable.
        deviations: of this row's setup from the published one.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    over: str = ""
    each: tuple[float, ...] = ()
    seconds: float = 0.0
    scaled: bool = False
    deviations: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Options for measuring a table.

    Args:
        seeds: number of seeds; 0: the default of the table.
        quick: run a scaled-down setup.
        device: "auto", "cpu", "cuda", "mps".
        progress: receives progress.
    """

    seeds: int = 0
    quick: bool = False
    device: str = "auto"
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A published table.

    Args:
        title: with the number of its entry in the list of the lectures.
        setup: the published setup, as far as known.
        unit: of the values.
        rows: in printed order.
        seeds, quick_seeds: number of seeds of a full run and of a quick run.
        seconds: approximate time of a run, on one core without a GPU.
        measure: yields (name of the row, measurement) for each row.
        deviations: from the published setup, for every row.
        deterministic: every seed gives the same result.
    """

    name: str
    title: str
    setup: str
    unit: str
    rows: tuple[TableRow, ...]
    seeds: int
    quick_seeds: int
    seconds: Callable[[MeasureOptions], float]
    measure: Callable[[MeasureOptions], Iterator[tuple[str, Measurement]]]
    deviations: tuple[str, ...] = ()
    deterministic: bool = False


def not_run(reason: str) -> Measurement:
    return Measurement(value=None, reason=reason)


def verdict(row: TableRow, measured: Measurement | None) -> Verdict:
    """Compare the measured value with the printed one.

    "match": it rounds to the printed value, or the whole interval fulfils the claim. "within interval": the printed
    value lies in the 95 % interval. "undecided": it does, but half of the interval is wider than the printed value, so
    that it excludes nearly nothing; of a claim: the interval holds values for and against it. "scaled down": measured
    in a smaller setup, so not comparable. "too few seeds": of fewer than 5 seeds or draws, so no verdict.
    """
    if measured is None or measured.value is None:
        return "not run"
    if measured.scaled:
        return "scaled down"
    if 0 < len(measured.each) < MIN_SEEDS:
        return "too few seeds"
    low, high = (measured.value if bound is None else bound for bound in (measured.low, measured.high))
    printed = row.published
    if not (low <= printed.high and printed.low <= high):
        return "not reproduced"
    if printed.whole_interval:
        return "match" if printed.low <= low and high <= printed.high else "undecided"
    if low < high and (high - low) / 2 > abs(printed.low + printed.high) / 2:
        return "undecided"
    if printed.low <= measured.value <= printed.high:
        return "match"
    return "within interval"


def measure_or_skip(make: Callable[[], Measurement]) -> Measurement:
    """The measurement, or the reason why it failed. Stopped by a signal, it raises."""
    try:
        return make()
    except Stopped:
        raise
    except SnellenError as error:
        return not_run(error.cause)


def mean_over_seeds(values: Sequence[float], over: str = "seeds") -> Measurement:
    """Mean with its 95 % confidence interval; a single value has no interval.

    Source: Student 1908.
    """
    half = _t_spread(values) / math.sqrt(len(values))
    return _with_bounds(values, half, f"{len(values):,} {over}")


def prediction_interval(values: Sequence[float], over: str = "draws") -> Measurement:
    """Mean with the 95 % prediction interval of a further draw, for comparison with a single printed draw.

    Source: Student 1908; mean ± t s √(1 + 1/n).
    """
    half = _t_spread(values) * math.sqrt(1 + 1 / len(values))
    return _with_bounds(values, half, f"one draw, by {len(values):,} {over}")


def _t_spread(values: Sequence[float]) -> float:
    """Standard deviation of the values times the 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit  # torch has no quantile of t

    return float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) if len(values) > 1 else 0.0


def _with_bounds(values: Sequence[float], half: float, over: str) -> Measurement:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Measurement(value=mean, each=tuple(values))
    listed = tuple(values) if len(values) < 30 else ()
    return Measurement(value=mean, low=mean - half, high=mean + half, over=over, each=listed)


def format_value(value: float) -> str:
    """A value with four significant digits; integers in full."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}"
