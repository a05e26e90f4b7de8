"""Terminal output: tables, JSON lines, progress bar, messages."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from snellen.core.errors import printable, printable_json
from snellen.report.tables import FORMATS, RowCells, csv_row, table

if TYPE_CHECKING:
    from snellen.core.views import Metric

__all__ = [
    "FORMATS",
    "ProgressBar",
    "RowCells",
    "csv_row",
    "format_count",
    "format_duration",
    "parse_duration",
    "print_interval_note",
    "print_json",
    "print_message",
    "print_text",
    "table",
]


def print_json(value: Any) -> None:
    """Print one JSON line to stdout."""
    print(printable_json(json.dumps(value, ensure_ascii=False, allow_nan=False)))


def print_message(message: str) -> None:
    """Print a message to stderr; stdout is for results. A reader that has gone does not stop the work."""
    with contextlib.suppress(OSError):
        print(printable(message), file=sys.stderr, flush=True)


def print_text(text: str) -> None:
    """Print text to stdout, with control characters escaped: file names may contain any."""
    print(printable(text))


def print_interval_note(metrics: Iterable[Metric]) -> None:
    """Print why values of a table have no interval, if that is so."""
    from snellen.core.views import interval_note  # imports torch

    if note := interval_note(metrics):
        print_text(f"\n{note}")


LINE_EVERY = 30.0  # seconds between lines of progress where there is no terminal


class ProgressBar:
    """Progress bar with rate and remaining time on a terminal; elsewhere messages, and a line every 30 seconds.

    Args:
        quiet: print nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._loop = ("", 0, 0.0)
        self._last_step = 0
        self._ladder: tuple[str, int, int] | None = None
        self._next_line = time.monotonic() + LINE_EVERY

    def begin(self, name: str, index: int, total: int) -> None:
        """Start model `index` of `total`: the loops that follow share one bar for the ladder."""
        self._ladder = (name, index, total)
        self.update("", 0, 1, {})

    def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None:
        if not self.live:
            if not self.quiet and loop:
                self._line(loop, step, total)
            return
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        figures = "  ".join([self._rate(loop, step), *(f"{k} {v:.4g}" for k, v in scalars.items() if k != "lr")])
        if self._ladder is not None:
            name, index, models = self._ladder
            if not self._tasks:
                self._tasks[""] = self._bar.add_task("", total=models, figures="")
            done = round(index + step / total, 2)
            description = f"{index + 1} of {models}: {name}"
            self._bar.update(self._tasks[""], description=description, completed=done, figures=figures)
            return
        if loop not in self._tasks:
            self._tasks[loop] = self._bar.add_task(loop, total=total, figures="")
        self._bar.update(self._tasks[loop], completed=step, figures=figures)
        if step >= total:
            self.end()

    def _line(self, loop: str, step: int, total: int) -> None:
        """Print a line of progress if the last one is 30 seconds old."""
        rate = self._rate(loop, step)
        now = time.monotonic()
        if now < self._next_line or step >= total:
            return
        self._next_line = now + LINE_EVERY
        _, first, start = self._loop
        left = f", about {format_duration((total - step) * (now - start) / (step - first))} left" if rate else ""
        model = "" if self._ladder is None else f"{self._ladder[0]} ({self._ladder[1] + 1} of {self._ladder[2]}), "
        print_message(f"{model}{loop}: step {step:,} of {total:,}{left}")

    def _rate(self, loop: str, step: int) -> str:
        """Steps per second since the first update of the loop."""
        if loop != self._loop[0] or step < self._last_step:  # another loop, or that of the next model
            self._loop = (loop, step, time.monotonic())
        self._last_step = step
        _, first, start = self._loop
        elapsed = time.monotonic() - start
        return f"{(step - first) / elapsed:.4g} steps/s" if step > first and elapsed > 0 else ""

    def message(self, message: str) -> None:
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(printable(message), markup=False, highlight=False)
        else:
            print_message(message)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._tasks = None, {}


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


MAX_DURATION = 3600.0 * 24 * 366  # seconds: a year


def parse_duration(text: str) -> float:
    """Seconds of "90", "90s", "10m", "1h" or "1h30m", at most a year; raises ValueError otherwise."""
    import re

    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip(), re.ASCII)
    if not match or not any(match.groups()):
        raise ValueError(text)
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    seconds = 3600 * hours + 60 * minutes + rest
    if seconds > MAX_DURATION:
        raise ValueError(text)
    return seconds


def format_duration(value: float) -> str:
    """Format seconds with a suitable unit."""
    if value < 1:
        return f"{1000 * value:.2g} ms" if value < 0.01 else f"{1000 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def format_count(value: float) -> str:
    """Format a large count with its prefix: 61.7 k, 11.2 M."""
    for size, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:g}"
