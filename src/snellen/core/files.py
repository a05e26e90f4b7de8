"""The one module that writes files. A file is there whole, or as it was before.

Every write goes to a temporary file in the same folder, is flushed to the disk, and then takes the place of the old
one in one step. Tensors are Safetensors, everything else strict JSON: no file can name code to run.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from snellen.core.errors import DataError, EnvironmentProblem, UsageError, first_line, shown

_UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError, IndexError, RuntimeError, OSError, AttributeError)

Packed = tuple[dict[str, Tensor], Any]


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes `content` so that a crash at any instant leaves the old file or the new one.

    Raises:
        EnvironmentProblem: when the disk is full, the folder not writable, or the device fails.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _writing(path, len(content)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def append_bytes(path: Path, content: bytes, length: int) -> None:
    """Adds `content` to a file of `length` bytes; where that fails, the file keeps its length.

    Raises:
        EnvironmentProblem: as `write_bytes`.
    """
    with _writing(path, len(content)):
        try:
            with open(path, "ab") as file:
                file.write(content)
        except BaseException:
            with contextlib.suppress(OSError):
                os.truncate(path, length)
            raise


def sync(path: Path, length: int) -> None:
    """Makes what was added to a file of now `length` bytes last."""
    with _writing(path, length), open(path, "rb") as file:
        os.fsync(file.fileno())


def cut(path: Path, length: int) -> None:
    """Shortens a file to `length` bytes."""
    with _writing(path, length):
        os.truncate(path, length)


def remove(path: Path) -> None:
    """Removes a file if it is there."""
    with _writing(path, 0):
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    with _writing(path, 0):
        path.mkdir(parents=True, exist_ok=True)


def sweep(folder: Path) -> None:
    """Removes what a killed process had begun to write in `folder`."""
    for part in folder.glob(".*.part"):
        remove(part)


@contextlib.contextmanager
def written(path: Path, size: int) -> Iterator[IO[bytes]]:
    """A file to write into piece by piece; it takes the place of `path` only when the block ends without an error.

    Args:
        size: bytes that will be written, for the message.
    Raises:
        EnvironmentProblem: when the disk is full, the folder not writable, or the device fails.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, size, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process is: two that write one run would each cut what the other wrote. Ends with the process.

    Raises:
        UsageError: where another process is inside.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        yield
        return
    with contextlib.ExitStack() as held:
        with contextlib.suppress(FileNotFoundError):
            place = os.open(folder, os.O_RDONLY)
            held.callback(os.close, place)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"Another process is at work on {folder}", "Wait for it, or stop it first.") from error
            except OSError:  # a file system that knows no locks
                pass
        yield


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` last; a system without folder handles has nothing to do."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have no such thing
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def _writing(path: Path, needed: int) -> Iterator[None]:
    """Turns what the system says of a failed write into our words."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, needed, error) from error


def _cannot_write(path: Path, needed: int, error: OSError) -> EnvironmentProblem:
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = "Give another folder with --out, or mend its permissions."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"Make room for {needed:,} bytes there, or give another folder with --out."
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(path.parent).free
            remedy = f"{needed:,} bytes are needed and {free:,} are free: make room, or give another --out."
    elif error.errno == errno.EIO:
        remedy = f"The device failed while {needed:,} bytes were written: check it, or give another --out."
    return EnvironmentProblem(f"Cannot write {path}: {reason} ({needed:,} bytes)", remedy)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def json_text(value: Any) -> str:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name in no encoding: only escapes can write it
        text = json.dumps(value, allow_nan=False, indent=1) + "\n"
    return text


def write_json(path: Path, value: Any) -> None:
    write_text(path, json_text(value))


def read_json(path: Path) -> Any:
    """Raises DataError naming the file when it is missing, cut short or not strict JSON."""
    try:
        _refuse_device(path)
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", "Is this the folder of a run?") from error
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}", "The file is damaged; train again or restore it.") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not strict JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond what a number can hold")
    return value


def _refuse_device(path: Path) -> None:
    """A pipe or a device would be waited for, or never end."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no plain file")


def sha256(path: Path) -> str:
    """Raises DataError when the file cannot be read."""
    try:
        _refuse_device(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", "The file is damaged; train again or restore it.") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Any = None) -> str:
    """Writes a Safetensors file; tensors that share memory are written once. Returns its SHA-256.

    Safetensors knows no order of memory, but it is kept: fused optimizers walk weights and moments side by side
    through memory, and moments that came back in another order would be taken for those of other weights.

    Args:
        tensors: any device and dtype that Safetensors knows.
        about: plain data that goes into the header.
    """
    unique: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    orders: dict[str, list[int]] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and place in seen:
            same[name] = seen[place]
            continue
        seen[place] = name
        unique[name] = tensor.detach().to("cpu")
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        if not tensor.is_contiguous() and tensor.permute(order).is_contiguous():
            orders[name] = order
            unique[name] = unique[name].permute(order)
        unique[name] = unique[name].contiguous()
    # Safetensors refuses overlapping memory: what is a part of another tensor becomes a copy.
    storages: set[int] = set()
    for name, tensor in unique.items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in storages:
            unique[name] = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
    header = {"about": about, "same": same, "orders": orders}
    content = safetensors_bytes(unique, {"snellen": json.dumps(header, allow_nan=False)})
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The inverse of `write_tensors`. Raises DataError when the file is not a whole Safetensors file."""
    try:
        _refuse_device(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            header = json.loads((file.metadata() or {}).get("snellen", "{}"), parse_constant=_no_constant)
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        for name, order in header.get("orders", {}).items():
            tensors[name] = tensors[name].permute(sorted(range(len(order)), key=order.__getitem__))
        for name, other in header.get("same", {}).items():
            tensors[name] = tensors[other]
        return tensors, header.get("about")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", "Is this the folder of a run?") from error
    except _UNREADABLE as error:
        raise DataError(
            f"{path} is not a whole Safetensors file: {error}", "The file is damaged; train again or restore it."
        ) from error


def are_channels_last(tensors: Iterable[Tensor]) -> bool:
    """Whether a network's weights lie in that order: all that have four dimensions do. Where they are one pixel large
    or have one channel, both orders are the same, and the network, which asks for the order's name, takes this one.
    """
    square = [tensor for tensor in tensors if tensor.ndim == 4]
    return bool(square) and all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in square)


def pack(state: Any) -> Packed:
    """Any nest of dicts, lists, tuples, tensors and plain values as tensors beside tagged strict JSON.

    Optimizer states have integer keys, tuples and infinities, which JSON has not: each gets a tag.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"t{len(tensors)}"
            tensors[name] = value
            return {"tensor": name}
        if isinstance(value, bool | str) or value is None or isinstance(value, int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, Mapping):
            return {"dict": [[walk(key), walk(entry)] for key, entry in value.items()]}
        if isinstance(value, tuple):
            return {"tuple": [walk(entry) for entry in value]}
        if isinstance(value, Sequence):
            return [walk(entry) for entry in value]
        raise TypeError(f"{type(value).__name__} cannot be kept in a run: tensors and plain values can")

    return tensors, walk(state)


def unpack(packed: Packed) -> Any:
    """The inverse of `pack`. Raises DataError for what `pack` has not made."""
    tensors, tree = packed

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        ((tag, content),) = value.items()
        if tag == "tensor":
            return tensors[content]
        if tag == "float":
            return float(content)
        if tag == "tuple":
            return tuple(walk(entry) for entry in content)
        if tag == "dict":
            return {walk(key): walk(entry) for key, entry in content}
        raise ValueError(f"the tag {shown(tag)} is unknown")

    try:
        return walk(tree)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"A saved state is damaged: {first_line(error)}",
            "It was written by another version of Snellen, or by hand.",
        ) from error


def load_weights(model: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """`load_state_dict` with errors in our words: names and shapes must agree; what grows takes the file's length."""
    refuse_misfits(model, tensors, where)
    for owner, name, full in _growing(model):
        setattr(owner, name, getattr(owner, name).new_empty(tensors[full].shape))
    if are_channels_last(tensors.values()):
        model.to(memory_format=torch.channels_last)
    model.load_state_dict(dict(tensors))


def refuse_misfits(model: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raises DataError unless `tensors` are those of `model` by name, shape and type.

    Tensors whose length is known only after fitting (k-NN's samples, support vectors) are named in the module's
    `grows`. Their first dimension may be any, but one for all that a module names; the others are as built.
    """
    own = model.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in tensors]
    wrong += [f"{shown(name)} is not one of its tensors" for name in tensors if name not in own]
    lengths: dict[torch.nn.Module, int] = {}
    free = {}
    for owner, _, full in _growing(model):
        if full in tensors and tensors[full].ndim:
            free[full] = lengths.setdefault(owner, len(tensors[full]))
    for name in own.keys() & tensors.keys():
        there, wanted = tensors[name], own[name]
        shape = (free[name], *wanted.shape[1:]) if name in free else tuple(wanted.shape)
        if there.dtype != wanted.dtype or tuple(there.shape) != shape:
            wrong.append(f"{name} is {there.dtype} {tuple(there.shape)}, not {wanted.dtype} {shape}")
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise DataError(
            f"{where} do not fit the model: {'; '.join(sorted(wrong)[:3])}{more}", "Were they written by another model?"
        )


def _growing(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, str]]:
    """(module, tensor, its name in the state of the model) of all that is declared as growing."""
    for prefix, owner in model.named_modules():
        for name in getattr(owner, "grows", ()):
            yield owner, name, f"{prefix}.{name}" if prefix else name
