"""Results of a study as tables, files and a report page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from snellen.core import file_io
from snellen.core.views import Metric, Plot, Series, Table, View
from snellen.metrics.effects import Effect
from snellen.metrics.intervals import LEVEL
from snellen.model_selection.search_space import StudyCell, setting_text
from snellen.report.html_text import format_duration
from snellen.report.pages.study import study_page
from snellen.report.tables import RowCells, table

FIXED_SPLIT = "split fixed, test sampling not included"
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

    @property
    def same_for_all_seeds(self) -> bool:
        """Whether several seeds give the same validation result: no seed varies the training."""
        values = {training.validation.value for training in self.trainings if training.validation is not None}
        return self.done > 1 and len(values) == 1 and all(t.label.startswith("seed") for t in self.trainings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """All cells in their order, the cell selected on validation, its test result, and the importance of each setting.

    Args:
        over: "seeds" or "folds".
        of: planned number of trainings.
        chosen: number of the selected cell, from 1; None if no cell has a result.
        test: result on the test split: of the selected cell over seeds; over folds of the selection, which is repeated
            in every fold on its validation split.
        runner_up: whether the selected cell differs significantly from the second best, as a sentence.
        importance: effect of each setting; None if nothing measures chance (one seed, or no seed varies the results).
        overrun: seconds beyond the budget, if more than 5 % of it; else 0.
    """

    folder: Path
    headline: str
    over: str
    of: int
    rows: tuple[CellResult, ...]
    chosen: int | None
    test: Metric | None
    runner_up: str
    importance: Mapping[str, Effect] | None
    is_search: bool
    overrun: float = 0.0

    @property
    def names(self) -> list[str]:
        return list(self.rows[0].cell.values) if self.rows else []

    @property
    def verdict(self) -> str:
        """The selected cell and its result on the test split, as a sentence."""
        missing = self.of - sum(training.status != "not run" for row in self.rows for training in row.trainings)
        not_run = f" {missing} of {self.of} training runs were not started: the budget was spent." if missing else ""
        if self.overrun:
            not_run += f" The study took {format_duration(self.overrun)} longer than its budget."
        if self.chosen is None:
            return f"No cell has a validation result.{not_run}"
        row = self.rows[self.chosen - 1]
        runner_up = f" {self.runner_up}" if self.runner_up else ""
        if self.over == "folds":
            return (
                f"{row.cell.label} is the best cell on the validation splits of the folds (of equal cells, the "
                f"first).{runner_up} Nested test result of this selection: {self.headline} {self.test}, over "
                f"{len(row.trainings)} folds; in each fold the cell that is best on its validation split is "
                f"evaluated on its test split ({self._selections}).{not_run}"
            )
        over = f"{row.done} {self.over if row.done > 1 else self.over[:-1]}"
        if self.test is not None and self.test.over not in ("", self.over):
            over = f"{self.test.over}; all {row.done} seeds give the same result"
        elif row.done > 1:
            over += f" ({FIXED_SPLIT})"
        return (
            f"{row.cell.label} is the best cell on the validation split (of equal cells, the first).{runner_up} Its "
            f"result on the test split, which was evaluated for this cell only: {self.headline} {self.test}, over "
            f"{over}.{not_run}"
        )

    @property
    def _selections(self) -> str:
        """ "cell 2 in 3 folds, cell 1 in 2" """
        counts = {row.cell.number: sum(t.test is not None for t in row.trainings) for row in self.rows}
        used = sorted((-count, number) for number, count in counts.items() if count)
        first, *rest = [(number, -count) for count, number in used]
        words = [f"cell {first[0]} in {first[1]} fold{'s' if first[1] > 1 else ''}"]
        return ", ".join([*words, *(f"cell {number} in {count}" for number, count in rest)])


def mean_table(study: Study) -> tuple[list[str], list[RowCells]]:
    """Columns and rows of the table of cells, with means over seeds or folds. An asterisk marks the selected cell."""
    tested = [f"{study.headline} (test)"] if study.over == "seeds" else []
    columns = ["cell", *study.names, f"{study.headline} (val)", *tested, "trained", ""]
    rows: list[RowCells] = []
    for row in study.rows:
        mark = "* " if row.cell.number == study.chosen else "  "
        rows.append(
            [
                f"{mark}{row.cell.number}",
                *(setting_text(value) for value in row.cell.values.values()),
                _metric_text(row.validation),
                *([_metric_text(row.test)] if tested else []),
                f"{row.done} of {len(row.trainings)}",
                _remark(row),
            ]
        )
    return columns, rows


def _remark(row: CellResult) -> str:
    """Which trainings of a cell failed or were not run."""
    not_run = [training.label for training in row.trainings if training.status == "not run"]
    failed = [f"{t.label} failed: {t.reason}" for t in row.trainings if t.status == "failed"]
    same = ["equal for all seeds, ± over samples"] if row.same_for_all_seeds else []
    return "; ".join([*failed[:1], *([f"not run: {', '.join(not_run)}"] if not_run else []), *same])


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
    effects = study.importance or {}
    rows: list[RowCells] = [
        [
            name,
            f"{100 * effect.fraction:.0f} %",
            f"{100 * effect.low:.0f} to {100 * effect.high:.0f} %",
            f"{effect.chance:.2g}",
            "" if effect.chance < LEVEL else "not distinguishable from chance",
        ]
        for name, effect in sorted(effects.items(), key=lambda entry: -entry[1].fraction)
    ]
    return ["setting", "importance", "95 % interval", "p", ""], rows


def caption(study: Study) -> str:
    """What ±, * and the importance mean."""
    over = (
        "over folds (Student's t, with the correction of Nadeau and Bengio for shared training samples"
        if study.over == "folds"
        else f"over seeds ({FIXED_SPLIT}; Student's t"
    )
    chance = (
        "what the settings do not explain"
        if study.is_search or max((row.done for row in study.rows), default=0) < 2
        else f"how differently the {study.over} change the cells"
    )
    selected = (
        ""
        if study.over == "folds"
        else ", the only one evaluated on the test split; its validation result is selected, and so too good"
    )
    importance = (
        f" Importance is ω², the fraction of the variance that a setting explains beyond chance ({chance}); p is of "
        "the one-sided F test, corrected for the number of settings (Holm)."
        if study.importance
        else " Importance is not shown: nothing measures chance; that takes two seeds which differ, or more cells."
        if len(study.rows) > 1
        else ""
    )
    return (
        f"± is half the width of the 95 % confidence interval: of a cell {over}, not limited to the range of the "
        f"metric), of one training run over its samples. * marks the best cell on validation{selected}.{importance}"
    )


def format_tables(study: Study, form: str) -> str:
    """All tables in one format: cells, trainings, importances."""
    tables = [table(*mean_table(study), form), table(*training_table(study), form)]
    if study.importance:
        tables.append(table(*importance_table(study), form))
    return "\n\n".join(tables)


def write_study(study: Study, maps: Sequence[View] = (), maps_note: str = "") -> None:
    """Write `study.csv`, `study.md`, `study.tex` and `report.html` into the study's folder.

    Args:
        maps: of the cells over one or two inputs. maps_note: which trainings they show.
    """
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
        maps,
        maps_note,
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
