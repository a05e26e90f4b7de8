"""Safe pickle reader: dicts, lists, strings, bytes, numbers and NumPy arrays, without executing anything.

`pickle.load` calls any function that the file names. This reader interprets the opcodes itself: the only allowed names
are those of NumPy arrays, and even these are never imported. The objects of a file may take a few times its size in
memory, no more: two bytes can convert a string of megabytes once again.
"""

from __future__ import annotations

import math
import pickletools
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snellen.core.errors import DataError
from snellen.core.input_files import read_bytes

_BUDGET, _BUDGET_FACTOR = 1 << 24, 4  # bytes that the objects of a file may take: 16 MiB and four times its size
_OPCODE_BYTES = 100  # for its places on the stack and in the memo
_DTYPE = re.compile(r"[biuf][1248]")
_NAMES = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "class",
    "numpy dtype": "dtype",
    "_codecs encode": "bytes",
}
_DAMAGE_ERRORS = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
)


class _Name(NamedTuple):
    """A global name in the file. role: a value of `_NAMES`."""

    role: str


class _Dtype:
    """A NumPy dtype under construction."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="


class _Array:
    """An array under construction; its content follows in a later opcode."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None


def read_pickle(path: Path) -> dict[str, Any]:
    """Read the dictionary in a pickle.

    Returns:
        name -> string, bytes, number, list or array; byte names become Latin-1 strings.
    Raises:
        DataError: the file names anything but an array, or is damaged.
    """
    try:
        content = read_bytes(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a damaged string may hold an unknown escape
            result = _walk(content)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "Download the file again.") from error
    except _UnsafePickle as error:
        raise DataError(
            f"{path} {error}", "It may be malicious: download the file from the official page of the dataset."
        ) from error
    except _DAMAGE_ERRORS as error:
        raise DataError(
            f"{path} is not a complete pickle of arrays and lists: {error}", "Download the file again."
        ) from error
    if not isinstance(result, dict):
        raise DataError(f"{path} does not hold a dictionary", "Download the file again.")
    plain = {}
    for key, value in result.items():
        name = key.decode("latin-1") if isinstance(key, bytes) else str(key)
        plain[name] = value.values if isinstance(value, _Array) else value
    return plain


class _UnsafePickle(ValueError):
    """The pickle holds something that would execute code."""


class _Machine:
    """The stack machine of the opcodes. marks: stacks saved by MARK. budget: bytes that new objects may still take."""

    def __init__(self, budget: int) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.budget = budget

    def push(self, value: Any) -> None:
        """Push a new object."""
        self.spend(sys.getsizeof(value))
        self.stack.append(value)

    def spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise ValueError("its objects take many times the size of the file")

    def since_mark(self) -> list[Any]:
        top, self.stack = self.stack, self.marks.pop()
        return top

    def take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("it pops from an empty stack")
        top = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return top


def _walk(content: bytes) -> Any:
    machine = _Machine(_BUDGET + _BUDGET_FACTOR * len(content))
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        machine.spend(_OPCODE_BYTES)
        if name == "STOP":
            return machine.take(1)[0]
        if name in _IGNORED:
            continue
        if name in _CONSTANTS:
            machine.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            machine.push(argument)
        elif name in _STEPS:
            _STEPS[name](machine, argument)
        else:
            raise _UnsafePickle(f"holds an opcode {name} that is not plain data")
    raise ValueError("it is truncated")


def _mark(machine: _Machine, _: Any) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _put(machine: _Machine, place: Any) -> None:
    machine.memo[len(machine.memo) if place is None else int(place)] = machine.stack[-1]


def _get(machine: _Machine, place: Any) -> None:
    machine.stack.append(machine.memo[int(place)])


def _append(machine: _Machine, _: Any) -> None:
    (value,) = machine.take(1)
    _extend(machine.stack[-1], [value])


def _appends(machine: _Machine, _: Any) -> None:
    values = machine.since_mark()
    _extend(machine.stack[-1], values)


