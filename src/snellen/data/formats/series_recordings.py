"""Time series of a table as recordings to forecast, with their season, calendar features and times."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from snellen.core.errors import UsageError
from snellen.core.spec import TimeSteps
from snellen.data.formats import OpenOptions
from snellen.data.formats.calendar_features import calendar_features, calendar_names, calendar_text
from snellen.data.formats.recording_splits import Recording, gap_findings
from snellen.data.formats.recordings_read import RecordingsRead, window_steps
from snellen.data.formats.season import season_of_step
from snellen.data.formats.series_table import SeriesColumns, description, read_series_table
from snellen.data.formats.series_times import Times
from snellen.data.formats.table_text import TableText, read_table
from snellen.data.splits import SPLIT_FRACTIONS


def read_series_recordings(path: Path, options: OpenOptions) -> RecordingsRead:
    """Read the time series of a table."""
    return recordings_of_table(read_table(path), options, path.name)


def recordings_of_table(table: TableText, options: OpenOptions, name: str) -> RecordingsRead:
    """The time series of a table; name: of a series without an id."""
    time_steps = TimeSteps(resample=options.resample or "", gaps=options.gaps or "error", max_gap=options.max_gap or 10)
    series, columns, step, report = read_series_table(table, options, time_steps)
    targets, longest = len(columns.targets), max(len(one.values) for one in series)
    training = round((1 - SPLIT_FRACTIONS[1] - SPLIT_FRACTIONS[2]) * longest)
    season = season_of_step(step, training)
    recordings = [Recording(name=one.name or name, split=None, values=one.values) for one in series]
    plain = RecordingsRead(recordings=recordings, names=(), description="")
    window, horizon, _ = window_steps(plain, options, options.season or (season or (None,))[0])
    span = (step.seconds or 0) * training if step is not None else 0.0
    calendar = calendar_names(step, span) if step is not None and options.calendar is not False else ()
    if (columns.known or options.calendar) and window < horizon:
        raise UsageError(
            f"--window {window} is shorter than --horizon {horizon}: it cannot hold what is known in advance",
            f"Give --window of at least {horizon}, or omit --known and --calendar.",
        )
    if options.calendar and not calendar:
        raise UsageError("--calendar needs dates, of two weeks or days at least", "Omit it, or name them with --time.")
    calendar = calendar if window >= horizon else ()
    for k, one in enumerate(series):
        values = one.values
        if one.times is not None and step is not None:
            values = np.concatenate([values, calendar_features(one.times, calendar)], 1)
        position = None if options.group is not None else 0.0
        if position is not None and one.times is not None and step is not None:
            position = step.position(one.times)
        recordings[k] = Recording(name=recordings[k].name, split=None, values=values, position=position)
    names = (*columns.features, *calendar)
    duration, unit = (None, "") if step is None else step.duration(columns.unit)
    done = "".join(f"; {text}" for text in report.texts)
    return RecordingsRead(
        recordings=recordings,
        names=names,
        num_forecast=targets,
        known=len(SeriesColumns(id="", time="", targets=columns.known).features) + len(calendar),
        description=description(series, columns),
        duration=duration,
        unit=unit,
        times=(f", a step of {duration:g} {unit}".rstrip() + f" (column {columns.time!r})" if duration else "")
        + (f", with the calendar of {calendar_text(calendar)} (off: --no-calendar)" if calendar else "")
        + done,
        season=(options.season, "--season") if options.season else season or (None, ""),
        columns=columns.inputs,
        id=columns.id,
        time=columns.time,
        time_steps=dataclasses.replace(time_steps, calendar=calendar),
        findings=tuple(gap_findings(report)),
        when=partial(_time_text, times) if (times := [one.times for one in series if one.times is not None]) else None,
    )


def _time_text(times: Sequence[Times], used: Sequence[int], recording: int, step: int) -> str:
    """The time of a step of a recording that is used."""
    return times[used[recording]].text(step)
