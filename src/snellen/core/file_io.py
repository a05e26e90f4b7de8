"""Atomic file writes, JSON and Safetensors. All writes of the package go through this module.

Every write goes to a temporary file in the same folder, is flushed to the disk and then renamed over the old file.
Tensors are Safetensors, everything else strict JSON: no file can name code to run.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from snellen.core.errors import CannotWrite, DataError, UsageError, printable_json
from snellen.core.input_files import open_regular, read_text

_UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError, IndexError, RuntimeError, OSError, AttributeError)

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_MAX_HEADER, _MAX_OBJECTS = 100_000_000, 1 << 17  # bytes (of Safetensors itself) and JSON objects of a header


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` atomically: a crash at any time leaves the old file or the new one.

    Raises:
        EnvironmentProblem: when the disk is full, the folder not writable, or the device fails.
    """
    with atomic_writer(path, len(content)) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_writer(path: Path, size: int) -> Iterator[IO[bytes]]:
    """Context manager for an atomic write in pieces; replaces `path` only if the block ends without an error.

    The temporary file has a random name, is created exclusively and never opened through a link, so that a folder from
    elsewhere cannot lead the write to another file. A link at `path` is replaced, its target is not written.

    Args:
        size: number of bytes to write, for the error message.
    Raises:
        EnvironmentProblem: when the disk is full, the folder not writable, or the device fails.
    """
    part = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.part")
    with _writing(path, size), contextlib.ExitStack() as stack:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = _open_folder(path.parent)  # renames and removals below stay in this folder, whatever takes its name
        if folder is not None:
            stack.callback(os.close, folder)
        names = (path, part) if folder is None else (path.name, part.name)
        handle = os.open(names[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666, dir_fd=folder)
        try:
            with open(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(names[1], names[0], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(names[1], dir_fd=folder)
            raise
        _sync_folder(folder)


def append_bytes(path: Path, content: bytes, length: int) -> None:
    """Append `content` to a file of `length` bytes; on failure the file keeps its length.

    Raises:
        EnvironmentProblem: as `write_bytes`; also for a link and for a file with several names.
    """
    with _writing(path, len(content)), _open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as handle:
        try:
            with open(handle, "ab", closefd=False) as file:
                file.write(content)
        except BaseException:
            with contextlib.suppress(OSError):
                os.truncate(handle, length)
            raise


def sync(path: Path, length: int) -> None:
    """Flush a file of `length` bytes to the disk."""
    with _writing(path, length), _open_own(path, os.O_WRONLY) as handle:
        os.fsync(handle)


def truncate(path: Path, length: int) -> None:
    """Truncate a file to `length` bytes."""
    with _writing(path, length), _open_own(path, os.O_WRONLY) as handle:
        os.truncate(handle, length)


def remove(path: Path) -> None:
    """Remove a file if it exists."""
    with _writing(path, 0):
        path.unlink(missing_ok=True)


def reject_links(folder: Path) -> None:
    """Raise DataError for symbolic links in the folder of a run or in its subfolders.

    Every command that writes into a run, ladder or study calls this first: a folder from elsewhere could lead a write
    into any other folder. A link to the folder itself is allowed.
    """
    for place in (folder, folder / "state", folder / "predictions"):
        with os.scandir(place) if place.is_dir() else contextlib.nullcontext(()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise DataError(
                        f"{entry.path} is a symbolic link: Snellen writes into the folder of a run only",
                        "Replace it with the file itself.",
                    )


@contextlib.contextmanager
def _open_own(path: Path, flags: int) -> Iterator[int]:
    """Descriptor of a file that is written in place: no link, no pipe, and no file that has a second name elsewhere."""
    handle = os.open(path, flags | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        yield handle
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Create a folder and its parents."""
    with _writing(path, 0):
        path.mkdir(parents=True, exist_ok=True)


def make_new_folder(path: Path) -> bool:
    """Create a folder and its parents; False if `path` exists."""
    with _writing(path, 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files that a killed process left in `folder`."""
    for part in folder.glob(".*.part"):
        remove(part)


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Context manager for an exclusive lock on a run's folder; released at the latest when the process ends.

    Two processes that write one run would overwrite each other's files.

    Raises:
        UsageError: where another process holds the lock.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"Another process is writing to {folder}", "Wait for it, or stop it first.") from error
            except OSError:  # a file system without locks
                pass
        yield


def _open_folder(folder: Path) -> int | None:
    """Descriptor of a folder, or None on systems without them."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY) if os.open in os.supports_dir_fd else None


def _sync_folder(folder: int | None) -> None:
    """Flush a rename in an open folder to the disk."""
    try:
        if folder is not None:
            os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do not support it
            raise


@contextlib.contextmanager
def _writing(path: Path, needed: int) -> Iterator[None]:
    """Convert OSError of a failed write to EnvironmentProblem."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, needed, error) from error


def _cannot_write(path: Path, needed: int, error: OSError) -> CannotWrite:
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = "Give another folder with --out, or correct its permissions."
    if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
        reason = "it is a link, a pipe, or a file with a second name"
        remedy = "Replace it with a copy of the file."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"Free {needed:,} bytes there, or give another folder with --out."
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(path.parent).free
            remedy = f"{needed:,} bytes are needed and {free:,} are free: free some space, or give another --out."
    elif error.errno == errno.EIO:
        remedy = f"The device failed while {needed:,} bytes were written: check it, or give another --out."
    return CannotWrite(f"Cannot write {path}: {reason} ({needed:,} bytes)", remedy)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def json_text(value: Any) -> str:
    """Strict JSON of plain data."""
    return printable_json(json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a strict JSON file atomically."""
    write_text(path, json_text(value))


def read_json(path: Path, *, encoding: str = "utf-8", unique_keys: bool = False) -> Any:
    """Read a strict JSON file. Raises DataError with its path when it is missing, truncated or invalid.

    Args:
        encoding: "utf-8-sig" accepts a byte order mark. unique_keys: whether an object with a key twice is invalid.
    """
    pairs = _unique_keys if unique_keys else None
    try:
        text = read_text(path, encoding)
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=pairs)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", "Is this the folder of a run?") from error
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}", "The file is damaged; train again or restore it.") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in plain if names.count(name) > 1)[:80]!r} is given twice")
    return plain


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not strict JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} exceeds the range of a float")
    return value


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises DataError when the file cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", "The file is damaged; train again or restore it.") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Any = None) -> str:
    """Write a Safetensors file; tensors that share memory are written once. Returns its SHA-256.

    Safetensors does not store the memory format; the header does. Fused optimizers iterate over weights and moments in
    memory order, so that moments restored in another order would be applied to the wrong weights.

    Args:
        tensors: on any device, of any dtype that Safetensors supports.
        metadata: plain data for the header.
    """
    unique: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    orders: dict[str, list[int]] = {}
    first_names: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and memory in first_names:
            aliases[name] = first_names[memory]
            continue
        first_names[memory] = name
        unique[name] = tensor.detach().to("cpu")
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        if not tensor.is_contiguous() and tensor.permute(order).is_contiguous():
            orders[name] = order
            unique[name] = unique[name].permute(order)
        unique[name] = unique[name].contiguous()
    # Safetensors rejects overlapping memory: copy views of other tensors.
    storages: set[int] = set()
    for name, tensor in unique.items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in storages:
            unique[name] = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
    header = {"about": metadata, "same": aliases, "orders": orders}
    content = safetensors_bytes(unique, {"snellen": json.dumps(header, allow_nan=False)})
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Inverse of `write_tensors`: (tensors, metadata). Raises DataError when the file is damaged."""
    try:
        _check_safetensors_header(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            header = json.loads((file.metadata() or {}).get("snellen", "{}"), parse_constant=_no_constant)
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        for name, order in header.get("orders", {}).items():
            tensors[name] = tensors[name].permute(sorted(range(len(order)), key=order.__getitem__))
        for name, other in header.get("same", {}).items():
            tensors[name] = tensors[other]
        return tensors, header.get("about")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", "Is this the folder of a run?") from error
    except _UNREADABLE as error:
        raise DataError(
            f"{path} is not a valid Safetensors file: {error}", "The file is damaged; train again or restore it."
        ) from error


def _check_safetensors_header(path: Path) -> None:
    """Raise ValueError for a header of too many tensors, which takes many times its size when it is parsed."""
    with open_regular(path) as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _MAX_HEADER:
            raise ValueError(f"its header has {size:,} bytes, more than {_MAX_HEADER:,}")
        objects = file.read(size).count(b"{")
    if objects > _MAX_OBJECTS:
        raise ValueError(f"its header holds {objects:,} objects, more than {_MAX_OBJECTS:,}")
