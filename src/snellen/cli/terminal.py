"""What is printed and how: tables in four forms, JSON lines, progress, messages."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from snellen.core.errors import printable
from snellen.report.tables import FORMATS, Row, csv_row, table

__all__ = ["FORMATS", "ProgressBar", "Row", "amount", "csv_row", "duration", "line", "say", "seconds", "table", "tell"]


def line(value: Any) -> None:
    """One JSON line on stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def say(message: str) -> None:
    """A message for people, on stderr: stdout is for results."""
    print(printable(message), file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """A result for people, on stdout; what a terminal would obey is escaped, as names of files may hold anything."""
    print(printable(text))


class ProgressBar:
    """Progress on a terminal, with rate and time left; nothing but messages elsewhere.

    Args:
        quiet: say nothing at all.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._loop = ("", 0, 0.0)
        self._climb: tuple[str, int, int] | None = None

    def begin(self, name: str, place: int, of: int) -> None:
        """The loops that follow belong to the model at this place of so many: one bar shows the whole climb."""
        self._climb = (name, place, of)
        self.update("", 0, 1, {})

    def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None:
        if not self.live:
            return
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        figures = "  ".join([self._rate(loop, step), *(f"{k} {v:.4g}" for k, v in scalars.items() if k != "lr")])
        if self._climb is not None:
            name, place, of = self._climb
            if not self._tasks:
                self._tasks[""] = self._bar.add_task("", total=of, figures="")
            done = round(place + step / total, 2)
            words = f"{place + 1} of {of}: {name}"
            self._bar.update(self._tasks[""], description=words, completed=done, figures=figures)
            return
        if loop not in self._tasks:
            self._tasks[loop] = self._bar.add_task(loop, total=total, figures="")
        self._bar.update(self._tasks[loop], completed=step, figures=figures)
        if step >= total:
            self.end()

    def _rate(self, loop: str, step: int) -> str:
        """Steps a second since the loop was first told of."""
        if loop != self._loop[0] or step < self._loop[1]:
            self._loop = (loop, step, time.monotonic())
        _, first, since = self._loop
        passed = time.monotonic() - since
        return f"{(step - first) / passed:.4g} steps/s" if step > first and passed > 0 else ""

    def say(self, message: str) -> None:
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(printable(message), markup=False, highlight=False)
        else:
            say(message)

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


def seconds(text: str) -> float:
    """Seconds of "90", "90s", "10m", "1h" or "1h30m"; raises ValueError else."""
    import re

    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise ValueError(text)
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest


def duration(value: float) -> str:
    """Seconds as people say them."""
    if value < 1:
        return f"{1000 * value:.2g} ms" if value < 0.01 else f"{1000 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def amount(value: float) -> str:
    """A large count with its prefix: 61.7 k, 11.2 M."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"
