"""NPZ and HDF5 files: names, shapes and dtypes of their arrays, and a lazy HDF5 source."""

from __future__ import annotations

import math
import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, EnvironmentProblem
from snellen.core.input_files import open_regular
from snellen.core.spec import Preprocessing
from snellen.data.cache import available_memory
from snellen.data.formats.hdf5_chunks import ChunkCheck
from snellen.data.formats.table_columns import EXACT, to_exact
from snellen.data.source import BadSamples, apply_preprocessing

NPZ = (".npz",)
HDF5 = (".h5", ".hdf5", ".hdf")
_MAX_NPY_HEADER = 1 << 16  # bytes
_AGAIN = "The file is damaged: write or download it again."


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """The arrays of an NPZ or HDF5 file.

    Args:
        shapes, dtypes: by array name; an array in an HDF5 group is named group/name.
        lazy: samples are read on demand, not all at once.
        read: array name -> the whole array.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype[Any]]
    lazy: bool
    read: Callable[[str], np.ndarray]

    def is_numeric(self, name: str) -> bool:
        return self.dtypes[name].kind in "biuf"

    def listing(self) -> str:
        shown = [f"{name} {self.shapes[name]}" for name in list(self.shapes)[:8]]
        return (", ".join(shown) or "nothing") + (" ..." if len(self.shapes) > 8 else "")


def open_arrays(path: Path) -> ArrayFile:
    """Read names, shapes and dtypes; nothing in the file is executed.

    Raises:
        DataError: the file is damaged or holds objects.
        EnvironmentProblem: an HDF5 file without h5py installed.
    """
    return _open_npz(path) if path.suffix.lower() in NPZ else _open_hdf5(path)


def _open_npz(path: Path) -> ArrayFile:
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, np.dtype[Any]] = {}
    try:
        with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{info.filename} is compressed in another way than NumPy does")
                with archive.open(info) as member:
                    shape, dtype, start = _header(member)
                if dtype.hasobject:
                    raise ValueError(f"{info.filename} holds Python objects, which can run code")
                if dtype.kind in "SU" and dtype.itemsize > _MAX_TEXT:
                    raise ValueError(
                        f"{info.filename} holds strings of {dtype.itemsize:,} bytes: no labels are so long"
                    )
                if start + math.prod(shape) * dtype.itemsize != info.file_size:
                    raise ValueError(f"{info.filename} has {info.file_size:,} bytes, its header says {shape} {dtype}")
                shapes[info.filename[:-4]], dtypes[info.filename[:-4]] = shape, dtype
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error

    def read(name: str) -> np.ndarray:
        try:
            with np.load(path, allow_pickle=False) as file:
                return np.asarray(file[name])
        except _READ_ERRORS as error:
            raise _unreadable(path, error) from error

    return ArrayFile(path=path, shapes=shapes, dtypes=dtypes, lazy=False, read=read)


_MAX_TEXT = 1 << 14  # bytes of a string
_READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    OverflowError,
)


def _unreadable(path: Path, error: Exception) -> DataError:
    detail = str(error).splitlines()
    if detail and "Python objects" in detail[0]:
        remedy = "Save arrays of numbers; sequences of several lengths as padded x with an array lengths."
        return DataError(f"{path} cannot be read: {detail[0][:200]}", remedy)
    return DataError(f"{path} cannot be read: {detail[0][:200] if detail else type(error).__name__}", _AGAIN)


def _header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and header length of an NPY file."""
    start = member.read(12)
    if len(start) == 12 and start[6] > 1 and int.from_bytes(start[8:12], "little") > _MAX_NPY_HEADER:
        raise ValueError("an NPY header is too long")
    member.seek(0)
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise ValueError(f"NPY version {version} is not supported")
    if any(size < 0 for size in shape):
        raise ValueError(f"the shape {shape} has a negative size")
    return tuple(shape), dtype, member.tell()


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise EnvironmentProblem(
            "Reading HDF5 files needs h5py, which is not installed", 'Install it with: pip install "snellen[hdf5]"'
        ) from error
    return h5py


def _open_hdf5(path: Path) -> ArrayFile:
    h5py = _h5py()
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, np.dtype[Any]] = {}

    def visit(name: str | bytes, array: Any) -> None:
        if isinstance(name, bytes):
            raise ValueError(f"the name {name!r} is not UTF-8")
        if isinstance(array, h5py.Dataset) and array.shape is not None and not array.external and not array.is_virtual:
            shapes[name], dtypes[name] = tuple(array.shape), array.dtype

    def read(name: str) -> np.ndarray:
        try:
            with h5py.File(path, "r") as file:
                array = file[name]
                ChunkCheck()(array, range(array.shape[0] if array.shape else 0))
                size = math.prod(array.shape) * array.dtype.itemsize
                if size > available_memory():
                    raise DataError(
                        f"{path}: {name!r} needs {size:,} bytes of memory, of which {available_memory():,} are free",
                        _AGAIN,
                    )
                if h5py.check_string_dtype(array.dtype) is not None:
                    return np.asarray(array.asstr(errors="replace")[()], dtype=str)
                return np.asarray(array[()])
        except _READ_ERRORS as error:
            raise _unreadable(path, error) from error

    try:
        open_regular(path).close()
        with h5py.File(path, "r") as file:
            file.visititems(visit)  # does not follow external links
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    return ArrayFile(path=path, shapes=shapes, dtypes=dtypes, lazy=True, read=read)


