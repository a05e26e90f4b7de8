"""A published table: what was printed, how it is measured here, and what the one says of the other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from snellen.core.errors import SnellenError, Stopped
from snellen.core.run import Progress

Verdict = Literal["match", "within interval", "scaled down", "not reproduced", "not run"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A printed figure or claim.

    Args:
        text: as it was printed.
        low, high: what counts as the same.
        source: "[lecture] 004", "[paper] He et al. 2016, table 6".
        whole: a claim ("above 0"), which the whole measured interval must bear out.
    """

    text: str
    low: float
    high: float
    source: str
    whole: bool = False


def figure(text: str, source: str) -> Published:
    """A printed number: what rounds to its last digit is the same. "96.8" is 96.75 … 96.85, "9e20" 8.5e20 … 9.5e20."""
    number = Decimal(text.replace(",", ""))
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    half = 0.5 * 10.0**exponent
    return Published(text=text, low=float(number) - half, high=float(number) + half, source=source)


def between(low: str, high: str, source: str, text: str = "") -> Published:
    """A printed range, and what rounds into it: "94", "98" is 93.5 … 98.5."""
    first, last = figure(low, source), figure(high, source)
    return Published(text=text or f"{low} – {high}", low=first.low, high=last.high, source=source)


def above(low: float, source: str, text: str = "") -> Published:
    """A claim that a figure is above another."""
    return Published(text=text or f"above {low:g}", low=low, high=math.inf, source=source, whole=True)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row. `cannot` says why it is not measured here."""

    name: str
    published: Published
    cannot: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a row gave here.

    Args:
        value: None where it was not run, for a `reason`.
        low, high: the 95 % interval, `over` seeds, samples or draws.
        each: one value a seed, where they are few.
        scaled: measured under a smaller setup than the published one: the figures cannot be compared.
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
class How:
    """How a table is to be run.

    Args:
        seeds: how many; 0: as many as the table wants.
        quick: smaller and scaled down.
        device: "auto", "cpu", "cuda", "mps".
        progress: who is told of progress.
    """

    seeds: int = 0
    quick: bool = False
    device: str = "auto"
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A published table.

    Args:
        title: what it is about, with its row of the lectures' numbers.
        setup: the published setup, as far as it is known.
        unit: of the figures.
        rows: in the order of the print.
        seeds, few: how many a full run takes, and a quick one.
        seconds: about how long a run takes, on one core where there is no GPU.
        measure: yields (name of the row, what it gave) as each is done.
        deviations: from the published setup, of every row.
        fixed: nothing is drawn: every seed would give the same.
    """

    name: str
    title: str
    setup: str
    unit: str
    rows: tuple[Row, ...]
    seeds: int
    few: int
    seconds: Callable[[How], float]
    measure: Callable[[How], Iterator[tuple[str, Measured]]]
    deviations: tuple[str, ...] = ()
    fixed: bool = False


def not_run(reason: str) -> Measured:
    return Measured(value=None, reason=reason)


def verdict(row: Row, measured: Measured | None) -> Verdict:
    """What the measured figure says of the printed one.

    "match": it rounds to the printed figure, or the whole interval bears out the claim. "within interval": the printed
    figure lies in the 95 % interval of ours. "scaled down": run in a smaller setup, so not to be compared.
    """
    if measured is None or measured.value is None:
        return "not run"
    if measured.scaled:
        return "scaled down"
    low, high = (measured.value if bound is None else bound for bound in (measured.low, measured.high))
    printed = row.published
    first, last = (low, high) if printed.whole else (measured.value, measured.value)
    if printed.low <= first and last <= printed.high:
        return "match"
    return "within interval" if low <= printed.high and printed.low <= high and low < high else "not reproduced"


def tried(make: Callable[[], Measured]) -> Measured:
    """What it gives, or why it could not be run; a signal is no such reason."""
    try:
        return make()
    except Stopped:
        raise
    except SnellenError as error:
        return not_run(error.cause)


def over_seeds(each: Sequence[float], over: str = "seeds") -> Measured:
    """The mean with its 95 % interval; of one value, that value alone.

    Source: Student 1908.
    """
    half = _spread(each) / math.sqrt(len(each))
    return _around(each, half, f"{len(each):,} {over}")


def of_draws(each: Sequence[float], over: str = "draws") -> Measured:
    """The mean, and where a further draw lies with 95 % probability: what a single printed draw is to be held against.

    Source: Student 1908; mean ± t s √(1 + 1/n).
    """
    half = _spread(each) * math.sqrt(1 + 1 / len(each))
    return _around(each, half, f"one draw, by {len(each):,} {over}")


def _spread(each: Sequence[float]) -> float:
    """The deviation of the values times the 97.5 % quantile of t."""
    from scipy.special import stdtrit  # torch has no quantile of t

    return float(stdtrit(len(each) - 1, 0.975)) * statistics.stdev(each) if len(each) > 1 else 0.0


def _around(each: Sequence[float], half: float, over: str) -> Measured:
    mean = statistics.fmean(each)
    if len(each) < 2:
        return Measured(value=mean, each=tuple(each))
    few = tuple(each) if len(each) < 30 else ()
    return Measured(value=mean, low=mean - half, high=mean + half, over=over, each=few)


def written(value: float) -> str:
    """A figure with as many digits as tell it apart; counts in full."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}"
