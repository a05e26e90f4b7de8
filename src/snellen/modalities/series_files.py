"""Tables of time series for prediction: the last window of each series, and the times of the steps to forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snellen.core.errors import DataError, counted, suggest_name
from snellen.core.spec import Column, Future, Spec
from snellen.data.formats.calendar_features import calendar_features
from snellen.data.formats.series_steps import SeriesRows, StepReport, fill_gaps
from snellen.data.formats.series_table import SeriesColumns, read_steps
from snellen.data.formats.series_times import StepLength, Times
from snellen.data.formats.table_text import SUFFIXES, TableText, read_table
from snellen.modalities.modality import MalformedJSON, SampleName

TABLES = SUFFIXES


def is_series(spec: Spec) -> bool:
    """Whether a model forecasts time series of tables."""
    return isinstance(spec.target, Future) and spec.target.time_steps is not None


def json_form(spec: Spec) -> str:
    """The form of a request with series, for errors."""
    columns = columns_of(spec)
    names = [*filter(None, [columns.time]), *(column.name for column in columns.inputs)]
    cells = [*([f'"{columns.id}": "..."'] if columns.id else []), *(f'"{name}": [...]' for name in names)]
    columns_of_one = ", ".join(cells)
    return f'Send {{"series": [{{{columns_of_one}}}, ...]}}: the cells of each column, null where one is empty.'


def read_series_file(path: Path, spec: Spec) -> Iterator[tuple[SampleName, np.ndarray]]:
    """The last window (T, D) of each series of a table, as `last_windows`."""
    columns = columns_of(spec)
    yield from last_windows(read_table(path, [column.name for column in columns.inputs]), spec, str(path))


def read_series_json(name: str, plain: object, spec: Spec) -> Iterator[tuple[SampleName, np.ndarray]]:
    """The last window of series in JSON: for each series a column or a text to the cells of all its rows.

    Raises:
        MalformedJSON: for anything else. DataError: see `last_windows`.
    """
    form = json_form(spec)
    if not isinstance(plain, list) or not plain:
        raise MalformedJSON("The JSON has no series", form)
    for k, series in enumerate(plain):
        where = f"{name}[{k}]"
        if not isinstance(series, dict) or not series:
            raise MalformedJSON(f"{where} is no object of columns", form)
        lengths = {column: len(cells) for column, cells in series.items() if isinstance(cells, list)}
        rows = max(lengths.values(), default=0)
        other = next((column for column, length in lengths.items() if length != rows), None)
        if not rows or other is not None:
            raise MalformedJSON(
                f"{where} has columns of {rows} and of {lengths[other]} cells" if other else f"{where} has no rows",
                form,
            )
        cells = {c: values if isinstance(values, list) else [values] * rows for c, values in series.items()}
        if any(isinstance(cell, dict | list) for column in cells.values() for cell in column):
            raise MalformedJSON(f"{where} has a cell that is neither a number nor a text", form)
        columns = tuple(tuple(map(_cell, column)) for column in cells.values())
        table = TableText(where=where, names=tuple(cells), columns=columns, lines=range(1, rows + 1))
        yield from last_windows(table, spec, where)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()


def columns_of(spec: Spec) -> SeriesColumns:
    """The columns of the table that a model was trained on."""
    target = spec.target
    assert isinstance(target, Future)
    assert target.time_steps is not None
    width, known = target.known - len(target.time_steps.calendar), 0
    columns = spec.input.columns
    while sum(column.width for column in columns[len(columns) - known :]) < width:
        known += 1
    count = len(target.names)
    return SeriesColumns(
        id=spec.input.sequence_id,
        time=spec.input.time,
        targets=columns[:count],
        others=columns[count : len(columns) - known],
        known=columns[len(columns) - known :],
    )


def last_windows(table: TableText, spec: Spec, where: str) -> Iterator[tuple[SampleName, np.ndarray]]:
    """The last window (T, D) of each series, whose name holds the times of the steps to forecast.

    The past ends at the last row with all columns to forecast; the rows after it hold what is known in advance.

    Raises:
        DataError: a missing column, other steps than those of the training data, too few steps, missing cells.
    """
    target, columns = spec.target, columns_of(spec)
    assert isinstance(target, Future)
    assert target.time_steps is not None
    _check_columns(table, columns)
    stored = None if target.duration is None else (target.duration, target.duration_unit)
    report = StepReport()
    series, held, step = read_steps(table, columns, target.time_steps, stored, report)
    for one in series:
        name = one.name or where
        yield _last_window(replace(one, name=name), spec, columns, held, step)


def _check_columns(table: TableText, columns: SeriesColumns) -> None:
    """Raise DataError if the table lacks a column of the training data."""
    roles = {
        "the id of the series": [columns.id] if columns.id else [],
        "the times": [columns.time] if columns.time else [],
        "forecast": _names(columns.targets),
        "an input": _names(columns.others),
        "known in advance": _names(columns.known),
    }
    for role, names in roles.items():
        for name in names:
            if name not in table.names:
                raise DataError(
                    f"{table.where} has no column {name!r}, which is {role}", suggest_name(name, list(table.names))
                )


def _names(columns: Sequence[Column]) -> list[str]:
    return [column.name for column in columns]


def _last_window(
    one: SeriesRows, spec: Spec, columns: SeriesColumns, held: np.ndarray, step: StepLength | None
) -> tuple[SampleName, np.ndarray]:
    target, window = spec.target, spec.input.shape[0] or 1
    assert isinstance(target, Future)
    assert target.time_steps is not None
    horizon, count, time_steps = target.steps, len(target.names), target.time_steps
    present = ~np.isnan(one.values[:, :count])
    complete = np.nonzero(present.all(1))[0]
    last = int(complete[-1]) if len(complete) else -1  # the step that forecasts follow
    if last + 1 < window:
        raise DataError(
            f"{one.name} has {counted(last + 1, 'step')} with {', '.join(_names(columns.targets))}, a forecast is made "
            f"from the last {window:,}",
            "Give a longer past.",
        )
    partial = np.nonzero(present[last + 1 :].any(1))[0]
    if len(partial):
        row = last + 1 + int(partial[0])
        absent = columns.targets[int(np.nonzero(~present[row])[0][0])].name
        raise DataError(
            f"{one.name}, line {one.lines[row]}: {absent} is missing, other columns to forecast are given",
            "Fill the cell, or empty all columns to forecast of the steps to come.",
        )
    past = one.values[: last + 1].copy()
    filled = fill_gaps(past, time_steps, held)[-window:].sum() if time_steps.gaps != "error" else 0
    _check_past(replace(one, values=past), last, window, columns)
    given = target.known - len(time_steps.calendar)  # features that the table gives in advance
    times = _times(one, last, horizon, step)
    x = np.empty((window, len(target.input_names)))
    own = past.shape[1] - given
    x[:, :own] = past[last + 1 - window :, :own]
    if given:
        known = _known(one, past, last, horizon, given, columns, times)
        x[:, own : own + given] = known[len(known) - window :]
    if time_steps.calendar and times is not None:
        x[:, own + given :] = calendar_features(times, time_steps.calendar)[-window:]
    fields: dict[str, Any] = {}
    if times is not None:
        total = len(times.clock)
        fields["time"] = [times.text(row) for row in range(total - horizon, total)]
    if filled:
        fields["interpolated_steps"] = int(filled)
    return SampleName(one.name, fields), x


def _times(one: SeriesRows, last: int, horizon: int, step: StepLength | None) -> Times | None:
    """The times of all steps up to the last, and of those to forecast."""
    if one.times is None or step is None:
        return None
    past, ahead = one.times.take(np.arange(last + 1)), step.after(one.times, last, horizon)
    offset = None
    if past.offset is not None and ahead.offset is not None:
        offset = np.concatenate([past.offset, ahead.offset])
    return replace(past, clock=np.concatenate([past.clock, ahead.clock]), offset=offset)


def _check_past(one: SeriesRows, last: int, window: int, columns: SeriesColumns) -> None:
    """Raise DataError for a cell that is missing in the window."""
    missing = np.argwhere(np.isnan(one.values[last + 1 - window : last + 1]))
    if len(missing):
        row, column = missing[0].tolist()
        step, feature = last + 1 - window + row, columns.features[column]
        when = "" if one.times is None else f" at {one.times.text(step)}"
        raise DataError(
            f"{one.name}, line {one.lines[step]}: {feature} is missing{when} "
            f"({counted(len(missing), 'missing cell')} in the last {counted(window, 'step')})",
            "Fill the cells; a model that was trained with --gaps interpolate fills short gaps.",
        )


def _known(
    one: SeriesRows,
    past: np.ndarray,
    last: int,
    horizon: int,
    given: int,
    columns: SeriesColumns,
    times: Times | None,
) -> np.ndarray:
    """(T, K) values known in advance, up to the last step to forecast. Raises DataError where one is missing."""
    ahead = one.values[last + 1 : last + 1 + horizon, -given:]
    missing = np.isnan(ahead).any(1)
    absent = horizon - len(ahead) + int(missing.sum())
    if absent:
        names = ", ".join(_names(columns.known))
        end = len(times.clock) - 1 if times is not None else 0
        when = "" if times is None else f", {times.text(last + 1)} to {times.text(end)}"
        raise DataError(
            f"{one.name}: what is known in advance ({names}) is missing at {absent:,} of the "
            f"{counted(horizon, 'step')} to forecast{when}: add rows with it, and with an empty "
            f"{', '.join(_names(columns.targets))}",
            "Fill these rows.",
        )
    return np.concatenate([past[:, -given:], ahead])


def json_schema(spec: Spec, max_inputs: int) -> dict[str, Any]:
    """JSON schema of a request with series."""
    columns = columns_of(spec)
    number: Mapping[str, Any] = {"type": "array", "items": {"type": ["number", "null"]}}
    properties = {
        column.name: number if column.categories is None else _categories(column) for column in columns.inputs
    }
    if columns.time:
        properties[columns.time] = {"type": "array", "items": {"type": ["string", "number"]}}
    if columns.id:
        properties[columns.id] = {"type": ["string", "number", "array"]}
    series = {"type": "object", "required": list(properties), "properties": properties}
    items = {"type": "array", "minItems": 1, "maxItems": max_inputs, "items": series}
    return {"type": "object", "required": ["series"], "properties": {"series": items}}


def _categories(column: Column) -> dict[str, Any]:
    return {"type": "array", "items": {"enum": [*(column.categories or ()), None]}}
