"""Result of a published table with its provenance, stored as strict JSON, one file per table."""

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
from snellen.core import file_io
from snellen.core.errors import DataError, UsageError
from snellen.core.legacy_names import upgrade
from snellen.core.record import versions
from snellen.core.serialization import from_plain, to_plain
from snellen.reproduce.table import (
    Measurement,
    MeasureOptions,
    PublishedTable,
    TableRow,
    Verdict,
    format_value,
    not_run,
    verdict,
)

STORED = Path(__file__).parent / "results"  # results measured for this version

COLUMNS = ("row", "published", "measured", "95 % interval", "over", "verdict", "published in", "remarks")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of one run of a table.

    Args:
        commit: of the checkout, with a + if files differ from it; else the version.
        seeds: seeds 0 … seeds − 1 were used.
        hardware: processor, cores, memory, GPU; without a host name.
        rows: measurements by name of the row.
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
    rows: Mapping[str, Measurement]


def resolve_options(table: PublishedTable, options: MeasureOptions) -> MeasureOptions:
    """Resolve the number of seeds and the device.

    Raises:
        UsageError: for several seeds of a deterministic table.
        UsageError, EnvironmentProblem: if the device does not exist.
    """
    if table.deterministic and options.seeds > 1:
        raise UsageError(
            f"{table.name} is deterministic: {options.seeds} seeds would give the same result", "Omit --seeds."
        )
    return replace(
        options,
        seeds=options.seeds or (table.quick_seeds if options.quick else table.seeds),
        device=find_device(options.device),
    )


def run(
    table: PublishedTable, options: MeasureOptions, command: str, done: Callable[[Result], None] = lambda result: None
) -> Result:
    """Measures a table row by row.

    Args:
        options: resolved options.
        command: the words that were typed.
        done: called with all that is measured so far after each row.
    """
    result = Result(
        table=table.name,
        commit=commit(),
        date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        command=command,
        seeds=options.seeds,
        quick=options.quick,
        device=options.device,
        hardware=hardware(options.device),
        versions=versions(),
        rows={},
    )
    began = time.monotonic()
    for name, measured in table.measure(options):
        now = time.monotonic()
        measured = replace(measured, seconds=round(measured.seconds or now - began, 3))
        began = now
        result = replace(result, rows={**result.rows, name: measured})
        done(result)
    return result


def load_result(table: PublishedTable, folder: Path = STORED) -> Result | None:
    """The stored result, or None.

    Raises:
        DataError: if it is damaged, or has unknown rows.
    """
    path = folder / f"{table.name}.json"
    if not path.exists():
        return None
    result: Result = from_plain(Result, upgrade(file_io.read_json(path)), str(path))
    unknown = sorted(set(result.rows) - {row.name for row in table.rows})
    if unknown:
        raise DataError(f"{path} has an unknown row {unknown[0]!r}", "Measure the table again.")
    return result


def save_result(result: Result, folder: Path) -> Path:
    path = folder / f"{result.table}.json"
    file_io.write_json(path, to_plain(result))
    return path


def verdicts(table: PublishedTable, result: Result | None) -> dict[str, Verdict]:
    """The verdict of each row."""
    rows = {} if result is None else result.rows
    return {row.name: verdict(row, rows.get(row.name)) for row in table.rows}


def comparison_rows(table: PublishedTable, result: Result | None) -> list[list[str]]:
    """Published and measured values: cells of `COLUMNS` for each row of the table."""
    row_verdicts = verdicts(table, result)
    return [
        _comparison_row(row, (result.rows if result else {}).get(row.name), row_verdicts[row.name])
        for row in table.rows
    ]


def _comparison_row(row: TableRow, measured: Measurement | None, row_verdict: Verdict) -> list[str]:
    measured = measured or not_run(row.unavailable_reason)
    interval = (
        ""
        if measured.low is None or measured.high is None
        else (
            f"{format_value(measured.low)} … {format_value(measured.high)} "
            f"(width {format_value(measured.high - measured.low)})"
        )
    )
    remarks = "; ".join([*([measured.reason] if measured.reason else []), *measured.deviations])
    value = "" if measured.value is None else format_value(measured.value)
    return [row.name, row.published.text, value, interval, measured.over, row_verdict, row.published.source, remarks]


def hardware(device: str) -> dict[str, str]:
    """Hardware of this machine, without its host name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    parts = {"processor": model, "cores": str(os.cpu_count()), "memory": f"{physical_memory() / 2**30:.0f} GiB"}
    return {**parts, "GPU": torch.cuda.get_device_name()} if device.startswith("cuda") else parts


def commit() -> str:
    """Git commit of the checkout of this file; the version if it is not in a checkout."""
    module = Path(__file__)

    def git(*arguments: str) -> str:
        try:
            process = subprocess.run(
                ["git", *arguments], capture_output=True, text=True, cwd=module.parent, check=False
            )
        except OSError:
            return ""
        return process.stdout.strip() if process.returncode == 0 else ""

    if not git("ls-files", module.name):
        return f"version {versions()['snellen']}"
    package = module.parents[1]
    results = f":(exclude){package / 'reproduce' / 'results'}"  # new results do not change the measuring code
    changed = git("status", "--porcelain", "--untracked-files=no", "--", str(package), results)
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def provenance(table: PublishedTable, result: Result | None) -> list[str]:
    """Published setup, deviations and measurement conditions of a result, as lines."""
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
