"""Sequences for prediction from array files: NPY, NPZ and HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.input_files import open_regular
from snellen.core.spec import Input
from snellen.data.formats.array_files import HDF5, NPZ, array_to_tensor, open_arrays
from snellen.data.formats.arrays import INPUT_NAMES, split_and_role

SUFFIXES = (".npy", *NPZ, *HDF5)


def read_sequences(path: Path, spec_input: Input) -> Iterator[tuple[str, Tensor]]:
    """Read the sequences (T, D) of a file, each with its name.

    The inputs are the arrays with the name of an input ("x"), else all that have the shape of the model's inputs.

    Raises:
        DataError: an unreadable file, no array with the shape of the inputs, NaN or infinity.
    """
    arrays = _read_npy(path) if path.suffix.lower() == ".npy" else _read_named(path, spec_input)
    for name, values in arrays:
        x = values[None] if values.ndim == 2 else values
        if not _fits(x.shape, spec_input):
            raise DataError(f"{name} has the shape {values.shape}; {_expected(spec_input)}", "Give such an array.")
        if x.dtype.kind not in "biuf":
            raise DataError(f"{name} holds {x.dtype}, not numbers", "Save it as integers or floats.")
        if x.dtype.kind == "f" and not bool(np.isfinite(x).all()):
            raise DataError(f"{name} holds NaN or infinity", "Fix or remove these sequences.")
        tensor = array_to_tensor(x)
        dtype: torch.dtype = getattr(torch, spec_input.dtype)
        if torch.promote_types(tensor.dtype, dtype) == dtype:
            tensor = tensor.to(dtype)
        for k, sequence in enumerate(tensor):
            yield (name if values.ndim == 2 else f"{name}[{k}]"), sequence


def _expected(spec_input: Input) -> str:
    steps, features = spec_input.shape
    return f"the model reads sequences (N, {'T' if steps is None else steps}, {features})"


def _fits(shape: Sequence[int], spec_input: Input) -> bool:
    return len(shape) == 3 and all(
        known in (None, side) for known, side in zip(spec_input.shape, shape[1:], strict=True)
    )


def _read_npy(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        with open_regular(path) as file:
            values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", "Write it with numpy.save.") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path} is no NPY file", "Write it with numpy.save.")
    yield str(path), values


def _read_named(path: Path, spec_input: Input) -> Iterator[tuple[str, np.ndarray]]:
    file = open_arrays(path)
    fitting = [
        name
        for name, shape in file.shapes.items()
        if _fits(shape, spec_input) or (len(shape) == 2 and _fits((1, *shape), spec_input))
    ]
    named = [name for name in fitting if split_and_role(name)[1] in INPUT_NAMES]
    if not fitting:
        raise DataError(
            f"{path} has no array of inputs: it holds {file.listing()}; {_expected(spec_input)}", "Give such an array."
        )
    for name in named or fitting:
        yield f"{path}: {name}", file.read(name)