def to_axis_order(values: np.ndarray, order: tuple[int, ...] | None) -> np.ndarray:
    """Reshape or transpose samples from the axes of the file to those of the modality (see `core/spec.py: AXES`).

    Args:
        order: None for vectors, else the position in the file of each axis of a sample; -1: a new axis of length 1.
    """
    if order is None:
        return values.reshape(len(values), -1)
    values = values.transpose(0, *(axis + 1 for axis in order if axis >= 0))
    return np.expand_dims(values, tuple(k + 1 for k, axis in enumerate(order) if axis < 0))


def array_to_tensor(values: np.ndarray) -> Tensor:
    """An array as a tensor: uint8 and uint16 unchanged; other numbers as float32 where exact, else float64."""
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    values = np.ascontiguousarray(values)
    if values.dtype in (np.uint8, np.uint16):
        return torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))
    if torch_dtype(values.dtype) == torch.float32:
        return torch.from_numpy(values.astype(np.float32))
    return to_exact(values.astype(np.float64, copy=False))


def check_distinct(where: str, values: np.ndarray) -> None:
    """Raise DataError if different integers of one column are equal as float64, as identifiers beyond 2⁵³ may be."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8 or not values.size:
        return
    columns = values.reshape(len(values), -1)
    largest = np.maximum(columns.max(0).astype(np.float64), -columns.min(0).astype(np.float64))
    for column in np.flatnonzero(largest >= EXACT).tolist():
        distinct = np.unique(columns[:, column])
        equal = np.flatnonzero(np.diff(distinct.astype(np.float64)) == 0).tolist()
        if equal:
            first, second = distinct[equal[0] : equal[0] + 2].tolist()
            place = f" in column {column + 1}" if columns.shape[1] > 1 else ""
            raise DataError(
                f"{where} holds {first} and {second}{place}, which are equal as 64-bit floats",
                "Remove identifiers from the inputs; subtract a constant from measurements.",
            )


def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """The smallest torch dtype (uint8, uint16, float32, float64) that holds every value of a NumPy dtype.

    float64 also for integers of 64 bits, which are exact up to 2⁵³ only: see `check_distinct`.
    """
    if dtype.kind in "bu" and dtype.itemsize <= 2:
        return torch.uint16 if dtype.itemsize == 2 else torch.uint8
    return torch.float32 if dtype.itemsize < 4 or (dtype.itemsize == 4 and dtype.kind == "f") else torch.float64


class Hdf5Source:
    """HDF5 source: samples stay in the file and are read on demand.

    Args:
        names: the arrays that hold the inputs, concatenated in this order.
        order: see `to_axis_order`.
    """

    def __init__(self, file: ArrayFile, names: Sequence[str], order: tuple[int, ...] | None) -> None:
        self.path = file.path
        self.names = tuple(names)
        self.order = order
        self.starts = np.cumsum([0, *(file.shapes[name][0] for name in names)])
        dtypes = {torch_dtype(file.dtypes[name]) for name in names}
        self.depth = dtypes.pop() if len(dtypes) == 1 else torch.float64
        self._lock = threading.Lock()
        self._check_chunks = ChunkCheck()
        self._file: Any = None
        self._owner_pid = 0  # process id: a forked process opens the file anew

    @property
    def dtype(self) -> str:
        return str(self.depth).removeprefix("torch.")

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        unique_ids, inverse = np.unique(ids, return_inverse=True)
        values = self.stored(unique_ids)
        tensor = torch.from_numpy(np.ascontiguousarray(to_axis_order(values, self.order))).to(self.depth)
        return apply_preprocessing(tensor[torch.from_numpy(inverse)], preprocessing)

    def stored(self, unique_ids: np.ndarray) -> np.ndarray:
        """Samples as they are in the file. unique_ids: ascending and distinct, as h5py needs them.

        Raises:
            DataError: the file cannot be read. BadSamples: NaN or infinity.
        """
        blocks = []
        try:
            with self._lock:
                if self._file is None or self._owner_pid != os.getpid():
                    self._file, self._owner_pid = _h5py().File(self.path, "r"), os.getpid()
                for name, start, end in zip(self.names, self.starts[:-1], self.starts[1:], strict=True):
                    indices = unique_ids[(unique_ids >= start) & (unique_ids < end)] - start
                    if len(indices):
                        self._check_chunks(self._file[name], indices.tolist())
                        blocks.append(_rows(self._file[name], indices))
        except _READ_ERRORS as error:
            raise _unreadable(self.path, error) from error
        values = np.concatenate(blocks)
        if values.dtype.kind == "f":
            bad = unique_ids[~np.isfinite(values.reshape(len(values), -1)).all(1)].tolist()
            if bad:
                raise BadSamples(dict.fromkeys(bad, "holds NaN or infinity"), {id: self.name(id) for id in bad})
        return values

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return f"sample {id}"

    def key(self) -> str | None:
        state = self.path.stat()
        path = os.path.realpath(self.path)
        return f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {' '.join(self.names)}"


def _rows(array: Any, indices: np.ndarray) -> np.ndarray:
    """Rows of an HDF5 array. A dense range is read as one slice, which is many times faster."""
    first, last = int(indices[0]), int(indices[-1])
    dense = last - first < 4 * len(indices)
    rows: np.ndarray = array[first : last + 1][indices - first] if dense else array[indices]
    return rows
