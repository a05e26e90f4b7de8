"""Serialization of frozen dataclasses to strict JSON and back. No file can name code to import.

Every object carries its class name under "is"; it is looked up among the classes in the annotation of the field.
Unknown keys are errors.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from snellen.core.errors import DataError, short_repr

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Convert dataclasses, mappings and sequences to dicts, lists, strings, numbers, booleans and None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): to_plain(entry) for key, entry in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ValueError(f"strict JSON has no {value}: use None with a reason")
    if isinstance(value, frozenset | set):
        return [to_plain(entry) for entry in sorted(value)]
    if isinstance(value, Sequence):
        return [to_plain(entry) for entry in value]
    raise TypeError(f"{type(value).__name__} is not plain data")


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """Resolved annotations of a dataclass, without `Annotated`."""
    return typing.get_type_hints(cls)


def from_plain(kind: Any, plain: Any, where: str = "") -> Any:
    """Inverse of `to_plain` for the annotated type `kind`.

    Raises:
        DataError: for an unknown or missing key, or a value of the wrong type; the message begins with `where`.
    """
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if kind is Any:
        return plain
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, plain, where)
    if origin is typing.Literal:
        if plain not in arguments:
            raise DataError(f"{where}: {short_repr(plain)} is not one of {', '.join(map(repr, arguments))}")
        return plain
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _instance(kind, plain, where)
    if origin is tuple:
        if not isinstance(plain, list):
            raise DataError(f"{where}: expected a list, not {short_repr(plain)}")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(from_plain(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(plain))
        if len(arguments) != len(plain):
            raise DataError(f"{where}: expected {len(arguments)} values, not {len(plain)}")
        return tuple(from_plain(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(arguments, plain, strict=True)))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(plain, dict):
            raise DataError(f"{where}: expected an object, not {short_repr(plain)}")
        return {key: from_plain(arguments[1], v, f"{where}.{key}") for key, v in plain.items()}
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError:
            raise DataError(f"{where}: {short_repr(plain)} exceeds the range of a float") from None
    if kind is type(None):
        kind = types.NoneType
    if not isinstance(plain, kind) or (isinstance(plain, bool) and kind is not bool):
        raise DataError(f"{where}: {short_repr(plain)} is not of type {getattr(kind, '__name__', kind)}")
    if isinstance(plain, int) and abs(plain) >= 1 << 63:
        raise DataError(f"{where}: {short_repr(plain)} exceeds the range of int64")
    return plain


def _one_of(kinds: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None and types.NoneType in kinds:
        return None
    if isinstance(plain, dict) and "is" in plain:
        for kind in kinds:
            if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind.__name__ == plain["is"]:
                return _instance(kind, plain, where)
    for kind in kinds:
        try:
            return from_plain(kind, plain, where)
        except DataError:
            continue
    raise DataError(f"{where}: {short_repr(plain)} is of none of the accepted types")


def _instance(kind: type[T], plain: Any, where: str) -> T:
    if not isinstance(plain, dict):
        raise DataError(f"{where or kind.__name__}: expected an object, not {short_repr(plain)}")
    if plain.get("is", kind.__name__) != kind.__name__:
        raise DataError(f"{where or kind.__name__}: {short_repr(plain['is'])} in place of {kind.__name__}")
    fields: dict[str, dataclasses.Field[Any]] = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(plain) - set(fields) - {"is"})
    if unknown:
        raise DataError(
            f"{where or kind.__name__}: unknown key {short_repr(unknown[0])}",
            "The file was written by another version of Snellen, or by hand.",
        )
    annotations = hints(kind)  # type: ignore[arg-type]
    values = {
        name: from_plain(annotations[name], value, f"{where}.{name}".lstrip("."))
        for name, value in plain.items()
        if name != "is"
    }
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where or kind.__name__}: {error}") from error
