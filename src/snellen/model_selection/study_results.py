"""What a study has found, as tables, files and a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from snellen.core import files
from snellen.core.views import Metric, Plot, Series, Table
from snellen.model_selection.search_space import Cell, text
from snellen.report.pages.study import study_page
from snellen.report.tables import Row as Cells
from snellen.report.tables import table

FILES = {"csv": "study.csv", "markdown": "study.md", "latex": "study.tex"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a cell: `label` is its seed or fold, `reason` why it has no figure."""

    cell: int
    label: str
    status: Literal["done", "failed", "not run"]
    reason: str = ""
    validation: Metric | None = None
    test: Metric | None = None
    seconds: float | None = None
    folder: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A cell with the means of its trainings and their 95 % intervals over seeds or folds."""

    cell: Cell
    trainings: tuple[Training, ...]
    validation: Metric | None
    test: Metric | None = None

    @property
    def done(self) -> int:
        return sum(training.status == "done" for training in self.trainings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """All cells in their order, the one chosen on validation, and how much each setting matters.

    Args:
        over: "seeds" or "folds".
        of: the trainings there were to be.
        chosen: the number of a cell, from 1; None where none could be judged.
        importance: setting -> share.
    """

    folder: Path
    headline: str
    over: str
    of: int
    rows: tuple[Row, ...]
    chosen: int | None
    importance: Mapping[str, float] | None
    searched: bool

    @property
    def names(self) -> list[str]:
        return list(self.rows[0].cell.values) if self.rows else []

    @property
    def verdict(self) -> str:
        """Which cell was chosen, and what the test split says of it."""
        left = self.of - sum(training.status != "not run" for row in self.rows for training in row.trainings)
        more = f" {left} of {self.of} trainings were not run: the budget was spent." if left else ""
        if self.chosen is None:
            return f"No cell could be judged.{more}"
        row = self.rows[self.chosen - 1]
        return (
            f"{row.cell.words} is the best on validation. On the test split, opened once and for it alone: "
            f"{self.headline} {row.test}, over {row.done} {self.over if row.done > 1 else self.over[:-1]}.{more}"
        )


def means(found: Study) -> tuple[list[str], list[Cells]]:
    """Columns and rows: a cell each, with its means over seeds or folds. An asterisk marks the chosen one."""
    columns = ["cell", *found.names, f"{found.headline} (val)", f"{found.headline} (test)", "trained", ""]
    rows: list[Cells] = []
    for row in found.rows:
        mark = "* " if row.cell.number == found.chosen else "  "
        rows.append(
            [
                f"{mark}{row.cell.number}",
                *(text(value) for value in row.cell.values.values()),
                _said(row.validation),
                _said(row.test),
                f"{row.done} of {len(row.trainings)}",
                _why(row),
            ]
        )
    return columns, rows


def _why(row: Row) -> str:
    """Why not all of a cell's trainings have a figure."""
    left = [training.label for training in row.trainings if training.status == "not run"]
    failed = [f"{one.label} failed: {one.reason}" for one in row.trainings if one.status == "failed"]
    return "; ".join([*failed[:1], *([f"not run: {', '.join(left)}"] if left else [])])


def each(found: Study) -> tuple[list[str], list[Cells]]:
    """Columns and rows: a training each."""
    columns = [
        "cell",
        *found.names,
        found.over[:-1],
        f"{found.headline} (val)",
        f"{found.headline} (test)",
        "seconds",
        "run",
    ]
    rows: list[Cells] = []
    for row in found.rows:
        for training in row.trainings:
            why = "" if training.status == "done" else f"{training.status}: {training.reason}"
            rows.append(
                [
                    row.cell.number,
                    *(text(value) for value in row.cell.values.values()),
                    training.label.split("-")[1],
                    _said(training.validation) or why,
                    _said(training.test),
                    training.seconds,
                    training.folder,
                ]
            )
    return columns, rows