def _extend(target: Any, values: list[Any]) -> None:
    if not isinstance(target, list):
        raise ValueError("it appends to something other than a list")
    target.extend(values)


def _setitems(machine: _Machine, _: Any) -> None:
    entries = machine.since_mark()
    _update(machine.stack[-1], entries)


def _setitem(machine: _Machine, _: Any) -> None:
    entries = machine.take(2)
    _update(machine.stack[-1], entries)


def _update(target: Any, entries: list[Any]) -> None:
    # Keys are str or bytes: hashing a tuple nested a million deep would overflow the stack, and integers of equal hash
    # would make a dictionary quadratic.
    plain = len(entries) % 2 == 0 and all(isinstance(key, str | bytes) for key in entries[::2])
    if not isinstance(target, dict) or not plain:
        raise ValueError("it sets items of something other than a dictionary of names")
    target.update(zip(entries[::2], entries[1::2], strict=True))


def _name(machine: _Machine, argument: Any) -> None:
    if argument is None:  # STACK_GLOBAL
        argument = " ".join(str(part)[:60] for part in machine.take(2))
    if argument not in _NAMES:
        raise _UnsafePickle(f"names {argument[:80]!r}, which would execute code")
    machine.stack.append(_Name(_NAMES[argument]))


def _reduce(machine: _Machine, _: Any) -> None:
    function, arguments = machine.take(2)
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise _UnsafePickle("calls something other than an array constructor")
    if function.role == "array":
        machine.push(_Array())
    elif function.role == "bytes":
        text, coding = arguments
        if not isinstance(text, str) or coding != "latin1":
            raise ValueError("its bytes are not Latin-1")
        machine.spend(len(text))
        machine.stack.append(text.encode("latin-1"))
    elif function.role == "dtype":
        code = arguments[0]
        code = code.decode("latin-1") if isinstance(code, bytes) else code
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise ValueError(f"it has an array of unsupported dtype {str(code)[:20]!r}")
        machine.push(_Dtype(code))
    else:
        raise _UnsafePickle("calls something other than an array constructor")


def _build(machine: _Machine, _: Any) -> None:
    (state,) = machine.take(1)
    result = machine.stack[-1]
    if isinstance(result, _Dtype) and isinstance(state, tuple):
        order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
        result.order = {"<": "<", ">": ">", "|": "=", "=": "="}[order]
    elif isinstance(result, _Array) and isinstance(state, tuple):
        _, shape, dtype, fortran, content = state
        machine.spend(len(content) if isinstance(content, str) else 0)
        result.values = _to_array(shape, dtype, bool(fortran), content)
    else:
        raise _UnsafePickle("sets the state of something other than an array")


def _to_array(shape: Any, dtype: Any, fortran: bool, content: Any) -> np.ndarray:
    if isinstance(content, str):
        content = content.encode("latin-1")
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes) or not isinstance(shape, tuple):
        raise ValueError("an array is incomplete")
    if len(shape) > 8 or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError("an array has an invalid shape")
    type_ = np.dtype(dtype.order + dtype.code)
    if math.prod(shape) * type_.itemsize != len(content):
        raise ValueError(f"an array of {shape} has {len(content):,} bytes")
    return np.frombuffer(content, type_).reshape(shape, order="F" if fortran else "C")


def _collect(kind: Callable[[list[Any]], Any]) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        entries = machine.since_mark()
        machine.push(kind(entries))

    return step


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        machine.push(tuple(machine.take(count)))

    return step


def _new(kind: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        machine.push(kind())

    return step


def _dict(entries: list[Any]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    _update(result, entries)
    return result


_IGNORED = frozenset(("PROTO", "FRAME"))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(
    (
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
    )
)
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _mark,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "EMPTY_LIST": _new(list),
    "EMPTY_DICT": _new(dict),
    "LIST": _collect(list),
    "DICT": _collect(_dict),
    "TUPLE": _collect(tuple),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "GLOBAL": _name,
    "STACK_GLOBAL": _name,
    "REDUCE": _reduce,
    "BUILD": _build,
}
