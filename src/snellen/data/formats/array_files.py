"""Arrays as they lie in an NPZ or HDF5 file: their shapes without their contents, and slices of them."""

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
from snellen.core.spec import Preprocessing
from snellen.data.cache import memory
from snellen.data.formats.table_columns import as_exact
from snellen.data.source import BadSamples, as_read

NPZ = (".npz",)
HDF5 = (".h5", ".hdf5", ".hdf")
_AGAIN = "The file is damaged: write it or fetch it again."


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """What a file of arrays holds.

    Args:
        shapes, dtypes: of every array by its name; groups of HDF5 are written group/name.
        lazy: samples are read as they are needed, not all at once.
        read: the whole array of a name.
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
    """Reads names, shapes and types; nothing in the file is executed.

    Raises:
        DataError: when the file is damaged or holds objects.
        EnvironmentProblem: for HDF5 without h5py.
    """
    return _open_npz(path) if path.suffix.lower() in NPZ else _open_hdf5(path)


def _open_npz(path: Path) -> ArrayFile:
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, np.dtype[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            total = sum(info.file_size for info in members)
            if total > memory():
                raise DataError(
                    f"{path} unpacks to {total:,} bytes, {memory():,} are free",
                    "Write it as HDF5, which is read from the disk.",
                )
            for info in members:
                with archive.open(info) as member:
                    shape, dtype, start = _header(member)
                if dtype.hasobject:
                    raise ValueError(f"{info.filename} holds Python objects, which would have to be executed")
                if start + math.prod(shape) * dtype.itemsize != info.file_size:
                    raise ValueError(f"{info.filename} has {info.file_size:,} bytes, its header says {shape} {dtype}")
                shapes[info.filename[:-4]], dtypes[info.filename[:-4]] = shape, dtype
    except DataError:
        raise
    except _DAMAGE as error:
        raise _damaged(path, error) from error

    def read(name: str) -> np.ndarray:
        try:
            with np.load(path, allow_pickle=False) as file:
                return np.asarray(file[name])
        except _DAMAGE as error:
            raise _damaged(path, error) from error

    return ArrayFile(path=path, shapes=shapes, dtypes=dtypes, lazy=False, read=read)


_DAMAGE = (
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


def _damaged(path: Path, error: Exception) -> DataError:
    detail = str(error).splitlines()
    return DataError(f"{path} cannot be read: {detail[0][:200] if detail else type(error).__name__}", _AGAIN)


def _header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and length of the header of an NPY file."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise ValueError(f"NPY version {version} is not known")
    if any(size < 0 for size in shape):
        raise ValueError(f"its shape is {shape}")
    return tuple(shape), dtype, member.tell()


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise EnvironmentProblem(
            "HDF5 files are read by h5py, which is not installed", 'Install it with: pip install "snellen[hdf5]"'
        ) from error
    return h5py


def _open_hdf5(path: Path) -> ArrayFile:
    h5py = _h5py()
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, np.dtype[Any]] = {}

    def visit(name: str | bytes, entry: Any) -> None:
        if isinstance(name, bytes):
            raise ValueError(f"the name {name!r} is not UTF-8")
        if isinstance(entry, h5py.Dataset) and entry.shape is not None and not entry.external and not entry.is_virtual:
            shapes[name], dtypes[name] = tuple(entry.shape), entry.dtype

    def read(name: str) -> np.ndarray:
        try:
            with h5py.File(path, "r") as file:
                entry = file[name]
                size = math.prod(entry.shape) * entry.dtype.itemsize
                if size > memory():
                    raise DataError(f"{path}: {name!r} has {size:,} bytes, {memory():,} are free", _AGAIN)
                if h5py.check_string_dtype(entry.dtype) is not None:
                    return np.asarray(entry.asstr(errors="replace")[()], dtype=str)
                return np.asarray(entry[()])
        except _DAMAGE as error:
            raise _damaged(path, error) from error

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)  # follows no link out of the file
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    return ArrayFile(path=path, shapes=shapes, dtypes=dtypes, lazy=True, read=read)


def arrange(values: np.ndarray, order: tuple[int, ...] | None) -> np.ndarray:
    """Samples in the order of the file to (N, D) or (N, C, H, W).

    Args:
        order: None for vectors, () for (N, H, W), else where C, H and W stand behind N.
    """
    if order is None:
        return values.reshape(len(values), -1)
    if not order:
        return values[:, None]
    return values.transpose(0, *(axis + 1 for axis in order))


def at_depth(values: np.ndarray) -> Tensor:
    """uint8 and uint16 as they are; other numbers as float32 where that is exact, else float64."""
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    values = np.ascontiguousarray(values)
    if values.dtype in (np.uint8, np.uint16):
        return torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))
    if depth_of(values.dtype) == torch.float32:
        return torch.from_numpy(values.astype(np.float32))
    return as_exact(values.astype(np.float64))


def depth_of(dtype: np.dtype[Any]) -> torch.dtype:
    """The depth that holds every value of a type, judged without its values."""
    if dtype.kind in "bu" and dtype.itemsize <= 2:
        return torch.uint16 if dtype.itemsize == 2 else torch.uint8
    return torch.float32 if dtype.itemsize < 4 or (dtype.itemsize == 4 and dtype.kind == "f") else torch.float64


class Slices:
    """A source whose samples stay in an HDF5 file, and are read as they are wanted.

    Args:
        names: the arrays that hold the inputs, one after the other.
        order: see `arrange`.
    """

    def __init__(self, file: ArrayFile, names: Sequence[str], order: tuple[int, ...] | None) -> None:
        self.path = file.path
        self.names = tuple(names)
        self.order = order
        self.starts = np.cumsum([0, *(file.shapes[name][0] for name in names)])
        kinds = {depth_of(file.dtypes[name]) for name in names}
        self.depth = kinds.pop() if len(kinds) == 1 else torch.float64
        self._lock = threading.Lock()
        self._file: Any = None
        self._owner = 0  # a forked process opens the file for itself

    @property
    def dtype(self) -> str:
        return str(self.depth).removeprefix("torch.")

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        wanted, inverse = np.unique(ids, return_inverse=True)  # h5py wants its indices ascending, each once
        blocks = []
        try:
            with self._lock:
                if self._file is None or self._owner != os.getpid():
                    self._file, self._owner = _h5py().File(self.path, "r"), os.getpid()
                for name, start, end in zip(self.names, self.starts[:-1], self.starts[1:], strict=True):
                    places = wanted[(wanted >= start) & (wanted < end)] - start
                    if len(places):
                        blocks.append(_rows(self._file[name], places))
        except _DAMAGE as error:
            raise _damaged(self.path, error) from error
        values = np.concatenate(blocks)
        if values.dtype.kind == "f":
            bad = wanted[~np.isfinite(values.reshape(len(values), -1)).all(1)].tolist()
            if bad:
                raise BadSamples(dict.fromkeys(bad, "holds NaN or infinity"), {id: self.name(id) for id in bad})
        tensor = torch.from_numpy(np.ascontiguousarray(arrange(values, self.order))).to(self.depth)
        return as_read(tensor[torch.from_numpy(inverse)], preprocessing)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return f"sample {id}"

    def key(self) -> str | None:
        state = self.path.stat()
        return f"{self.path.resolve()} {state.st_size} {state.st_mtime_ns} {' '.join(self.names)}"


def _rows(entry: Any, places: np.ndarray) -> np.ndarray:
    """Rows of an HDF5 array; a dense stretch is read as one slice, which is many times faster."""
    first, last = int(places[0]), int(places[-1])
    dense = last - first < 4 * len(places)
    rows: np.ndarray = entry[first : last + 1][places - first] if dense else entry[places]
    return rows
