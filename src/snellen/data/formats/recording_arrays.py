"""Recordings in array files: (N, T, D), or (T, D) of one recording, in NPY, NPZ and HDF5 files."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError

import numpy as np

from snellen.core.errors import DataError
from snellen.core.input_files import open_regular
from snellen.data.formats.array_files import open_arrays
from snellen.data.formats.array_layout import split_and_role
from snellen.data.formats.arrays import INPUT_NAMES
from snellen.data.formats.ragged_arrays import LENGTH_NAMES

NPY = (".npy",)
_SHAPES = "Recordings are (N, T, D), or (T, D) for one: N recordings of T steps and D features."


def read_recordings(path: Path) -> list[tuple[str, int | None, np.ndarray]]:
    """Read name, split (index in SPLITS, None without) and values (T, D) float64 of each recording.

    Steps of NaN at the end of a recording are padding, as are those after `lengths` (N,).

    Raises:
        DataError: no array of recordings, or several that could be; NaN or infinity before the end of a recording.
    """
    if path.suffix.lower() in NPY:
        arrays: dict[str, tuple[int | None, np.ndarray, np.ndarray | None]] = {"": (None, read_npy(path), None)}
    else:
        file = open_arrays(path)
        roles = {name: split_and_role(name) for name in file.shapes}
        fitting = [name for name in file.shapes if len(file.shapes[name]) in (2, 3) and file.is_numeric(name)]
        inputs = [name for name in fitting if roles[name][1] in INPUT_NAMES] or fitting
        per_split = [roles[name][0] for name in inputs]
        if not inputs or len(set(per_split)) < len(per_split):
            raise DataError(
                f"{path} holds {file.listing()}: "
                + ("no array of recordings" if not inputs else f"{len(inputs)} arrays could be the recordings"),
                f"Name the array x, or x_train, x_val and x_test. {_SHAPES}",
            )
        lengths = {roles[name][0]: name for name in file.shapes if roles[name][1] in LENGTH_NAMES}
        arrays = {
            name: (
                roles[name][0],
                file.read(name),
                file.read(lengths[roles[name][0]]) if roles[name][0] in lengths else None,
            )
            for name in inputs
        }
    return [
        one for name, (split, values, lengths) in arrays.items() for one in _parts(path, name, split, values, lengths)
    ]


def read_npy(path: Path) -> np.ndarray:
    """Read one array. Raises DataError."""
    try:
        with open_regular(path) as file:
            values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:  # the last two: of a damaged header
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", "Write it with numpy.save.") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path} is no NPY file", "Write it with numpy.save.")
    return values


def _parts(
    path: Path, name: str, split: int | None, values: np.ndarray, lengths: np.ndarray | None
) -> list[tuple[str, int | None, np.ndarray]]:
    where = f"{path}: {name!r}" if name else f"{path}"
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in "biuf":
        raise DataError(f"{where} has the shape {values.shape} of {values.dtype}", _SHAPES)
    stacked = values[None] if values.ndim == 2 else values
    if lengths is not None and (lengths.shape != stacked.shape[:1] or lengths.dtype.kind not in "iu"):
        raise DataError(f"{where}: the lengths have the shape {lengths.shape}", "Give one length for each recording.")
    result = []
    for k, one in enumerate(stacked):
        recording = one.astype(np.float64)
        if lengths is not None:
            recording = recording[: int(lengths[k])]
        finite = np.isfinite(recording).all(1)
        end = len(recording) if lengths is not None else int(np.nonzero(finite)[0][-1]) + 1 if finite.any() else 0
        label = f"{name or path.name}[{k}]" if values.ndim == 3 else name or path.name
        if not end or not finite[:end].all():
            step = int(np.argmin(finite)) + 1
            raise DataError(
                f"{where}: recording {k} holds NaN or infinity at step {step}, before its end",
                "Interpolate missing steps, or split the recording there into two.",
            )
        result.append((label, split, recording[:end]))
    return result
