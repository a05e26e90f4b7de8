"""Times of the rows of a table of time series: numbers or dates, equal steps, periods of resampling, times to come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from snellen.core.errors import DataError, UsageError, short_repr
from snellen.data.formats.series_text import JITTER
from snellen.data.formats.table_text import is_number

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DAY = SECONDS["d"]
_MONTH_DAYS = 28  # days of a step from which it may be a month
_MONDAY = -3 * DAY  # 29 December 1969, the start of the weeks of resampling, in seconds since 1970
_COMPACT_DATE = re.compile(r"(19|20)\d{6}")
_MONTH = re.compile(r"\d{4}-\d{2}")
_PERIOD = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_WRITE = "Write numbers, such as seconds, or dates as 2024-03-01 or 2024-03-01T12:00:00."


@dataclass(frozen=True, kw_only=True)
class Times:
    """Times of N rows.

    Args:
        clock: (N,) float64, seconds since 1970, of UTC where the times are written with an offset; or numbers.
        offset: (N,) float64, seconds that the times as written are ahead of UTC; None of numbers.
        has_offset: whether times are written with an offset.
        has_hours: whether times are written with the time of day.
    """

    clock: np.ndarray
    offset: np.ndarray | None = None
    has_offset: bool = False
    has_hours: bool = False

    @property
    def local(self) -> np.ndarray:
        """(N,) seconds since 1970 of the times as written; numbers as they are."""
        return self.clock if self.offset is None else self.clock + self.offset

    def take(self, rows: np.ndarray) -> Times:
        """The times of some rows."""
        offset = None if self.offset is None else self.offset[rows]
        return Times(clock=self.clock[rows], offset=offset, has_offset=self.has_offset, has_hours=self.has_hours)

    def text(self, row: int) -> str:
        """A time as it is written: a number, or an ISO date."""
        if self.offset is None:
            return f"{self.clock[row]:.12g}"
        moment = _moment(self.local[row])
        if not self.has_hours and moment.time() == moment.min.time():
            return moment.date().isoformat()
        if not self.has_offset:
            return moment.isoformat()
        minutes = round(float(self.offset[row]) / 60)
        sign, minutes = ("-" if minutes < 0 else "+"), abs(minutes)
        return f"{moment.isoformat()}{sign}{minutes // 60:02d}:{minutes % 60:02d}"


@dataclass(frozen=True, kw_only=True)
class StepLength:
    """Duration of a step: a number of calendar months, or `size`, in seconds of dates or in the unit of numbers.

    Args:
        is_local: whether steps of dates are equal in the times as written (days), or in UTC (hours).
        is_month_end: whether each time is the last day of a month.
    """

    size: float = 0.0
    months: int = 0
    is_date: bool = True
    is_local: bool = True
    is_month_end: bool = False

    @property
    def seconds(self) -> float | None:
        """Typical duration in seconds; None of numbers."""
        return (30.4 * DAY * self.months or self.size) if self.is_date else None

    def duration(self, unit: str = "") -> tuple[float, str]:
        """The duration and its unit; `unit` is that of numbers."""
        if self.months:
            return float(self.months), "month" if self.months == 1 else "months"
        if not self.is_date:
            return self.size, unit
        for longer in ("d", "h", "min"):
            if self.size >= SECONDS[longer] and self.size % SECONDS[longer] == 0:
                return self.size / SECONDS[longer], longer
        return self.size, "s"

    def clock(self, times: Times) -> np.ndarray:
        """(N,) times in which the steps are equal."""
        return times.local if self.is_local else times.clock

    def count(self, times: Times) -> np.ndarray:
        """(N - 1,) number of steps between consecutive times, whole within 10 % where they are equal."""
        if self.months:
            counts: np.ndarray = np.diff(_months(times.local)) / self.months
            return counts
        return np.diff(self.clock(times)) / self.size

    def position(self, times: Times) -> float:
        """The first time in steps, on a clock that all series share."""
        return float(_months(times.local[:1])[0] / self.months if self.months else self.clock(times)[0] / self.size)

    def after(self, times: Times, row: int, count: int) -> Times:
        """The `count` times after that of a row, at the offset from UTC of that row."""
        ahead = np.arange(1, count + 1)
        if not self.months:
            clock = times.clock[row] + ahead * self.size
        else:
            clock = np.array(
                [_add_months(times.local[row], self.months * k, self.is_month_end) for k in ahead.tolist()]
            )
            clock = clock if times.offset is None else clock - times.offset[row]
        offset = None if times.offset is None else np.full(count, times.offset[row])
        return Times(clock=clock, offset=offset, has_offset=times.has_offset, has_hours=times.has_hours)


def parse_times(cells: Sequence[str], where: str, name: str, lines: Sequence[int]) -> Times:
    """Parse a column of numbers or ISO dates; whole numbers such as 20240301 are dates if all are.

    Raises:
        DataError: a cell that is neither, dates with and without an offset from UTC.
    """
    if all(map(is_number, cells)) and not all(map(is_compact_date, cells)):
        clock = np.array([float(cell) for cell in cells])
        bad = np.nonzero(~np.isfinite(clock))[0]
        if len(bad):
            raise DataError(f"{where}, line {lines[bad[0]]}: {name} is {cells[bad[0]]!r}, not a time", _WRITE)
        return Times(clock=clock)
    moments: list[datetime] = []
    for line, cell in zip(lines, cells, strict=True):
        moment = _date(cell)
        if moment is None:
            what = "missing" if not cell else f"{short_repr(cell)}, not a time"
            raise DataError(f"{where}, line {line}: {name} is {what}", _WRITE)
        moments.append(moment)
        if (moment.tzinfo is None) != (moments[0].tzinfo is None):
            raise DataError(
                f"{where}, line {line}: {name} is {cell!r}, line {lines[0]} has {cells[0]!r}: only one of them has an "
                "offset from UTC",
                "Give all times with an offset, as 2024-03-01T12:00:00+01:00, or none.",
            )
    offsets = [moment.utcoffset() or timedelta() for moment in moments]
    local = [(moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds() for moment in moments]
    offset = np.array([one.total_seconds() for one in offsets])
    return Times(
        clock=np.array(local) - offset,
        offset=offset,
        has_offset=moments[0].tzinfo is not None,
        has_hours=any(":" in cell for cell in cells),
    )


def is_date(cell: str) -> bool:
    """Whether a cell is a date, and no number."""
    return not is_number(cell) and _date(cell) is not None


def is_compact_date(cell: str) -> bool:
    """Whether a cell is a date such as 20240301."""
    return _COMPACT_DATE.fullmatch(cell) is not None and _date(cell) is not None


def _date(cell: str) -> datetime | None:
    try:
        return datetime.fromisoformat(f"{cell}-01" if _MONTH.fullmatch(cell) else cell)
    except ValueError:
        return None


def find_step(series: Sequence[Times]) -> StepLength | None:
    """The step of series whose times grow: the median, or calendar months; None without two times."""
    steps = np.concatenate([np.diff(times.clock) for times in series]) if series else np.empty(0)
    if not len(steps):
        return None
    median = float(np.median(steps))
    if series[0].offset is None:
        return StepLength(size=median, is_date=False)
    if median >= _MONTH_DAYS * DAY:
        local = np.concatenate([times.local for times in series])
        is_end = bool((_days_to_month_end(local) == 0).all())
        moments = [_moment(value) for value in local]
        if is_end or len({(moment.day, moment.time()) for moment in moments}) == 1:
            months = int(np.median(np.concatenate([np.diff(_months(times.local)) for times in series])))
            return StepLength(months=max(months, 1), is_month_end=is_end)
    is_local = median >= DAY * (1 - JITTER)  # a day of 23 hours is a step of a day
    if is_local:
        median = float(np.median(np.concatenate([np.diff(times.local) for times in series])))
    return StepLength(size=median, is_local=is_local)


def step_of(duration: float, unit: str, times: Sequence[Times]) -> StepLength:
    """The step with a duration as stored with a model, for new times."""
    if unit in ("month", "months"):
        local = np.concatenate([one.local for one in times])
        return StepLength(months=int(duration), is_month_end=bool((_days_to_month_end(local) == 0).all()))
    if times[0].offset is None:
        return StepLength(size=duration, is_date=False)
    size = duration * SECONDS.get(unit, 1.0)
    return StepLength(size=size, is_local=size >= DAY)


def parse_period(text: str, is_date: bool) -> StepLength:
    """The step of --resample: a number and a unit, s, min, h, d, w or mo; of times that are numbers only a number.

    Raises:
        UsageError: for anything else.
    """
    match = _PERIOD.fullmatch(text.strip().lower())
    size = float(match[1]) if match else 0.0
    unit = match[2] if match else ""
    if size > 0 and is_date and unit == "mo" and size == int(size):
        return StepLength(months=int(size))
    if size > 0 and is_date and unit in SECONDS:
        return StepLength(size=size * SECONDS[unit], is_local=size * SECONDS[unit] >= DAY)
    if size > 0 and not is_date and not unit:
        return StepLength(size=size, is_date=False)
    units = f"a number and {', '.join(SECONDS)} or mo, as 1d or 15min" if is_date else "a number, as the times are"
    raise UsageError(f"--resample {text} is no period of these times", f"Give {units}.")


def periods(times: Times, step: StepLength) -> tuple[np.ndarray, Times]:
    """(N,) period of each time, counted from the first, and the starts of all periods from the first to the last.

    Days and months begin at midnight as written, weeks on Monday; shorter periods at a multiple of the period in UTC.
    """
    if step.months:
        index = _months(times.local) // step.months
        first = int(index.min())
        months = [_month_start(step.months * k) for k in range(first, int(index.max()) + 1)]
        return index - first, Times(clock=np.array(months), offset=np.zeros(len(months)))
    origin = _MONDAY if step.is_date and step.size % SECONDS["w"] == 0 else 0.0
    index = np.floor((step.clock(times) - origin) / step.size + 1e-9).astype(np.int64)
    first = int(index.min())
    starts = origin + step.size * np.arange(first, int(index.max()) + 1)
    if times.offset is None:
        return index - first, Times(clock=starts)
    if step.is_local:
        return index - first, Times(clock=starts, offset=np.zeros(len(starts)))
    order = np.argsort(times.clock, kind="stable")  # the offset of the last row at or before each start
    last = np.searchsorted(times.clock[order], starts + step.size, side="left") - 1
    offset = times.offset[order][np.clip(last, 0, None)]
    return index - first, Times(clock=starts, offset=offset, has_offset=times.has_offset, has_hours=True)


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=float(seconds))


def _months(seconds: np.ndarray) -> np.ndarray:
    """(N,) calendar months since year 0."""
    moments = [_moment(value) for value in seconds]
    return np.array([12 * moment.year + moment.month - 1 for moment in moments])


def _month_start(month: int) -> float:
    return (datetime(month // 12, month % 12 + 1, 1) - datetime(1970, 1, 1)).total_seconds()


def _days_to_month_end(seconds: np.ndarray) -> np.ndarray:
    moments = [_moment(value) for value in seconds]
    return np.array([(moment + timedelta(days=1)).day - 1 for moment in moments])


def _add_months(seconds: float, months: int, is_month_end: bool) -> float:
    """A time so many months later, on the same day, or the last of a shorter month."""
    moment = _moment(seconds)
    month = 12 * moment.year + moment.month - 1 + months
    start, following = _month_start(month), _month_start(month + 1)
    length = round((following - start) / DAY)
    day = length if is_month_end else min(moment.day, length)
    time_of_day = (moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    return start + (day - 1) * DAY + time_of_day
