"""Results of a study as tables, files and a report page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from snellen.core import file_io
from snellen.core.views import Metric, Plot, Series, Table
from snellen.model_selection.search_space import StudyCell, setting_text
from snellen.report.pages.study import study_page
from snellen.report.tables import RowCells, table

FILES = {"csv": "study.csv", "markdown": "study.md", "latex": "study.tex"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a cell. `label` is its seed or fold, `reason` why it has no result."""

    cell: int
    label: str
    status: Literal["done", "failed", "not run"]
    reason: str = ""
    validation: Metric | None = None
    test: Metric | None = None
    seconds: float | None = None
    folder: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellResult:
    """A cell with the mean metrics of its trainings and their 95 % confidence intervals over seeds or folds."""

    cell: StudyCell
    trainings: tuple[Training, ...]
    validation: Metric | None
    test: Metric | None = None

    @property
    def done(self) -> int:
        return sum(training.status == "done" for training in self.trainings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """All cells in their order, the cell selected on validation, and the importance of each setting.

    Args:
        over: "seeds" or "folds".
        of: planned number of trainings.
        chosen: number of the selected cell, from 1; None if no cell has a result.
        importance: setting -> fraction of the variance.
    """

    folder: Path
    headline: str
    over: str
    of: int
    rows: tuple[CellResult, ...]
    chosen: int | None
    importance: Mapping[str, float] | None
    is_search: bool

    @property
    def names(self) -> list[str]:
        return list(self.rows[0].cell.values) if self.rows else []

    @property
    def verdict(self) -> str:
        """The selected cell and its result on the test split, as a sentence."""
        missing = self.of - sum(training.status != "not run" for row in self.rows for training in row.trainings)
        not_run = f" {missing} of {self.of} training runs were not started: the budget was spent." if missing else ""
        if self.chosen is None:
            return f"No cell has a validation result.{not_run}"
        row = self.rows[self.chosen - 1]
        return (
            f"{row.cell.label} is the best cell on the validation split (of equal cells, the first). Its result on "
            f"the test split, which was evaluated for this cell only: {self.headline} {row.test}, over {row.done} "
            f"{self.over if row.done > 1 else self.over[:-1]}.{not_run}"
        )


def mean_table(study: Study) -> tuple[list[str], list[RowCells]]:
    """Columns and rows of the table of cells, with means over seeds or folds. An asterisk marks the selected cell."""
    columns = ["cell", *study.names, f"{study.headline} (val)", f"{study.headline} (test)", "trained", ""]
    rows: list[RowCells] = []
    for row in study.rows:
        mark = "* " if row.cell.number == study.chosen else "  "
        rows.append(
            [
                f"{mark}{row.cell.number}",
                *(setting_text(value) for value in row.cell.values.values()),
                _metric_text(row.validation),
                _metric_text(row.test),
                f"{row.done} of {len(row.trainings)}",
                _remark(row),
            ]
        )
    return columns, rows


def _remark(row: CellResult) -> str:
    """Which trainings of a cell failed or were not run."""
    not_run = [training.label for training in row.trainings if training.status == "not run"]
    failed = [f"{t.label} failed: {t.reason}" for t in row.trainings if t.status == "failed"]
    return "; ".join([*failed[:1], *([f"not run: {', '.join(not_run)}"] if not_run else [])])


def training_table(study: Study) -> tuple[list[str], list[RowCells]]:
    """Columns and rows of the table of trainings."""
    columns = [
        "cell",
        *study.names,
        study.over[:-1],
        f"{study.headline} (val)",
        f"{study.headline} (test)",
        "training time [s]",
        "run",
    ]
    rows: list[RowCells] = []
    for row in study.rows:
        for training in row.trainings:
            remark = "" if training.status == "done" else f"{training.status}: {training.reason}"
            rows.append(
                [
                    row.cell.number,
                    *(setting_text(value) for value in row.cell.values.values()),
                    training.label.split("-")[1],
                    _metric_text(training.validation) or remark,
                    _metric_text(training.test),
                    training.seconds,
                    training.folder,
                ]
            )
    return columns, rows


def numeric_table(study: Study) -> tuple[list[str], list[RowCells]]:
    """Columns and rows for CSV: means and trainings, with value and bounds in separate columns."""
    bounds = ("value", "low", "high")
    columns = [
        "cell",
        *study.names,
        study.over[:-1],
        "status",
        *(f"{split} {b}" for split in ("val", "test") for b in bounds),
        "seconds",
        "run",
    ]
    rows: list[RowCells] = []
    for row in study.rows:
        values = [setting_text(value) for value in row.cell.values.values()]
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
        for training in row.trainings:
            status = training.status if not training.reason else f"{training.status}: {training.reason}"
            rows.append(
                [
                    row.cell.number,
                    *values,
                    training.label.split("-")[1],
                    status,
                    *_bounds(training.validation),
                    *_bounds(training.test),
                    training.seconds,
                    training.folder,
                ]
            )
    return columns, rows


def _bounds(metric: Metric | None) -> list[float | None]:
    return [None] * 3 if metric is None else [metric.value, metric.low, metric.high]


def _metric_text(metric: Metric | None) -> str:
    return "" if metric is None else str(metric)


def importance_table(study: Study) -> tuple[list[str], list[RowCells]]:
    """Columns and rows of the table of importances, the most important setting first."""
    fractions = study.importance or {}
    rows: list[RowCells] = [
        [name, f"{100 * fraction:.0f} %"] for name, fraction in sorted(fractions.items(), key=lambda entry: -entry[1])
    ]
    if fractions and not study.is_search:
        rows.append(["interactions and noise", f"{100 * max(0.0, 1 - sum(fractions.values())):.0f} %"])
    return ["setting", "importance"], rows


def caption(study: Study) -> str:
    """What ±, * and the importance mean."""
    importance = (
        "optuna's estimate (fANOVA) of the fraction of the variance that a setting explains"
        if study.is_search
        else "the fraction of the variance between cells that a setting alone explains (main effect)"
    )
    return (
        f"± is half the width of the 95 % confidence interval: of a cell over {study.over} (Student's t, not limited "
        "to the range of the metric), of one training run over its samples. * marks the best cell on the validation "
        f"split, the only one evaluated on the test split. Importance, if shown, is {importance}."
    )


def format_tables(study: Study, form: str) -> str:
    """All tables in one format: cells, trainings, importances."""
    tables = [table(*mean_table(study), form), table(*training_table(study), form)]
    if study.importance:
        tables.append(table(*importance_table(study), form))
    return "\n\n".join(tables)


def write_study(study: Study) -> None:
    """Write `study.csv`, `study.md`, `study.tex` and `report.html` into the study's folder."""
    file_io.write_text(study.folder / FILES["csv"], table(*numeric_table(study), "csv") + "\n")
    file_io.write_text(study.folder / FILES["markdown"], f"{format_tables(study, 'markdown')}\n\n{caption(study)}\n")
    file_io.write_text(study.folder / FILES["latex"], format_tables(study, "latex") + "\n")
    sections = {
        "Cells": mean_table(study),
        "Importance of settings": importance_table(study),
        "Training runs": training_table(study),
    }
    tables = [Table(title=title, columns=columns, rows=rows) for title, (columns, rows) in sections.items() if rows]
    page = study_page(
        f"Study of {' and '.join(study.names) or 'seeds'}",
        study.verdict,
        caption(study),
        tables,
        [plot for name in study.names if (plot := setting_plot(study, name)) is not None],
    )
    file_io.write_text(study.folder / "report.html", page)


def setting_plot(study: Study, name: str) -> Plot | None:
    """The headline metric on validation against one setting, one point per cell; categorical values in given order."""
    evaluated = [
        (row.cell.values[name], row.validation)
        for row in study.rows
        if row.validation is not None and row.validation.value is not None
    ]
    if len(evaluated) < 2:
        return None
    values = [value[0] if isinstance(value, tuple) and len(value) == 1 else value for value, _ in evaluated]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    words = list(dict.fromkeys(map(setting_text, values)))
    x = [float(value) if numeric else float(words.index(setting_text(value)) + 1) for value in values]
    metrics = [metric for _, metric in evaluated]
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
        labels=[] if numeric else [setting_text(value) for value in values],
    )
    axis = name if numeric else f"{name}, in the order given"
    figure = f"{study.headline} (val)"
    return Plot(
        title=f"{study.headline} against {name}",
        x=axis,
        y=f"{figure} [{unit}]" if unit else figure,
        series=[series],
        style="points",
        log_x=numeric and min(x) > 0 and max(x) >= 9.99 * min(x),
    )
