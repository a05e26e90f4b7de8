"""Equal steps of time series: rows in the order of time, periods of resampling, gaps, series split at long gaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snellen.core.errors import DataError, counted
from snellen.core.spec import TimeSteps
from snellen.data.formats.series_text import JITTER
from snellen.data.formats.series_times import StepLength, Times, find_step, parse_period, periods, step_of

MIN_TIMES = 4  # of which the median step is known


@dataclass(frozen=True, kw_only=True)
class SeriesRows:
    """The rows of one series.

    Args:
        values: (T, D) float64, NaN where a cell is missing.
        lines: (T,) line of the file of each row; of a missing row that of the next.
        times: of the rows; None: they are equal steps in the order of the file.
        is_filled: (T,) bool, whether a value of a step is interpolated.
    """

    name: str
    values: np.ndarray
    lines: np.ndarray
    times: Times | None
    is_filled: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def place(self, where: str, line: int) -> str:
        """A line of a file, and the name of the series if it has one, for errors."""
        return f"{where}, line {line}" + (f", {self.name}" if self.name else "")

    def take(self, rows: np.ndarray) -> SeriesRows:
        """Some rows of the series."""
        times = None if self.times is None else self.times.take(rows)
        filled = self.is_filled[rows] if len(self.is_filled) else self.is_filled
        return dataclasses.replace(
            self, values=self.values[rows], lines=self.lines[rows], times=times, is_filled=filled
        )


@dataclass
class StepReport:
    """What was done to make the steps equal."""

    sorted: int = 0  # series whose rows were not in the order of time
    resampled: int = 0  # rows that were averaged
    filled: int = 0  # steps with an interpolated value
    removed: int = 0  # steps of long gaps
    parts: int = 0  # series that begin after a long gap
    trimmed: int = 0  # rows before the first and after the last value to forecast

    @property
    def texts(self) -> list[str]:
        """One clause for each thing that was done."""
        parts = [
            (self.sorted, f"rows sorted by time in {self.sorted:,} series"),
            (self.resampled, f"{self.resampled:,} rows averaged by period"),
            (self.filled, f"{counted(self.filled, 'step')} interpolated"),
            (self.removed, f"{counted(self.removed, 'step')} of longer gaps left out, series split there"),
            (self.trimmed, f"{counted(self.trimmed, 'row')} without a value to forecast at the ends left out"),
        ]
        return [text for count, text in parts if count]


def in_time_order(series: Sequence[SeriesRows], report: StepReport) -> list[SeriesRows]:
    """The rows of each series in the order of their times."""
    ordered = []
    for one in series:
        order = np.arange(len(one.lines)) if one.times is None else np.argsort(one.times.clock, kind="stable")
        report.sorted += bool((np.diff(order) < 0).any())
        ordered.append(one.take(order))
    return ordered


def resampled(series: Sequence[SeriesRows], period: str, is_date: bool, report: StepReport) -> list[SeriesRows]:
    """The mean of the values of each period; a period without a value is missing."""
    step, averaged = parse_period(period, is_date), []
    for one in series:
        assert one.times is not None
        index, starts = periods(one.times, step)
        present = ~np.isnan(one.values)
        sums, numbers = (
            np.zeros((len(starts.clock), one.values.shape[1])),
            np.zeros((len(starts.clock), one.values.shape[1])),
        )
        np.add.at(sums, index, np.where(present, one.values, 0.0))
        np.add.at(numbers, index, present)
        lines = one.lines[np.minimum(np.searchsorted(index, np.arange(len(starts.clock))), len(index) - 1)]
        values = np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)
        report.resampled += len(one.lines)
        averaged.append(dataclasses.replace(one, values=values, lines=lines, times=starts))
    return averaged


def equal_steps(
    series: Sequence[SeriesRows],
    stored: tuple[float, str] | None,
    time_steps: TimeSteps,
    where: str,
    time: str,
    unit: str,
) -> tuple[list[SeriesRows], StepLength | None]:
    """Each series with a row for each step; missing rows hold NaN.

    Args:
        series: in the order of time.
        stored: duration of a step of the training data and its unit; None: it is found.
        where, time, unit: the file, the column of times and the unit of numbers, for errors.
    Raises:
        DataError: two rows of a series at one time, unequal steps, and missing steps where gaps are errors.
    """
    if any(one.times is None for one in series):
        return list(series), None
    all_times = [one.times for one in series if one.times is not None]
    for one, times in zip(series, all_times, strict=True):
        equal = np.nonzero(np.diff(times.clock) == 0)[0]
        if len(equal):
            count = sum(int((np.diff(other.clock) == 0).sum()) for other in all_times)
            first, second = one.lines[equal[0]], one.lines[equal[0] + 1]
            raise DataError(
                f"{one.place(where, max(first, second))}: {time} is {times.text(int(equal[0]))} again, as in line "
                f"{min(first, second)} ({counted(count, 'repeated time')})",
                "Name the column that tells the series apart with --sequence-id, or average the rows of a period with "
                "--resample, as 1d.",
            )
    step = find_step(all_times)
    if stored is not None:
        step = _as_stored(step, stored, all_times, where, unit)
    if step is None:
        return list(series), None
    counts = [step.count(times) for times in all_times]
    whole = [np.round(count) for count in counts]
    _check_steps(series, all_times, counts, whole, step, time_steps, (where, time, unit))
    return [_on_grid(*one, step) for one in zip(series, all_times, whole, strict=True)], step


def _as_stored(
    given: StepLength | None, stored: tuple[float, str], all_times: Sequence[Times], where: str, unit: str
) -> StepLength:
    """The step of the training data. Raises DataError if the times have clearly another."""
    step = step_of(*stored, all_times)
    if given is not None and sum(len(times.clock) for times in all_times) > MIN_TIMES:
        (a, a_unit), (b, b_unit) = given.duration(unit), step.duration(unit)
        if a_unit != b_unit or abs(a - b) > JITTER * b:
            raise DataError(
                f"{where} has steps of {a:g} {a_unit}".rstrip()
                + f", the model was trained on steps of {b:g} {b_unit}".rstrip(),
                "Give series with the steps of the training data.",
            )
    return step


def _check_steps(
    series: Sequence[SeriesRows],
    all_times: Sequence[Times],
    counts: Sequence[np.ndarray],
    whole: Sequence[np.ndarray],
    step: StepLength,
    time_steps: TimeSteps,
    names: tuple[str, str, str],
) -> None:
    """Raise DataError for unequal steps, and for missing steps where gaps are errors."""
    where, time, unit = names
    unequal = [(np.abs(a - b) > JITTER) | (b < 1) for a, b in zip(counts, whole, strict=True)]
    missing = [b > 1 for b in whole]
    is_unequal = any(one.any() for one in unequal)
    bad = unequal if is_unequal else missing
    if not is_unequal and (time_steps.gaps != "error" or not any(one.any() for one in missing)):
        return
    k = next(k for k, one in enumerate(bad) if one.any())
    row = int(np.nonzero(bad[k])[0][0])
    size, total = float(counts[k][row]), sum(map(len, counts))
    typical, typical_unit = step.duration(unit)
    cause = (
        f"{series[k].place(where, max(series[k].lines[row : row + 2]))}: {time} goes from {all_times[k].text(row)} to "
        f"{all_times[k].text(row + 1)}, a step of {size * typical:g} {typical_unit}".rstrip()
        + f"; most steps are {typical:g} {typical_unit}".rstrip()
    )
    if is_unequal:
        count = sum(int(one.sum()) for one in unequal)
        raise DataError(
            f"{cause} ({count:,} of {total:,} differ by a part of a step)",
            "Average the rows of equal periods with --resample PERIOD, as 1h or 1d.",
        )
    steps = sum(int((b - 1)[b > 1].sum()) for b in whole)
    gaps = sum(int(one.sum()) for one in missing)
    raise DataError(
        f"{cause} ({counted(steps, 'step')} missing in {counted(gaps, 'gap')})",
        "Fill short gaps with --gaps interpolate, or split the series at each with --gaps split.",
    )


def _on_grid(one: SeriesRows, times: Times, counts: np.ndarray, step: StepLength) -> SeriesRows:
    """A series with a row for each step."""
    place = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(place[-1]) + 1
    if total == len(place):
        return one
    values = np.full((total, one.values.shape[1]), np.nan)
    values[place] = one.values
    before = np.searchsorted(place, np.arange(total), side="right") - 1  # last row at or before each step
    following = np.searchsorted(place, np.arange(total))
    clock, offset = times.clock[before], None if times.offset is None else times.offset[before]
    for k in np.setdiff1d(np.arange(total), place).tolist():
        clock[k] = step.after(times, int(before[k]), k - int(place[before[k]])).clock[-1]
    grid = dataclasses.replace(times, clock=clock, offset=offset)
    return dataclasses.replace(one, values=values, lines=one.lines[following], times=grid)


def without_gaps(
    series: Sequence[SeriesRows],
    time_steps: TimeSteps,
    targets: int,
    held: np.ndarray,
    names: Sequence[str],
    where: str,
    report: StepReport,
) -> list[SeriesRows]:
    """Series without NaN: the ends without a value to forecast left out, short gaps interpolated, split at longer ones.

    Args:
        targets: number of the first columns that are forecast.
        held: (D,) bool, columns of categories, which keep their last value in a gap.
        names: of the D columns.
    Raises:
        DataError: missing cells where gaps are errors; no series has a value.
    """
    trimmed = []
    for one in series:
        rows = np.nonzero(~np.isnan(one.values[:, :targets]).any(1))[0]
        if len(rows):
            trimmed.append(one.take(np.arange(rows[0], rows[-1] + 1)))
            report.trimmed += len(one.lines) - len(trimmed[-1].lines)
    if not trimmed:
        raise DataError(f"{where} has no row with a number in {', '.join(names[:targets])}", "Give the past values.")
    if time_steps.gaps == "error":
        _check_cells(trimmed, names, where)
        return trimmed
    parts = []
    for one in trimmed:
        values = one.values.copy()
        is_filled = fill_gaps(values, time_steps, held)
        left = np.nonzero(~np.isnan(values).any(1))[0]
        runs = np.split(left, np.nonzero(np.diff(left) > 1)[0] + 1)
        report.filled += int(is_filled.sum())
        report.removed += len(values) - len(left)
        report.parts += len(runs) - 1
        whole = dataclasses.replace(one, values=values, is_filled=is_filled)
        for k, run in enumerate(runs):
            name = one.name if len(runs) == 1 else f"{one.name}, part {k + 1}"
            parts.append(dataclasses.replace(whole.take(run), name=name))
    return [part for part in parts if len(part.lines)]


def fill_gaps(values: np.ndarray, time_steps: TimeSteps, held: np.ndarray) -> np.ndarray:
    """Interpolate short gaps of (T, D) values in place; (T,) bool, the steps that are complete since.

    Args:
        held: (D,) bool, columns of categories, which keep their last value.
    """
    missing = np.isnan(values).any(1)
    limit = time_steps.max_gap if time_steps.gaps == "interpolate" else 0
    for column in range(values.shape[1]):
        _fill(values[:, column], limit, bool(held[column]))
    filled: np.ndarray = missing & ~np.isnan(values).any(1)
    return filled


def _check_cells(series: Sequence[SeriesRows], names: Sequence[str], where: str) -> None:
    """Raise DataError for cells that are missing."""
    missing = [(one, np.isnan(one.values)) for one in series]
    count = sum(int(cells.sum()) for _, cells in missing)
    if count:
        one, cells = next((one, cells) for one, cells in missing if cells.any())
        row, column = np.argwhere(cells)[0].tolist()
        raise DataError(
            f"{one.place(where, one.lines[row])}: {names[column]} is missing ({counted(count, 'missing cell')})",
            "Fill short gaps with --gaps interpolate, or split the series at each with --gaps split.",
        )


def _fill(values: np.ndarray, limit: int, is_held: bool) -> None:
    """Fill runs of at most `limit` NaN between two numbers of (T,) values, in place."""
    missing = np.isnan(values)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if start == 0 or stop == len(values) or stop - start > limit:
            continue
        low, high = values[start - 1], values[stop]
        part = np.arange(1, stop - start + 1) / (stop - start + 1)
        values[start:stop] = low if is_held else low + part * (high - low)
