"""Record of a run, `run.json`: settings, data, seed, versions and file hashes, as strict JSON."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from snellen.core import catalog, file_io, legacy_names
from snellen.core.errors import DataError
from snellen.core.serialization import from_plain, to_plain
from snellen.core.spec import Preprocessing, Spec

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Record:
    """Contents of `run.json`.

    Args:
        learner, task: names, looked up in the registries of the process; never code to import.
        settings, sources: value and source of every setting, by flat name.
        data: how to open the data again (`Dataset.origin`), or None.
        threads: number of CPU threads.
        threads_on_trial: training begins by choosing between one thread and `threads`, see `Run.set_threads`.
        value_range: the range of values given with `--range`.
        source_hash: SHA-256 of the source of a custom learner.
        loss: name of a custom loss.
        files: SHA-256 of the finished files.
    """

    schema: int = SCHEMA
    status: Literal["training", "finished"] = "training"
    learner: str
    task: str
    settings: Mapping[str, Any]
    sources: Mapping[str, str]
    spec: Spec
    preprocessing: Preprocessing
    data: Mapping[str, Any] | None
    seed: int
    device: str
    threads: int
    threads_on_trial: bool = False
    versions: Mapping[str, str]
    command: str = ""
    value_range: tuple[float, float] | None = None
    source_hash: str | None = None
    loss: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}; the minimum is 1")
        if not self.spec.inputs:
            raise ValueError("its spec has no input")


def write_record(folder: Path, record: Record) -> None:
    """Write `run.json`."""
    file_io.write_json(folder / "run.json", to_plain(record))


def read_record(folder: Path) -> Record:
    """Read `run.json`. Raises DataError when the folder holds no run, or one of another schema."""
    if not (folder / "run.json").exists() and (folder / "ladder.json").exists():
        raise DataError(f"{folder} is a ladder of several runs", _run_of_advised_model(folder))
    plain = file_io.read_json(folder / "run.json")
    if isinstance(plain, dict) and type(plain.get("schema")) is int and plain["schema"] == 1:
        plain = legacy_names.upgrade_record(plain, catalog.settings_of)
    if isinstance(plain, dict) and plain.get("schema") != SCHEMA:
        raise DataError(
            f"{folder / 'run.json'} has schema {plain.get('schema')!r}, this version reads 1 to {SCHEMA}",
            "Open it with the version that wrote it.",
        )
    record: Record = from_plain(Record, plain, str(folder / "run.json"))
    return record


def _run_of_advised_model(folder: Path) -> str:
    """The remedy for a ladder in place of a run; its file may be damaged."""
    try:
        finished = file_io.read_json(folder / "ladder.json")["finished"]
        stored = next(rung["folder"] for rung in finished["rungs"] if rung["name"] == finished["advised"])
        run = folder / Path(stored).name  # the ladder may have been moved
    except (DataError, KeyError, TypeError, StopIteration):
        return "Give the run of one of its models."
    return f"Give the run of its advised model: {run}"


def read_predictions(folder: Path, split: str) -> dict[str, Tensor]:
    """Read the stored predictions of a split, with the targets and ids of its samples."""
    tensors, _ = file_io.read_tensors(folder / "predictions" / f"{split}.safetensors")
    return legacy_names.upgrade_predictions(tensors)


def read_metrics(path: Path) -> dict[str, Any]:
    """Read `metrics.json`: headline, splits -> name -> metric, cost, notes."""
    plain = file_io.read_json(path)
    is_valid = isinstance(plain, dict) and all(isinstance(plain.get(key), dict) for key in ("splits", "cost", "notes"))
    if not is_valid or not all(isinstance(split, dict) for split in plain["splits"].values()):
        raise DataError(
            f"{path} is damaged",
            f"Remove it, then evaluate the run again: snellen train --resume {shlex.quote(str(path.parent))}",
        )
    return dict(plain)


def versions() -> dict[str, str]:
    """Versions of the software that affects the exact numbers of a result."""
    from importlib.metadata import version

    names = ("snellen", "torch", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
