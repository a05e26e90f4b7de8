"""What a table gave here, with all that must be known of it: kept as strict JSON, one file a table."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from snellen.api import find_device
from snellen.api.run_options import physical_memory
from snellen.core import files
from snellen.core.errors import DataError, UsageError
from snellen.core.record import versions
from snellen.core.serialization import from_plain, to_plain
from snellen.reproduce.table import How, Measured, Row, Table, Verdict, not_run, verdict, written

STORED = Path(__file__).parent / "results"  # what was measured for this version

COLUMNS = ("row", "published", "measured", "95 % interval", "over", "verdict", "published in", "remarks")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run of a table.

    Args:
        commit: of the checkout it was run from, with a + where files differ from it; else the version.
        seeds: 0 … seeds − 1 were used.
        hardware: processor, cores, memory, GPU; no name of a machine.
        rows: of those that were tried, by name.
    """

    table: str
    commit: str
    date: str
    command: str
    seeds: int
    quick: bool
    device: str
    hardware: Mapping[str, str]
    versions: Mapping[str, str]
    rows: Mapping[str, Measured]


def settled(table: Table, how: How) -> How:
    """With the number of seeds and the device that are meant.

    Raises:
        UsageError: for several seeds where nothing is drawn.
        UsageError, EnvironmentProblem: where there is no such device.
    """
    if table.fixed and how.seeds > 1:
        raise UsageError(f"{table.name} draws nothing: {how.seeds} seeds would give the same", "Leave --seeds out.")
    return replace(how, seeds=how.seeds or (table.few if how.quick else table.seeds), device=find_device(how.device))


def run(table: Table, how: How, command: str, done: Callable[[Result], None] = lambda result: None) -> Result:
    """Measures a table row by row.

    Args:
        how: settled.
        command: the words that were typed.
        done: called with all that is measured so far after each row.
    """
    result = Result(
        table=table.name,
        commit=commit(),
        date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        command=command,
        seeds=how.seeds,
        quick=how.quick,
        device=how.device,
        hardware=hardware(how.device),
        versions=versions(),
        rows={},
    )
    began = time.monotonic()
    for name, measured in table.measure(how):
        now = time.monotonic()
        measured = replace(measured, seconds=round(measured.seconds or now - began, 3))
        began = now
        result = replace(result, rows={**result.rows, name: measured})
        done(result)
    return result


def stored(table: Table, folder: Path = STORED) -> Result | None:
    """The result that is kept, or None.

    Raises:
        DataError: where it is damaged, or of rows that the table has not.
    """
    path = folder / f"{table.name}.json"
    if not path.exists():
        return None
    result: Result = from_plain(Result, files.read_json(path), str(path))
    unknown = sorted(set(result.rows) - {row.name for row in table.rows})
    if unknown:
        raise DataError(f"{path} has a row {unknown[0]!r}, which the table has not", "Measure the table anew.")
    return result


def store(result: Result, folder: Path) -> Path:
    path = folder / f"{result.table}.json"
    files.write_json(path, to_plain(result))
    return path


def verdicts(table: Table, result: Result | None) -> dict[str, Verdict]:
    """Of each row."""
    rows = {} if result is None else result.rows
    return {row.name: verdict(row, rows.get(row.name)) for row in table.rows}


def compared(table: Table, result: Result | None) -> list[list[str]]:
    """Published beside measured: a row of `COLUMNS` for each row of the table."""
    said = verdicts(table, result)
    return [_compared(row, (result.rows if result else {}).get(row.name), said[row.name]) for row in table.rows]


def _compared(row: Row, measured: Measured | None, said: Verdict) -> list[str]:
    measured = measured or not_run(row.cannot)
    interval = (
        "" if measured.low is None or measured.high is None else (f"{written(measured.low)} … {written(measured.high)}")
    )
    remarks = "; ".join([*([measured.reason] if measured.reason else []), *measured.deviations])
    value = "" if measured.value is None else written(measured.value)
    return [row.name, row.published.text, value, interval, measured.over, said, row.published.source, remarks]


def hardware(device: str) -> dict[str, str]:
    """Of this machine, without its name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    found = {"processor": model, "cores": str(os.cpu_count()), "memory": f"{physical_memory() / 2**30:.0f} GiB"}
    return {**found, "GPU": torch.cuda.get_device_name()} if device.startswith("cuda") else found


def commit() -> str:
    """Of the checkout this file belongs to; where it belongs to none, the version."""
    here = Path(__file__)

    def git(*words: str) -> str:
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=here.parent, check=False)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    if not git("ls-files", here.name):
        return f"version {versions()['snellen']}"
    package = here.parents[1]
    results = f":(exclude){package / 'reproduce' / 'results'}"  # what is measured now is no change of what measures
    changed = git("status", "--porcelain", "--untracked-files=no", "--", str(package), results)
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def story(table: Table, result: Result | None) -> list[str]:
    """What must be known of a table and its result, in lines."""
    lines = [f"published: {table.setup}", *(f"deviation: {line}" for line in table.deviations)]
    if result is None:
        return [*lines, "measured: not run"]
    options = ", ".join(f"{value} {name}" if name == "cores" else value for name, value in result.hardware.items())
    took = sum(measured.seconds for measured in result.rows.values())
    seeds = "seed 0" if result.seeds == 1 else f"seeds 0 … {result.seeds - 1}"
    return [
        *lines,
        f"measured: {result.date} at {result.commit} by `{result.command}`; {seeds}; "
        f"{result.device} ({options}); {took:.0f} s",
    ]