def numbers(found: Study) -> tuple[list[str], list[Cells]]:
    """The same for machines: a mean or a training a row, every figure in a column of its own."""
    bounds = ("value", "low", "high")
    columns = [
        "cell",
        *found.names,
        found.over[:-1],
        "status",
        *(f"{split} {b}" for split in ("val", "test") for b in bounds),
        "seconds",
        "run",
    ]
    rows: list[Cells] = []
    for row in found.rows:
        values = [text(value) for value in row.cell.values.values()]
        rows.append(
            [
                row.cell.number,
                *values,
                "mean",
                f"{row.done} of {len(row.trainings)}",
                *_bounds(row.validation),
                *_bounds(row.test),
                None,
                None,
            ]
        )
        for one in row.trainings:
            status = one.status if not one.reason else f"{one.status}: {one.reason}"
            rows.append(
                [
                    row.cell.number,
                    *values,
                    one.label.split("-")[1],
                    status,
                    *_bounds(one.validation),
                    *_bounds(one.test),
                    one.seconds,
                    one.folder,
                ]
            )
    return columns, rows


def _bounds(metric: Metric | None) -> list[float | None]:
    return [None] * 3 if metric is None else [metric.value, metric.low, metric.high]


def _said(metric: Metric | None) -> str:
    return "" if metric is None else str(metric)


def effects(found: Study) -> tuple[list[str], list[Cells]]:
    """Columns and rows: how much each setting matters, the most important first."""
    shares = found.importance or {}
    rows: list[Cells] = [
        [name, f"{100 * share:.0f} %"] for name, share in sorted(shares.items(), key=lambda entry: -entry[1])
    ]
    if shares and not found.searched:
        rows.append(["together, and chance", f"{100 * max(0.0, 1 - sum(shares.values())):.0f} %"])
    return ["setting", "matters"], rows


def caption(found: Study) -> str:
    """What ± and the shares mean."""
    way = (
        "optuna's estimate of how much of the variance each explains"
        if found.searched
        else "the share of the variance between cells that each explains by itself"
    )
    return (
        f"± of a cell is a 95 % interval of the mean over {found.over} (Student's t), ± of one training over its "
        f'samples. * is the best on validation; only it was judged on the test split. "matters" is {way}.'
    )


def written(found: Study, form: str) -> str:
    """The tables in one form: means, then trainings, then what matters."""
    tables = [table(*means(found), form), table(*each(found), form)]
    if found.importance:
        tables.append(table(*effects(found), form))
    return "\n\n".join(tables)


def write(found: Study) -> None:
    """`study.csv`, `study.md`, `study.tex` and `report.html` in the study's folder."""
    files.write_text(found.folder / FILES["csv"], table(*numbers(found), "csv") + "\n")
    files.write_text(found.folder / FILES["markdown"], f"{written(found, 'markdown')}\n\n{caption(found)}\n")
    files.write_text(found.folder / FILES["latex"], written(found, "latex") + "\n")
    made = {"Cells": means(found), "What matters": effects(found), "Trainings": each(found)}
    tables = [Table(title=title, columns=columns, rows=rows) for title, (columns, rows) in made.items() if rows]
    page = study_page(
        f"A study of {' and '.join(found.names) or 'seeds'}",
        found.verdict,
        caption(found),
        tables,
        [plot for name in found.names if (plot := against(found, name)) is not None],
    )
    files.write_text(found.folder / "report.html", page)


def against(found: Study, name: str) -> Plot | None:
    """The headline on validation against one setting, a point a cell; values that are no numbers stand in a row."""
    judged = [
        (row.cell.values[name], row.validation)
        for row in found.rows
        if row.validation is not None and row.validation.value is not None
    ]
    if len(judged) < 2:
        return None
    values = [value[0] if isinstance(value, tuple) and len(value) == 1 else value for value, _ in judged]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    words = list(dict.fromkeys(map(text, values)))
    x = [float(value) if numeric else float(words.index(text(value)) + 1) for value in values]
    metrics = [metric for _, metric in judged]
    scale = 100 if metrics[0].percent else 1
    unit = "%" if metrics[0].percent else metrics[0].unit

    def scaled(values: Sequence[float | None]) -> list[float | None]:
        return [None if value is None else scale * value for value in values]

    series = Series(
        name="cells",
        x=x,
        y=scaled([m.value for m in metrics]),
        low=scaled([m.value if m.low is None else m.low for m in metrics]),
        high=scaled([m.value if m.high is None else m.high for m in metrics]),
        labels=[] if numeric else [text(value) for value in values],
    )
    axis = name if numeric else f"{name}, in the order given"
    figure = f"{found.headline} (val)"
    return Plot(
        title=f"Against {name}",
        x=axis,
        y=f"{figure} [{unit}]" if unit else figure,
        series=[series],
        style="points",
        log_x=numeric and min(x) > 0 and max(x) >= 9.99 * min(x),
    )
