"""Recordings in files for prediction: text as one sequence, and of a recording to forecast its last window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError, suggest_name
from snellen.core.spec import Future, Spec
from snellen.data.formats import motion
from snellen.data.formats.array_files import HDF5, NPZ
from snellen.data.formats.recording_arrays import NPY, read_recordings
from snellen.data.formats.series_text import JITTER, SeriesText, read_series
from snellen.data.formats.series_text import SUFFIXES as TEXT
from snellen.modalities.series_files import TABLES, is_series, read_series_file


def is_recording(path: Path, spec: Spec) -> bool:
    """Whether a file is read as recordings: text for a model of sequences, any file for a model that forecasts."""
    return isinstance(spec.target, Future) or ("time" in spec.input.axes and path.suffix.lower() in TEXT)


def recording_suffixes(spec: Spec) -> tuple[str, ...]:
    """Suffixes of the files that a model that forecasts reads."""
    of_motion = motion.SUFFIXES if isinstance(spec.target, Future) and spec.target.skeleton is not None else ()
    return tuple(dict.fromkeys((*of_motion, *NPY, *NPZ, *HDF5, *TEXT, *(TABLES if is_series(spec) else ()))))


def suffixes_in(folder: Path, spec: Spec) -> tuple[str, ...]:
    """Suffixes of the recordings of a folder; beside motion files, text and arrays are none, as in training."""
    suffixes = recording_suffixes(spec)
    return motion.SUFFIXES if motion.SUFFIXES[0] in suffixes and motion.motion_files(folder) else suffixes


def read_recording_file(path: Path, spec: Spec) -> Iterator[tuple[str, np.ndarray]]:
    """Read the recordings (T, D) of a file, each with its name; of those to forecast the last window.

    Raises:
        DataError: an unreadable file, one without a column of the training data, too few steps.
    """
    if is_series(spec) and path.suffix.lower() in TABLES:
        yield from read_series_file(path, spec)
        return
    if isinstance(spec.target, Future) and path.suffix.lower() not in (suffixes := recording_suffixes(spec)):
        raise DataError(
            f"{path} is not a file of a known kind; a forecast is made from files that end in {', '.join(suffixes)}",
            "Give such a file.",
        )
    skeleton = spec.target.skeleton if isinstance(spec.target, Future) else None
    if skeleton is not None and motion.is_motion(path, skeleton):
        named = [(str(path), motion.read_for_model(path, spec, skeleton))]
    elif path.suffix.lower() in TEXT:
        named = [(str(path), _read_text(path, spec))]
    else:
        named = [
            (str(path) if name == path.name else f"{path}: {name}", values) for name, _, values in read_recordings(path)
        ]
    for name, values in named:
        yield name, _last_window(name, values, spec) if isinstance(spec.target, Future) else values


def _last_window(name: str, values: np.ndarray, spec: Spec) -> np.ndarray:
    """(window, D), the last steps of a recording (T, D). Raises DataError for too few steps."""
    window = spec.input.shape[0] or 1
    if len(values) < window:
        target = spec.target
        of_length = ""
        if isinstance(target, Future) and target.skeleton is not None and target.duration is not None:
            of_length = f" of {target.duration:g} {target.duration_unit}"
        raise DataError(
            f"{name} has {len(values):,} steps{of_length}, a forecast is made from the last {window:,}",
            "Give a longer recording.",
        )
    return values[-window:]


def _check_duration(path: Path, series: SeriesText, spec: Spec) -> None:
    """Raise DataError if the steps of a recording have another duration than those of the training data."""
    target, rate = spec.target, spec.input.rate
    unit = target.duration_unit if isinstance(target, Future) else series.unit
    duration = target.duration if isinstance(target, Future) else None if rate is None else 1 / rate
    if duration is None or series.duration is None:
        return
    if series.unit != unit or abs(series.duration - duration) > JITTER * duration:
        raise DataError(
            f"{path} has steps of {series.duration:.3g} {series.unit}".rstrip()
            + f", the model was trained on steps of {duration:.3g} {unit}".rstrip(),
            "Give recordings with the steps of the training data.",
        )


def _read_text(path: Path, spec: Spec) -> np.ndarray:
    """(T, D) numbers of a text file, in the columns of the training data.

    Raises:
        DataError: unreadable, or without one of the columns.
    """
    series = read_series(path)
    _check_duration(path, series, spec)
    of_columns = tuple(column.name for column in spec.input.columns)
    names = spec.target.names if isinstance(spec.target, Future) else of_columns
    if not series.has_header or not names or all(name == f"column {k}" for k, name in enumerate(names, 1)):
        return series.values
    missing = [name for name in names if name not in series.names]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}", suggest_name(missing[0], list(series.names)))
    return series.values[:, [series.names.index(name) for name in names]]
