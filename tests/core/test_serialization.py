"""Dataclasses to strict JSON and back; anything else in a file is an error with its path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from snellen.core.errors import DataError
from snellen.core.serialization import from_plain, to_plain
from snellen.core.spec import Classes, Column, Input, Labels, Numbers, Preprocessing, Spec
from snellen.core.views import Metric


@dataclass(frozen=True, kw_only=True)
class Inner:
    kind: Literal["a", "b"] = "a"
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Other:
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    fraction: float = 0.5
    flag: bool = False
    count: int = 0
    parts: tuple[Inner, ...] = ()
    one_of: Inner | Other | None = None
    table: Mapping[str, float] = field(default_factory=dict)
    free: Mapping[str, Any] = field(default_factory=dict)


numbers = some.floats(allow_nan=False, allow_infinity=False)
inners = some.builds(
    Inner,
    kind=some.sampled_from(["a", "b"]),
    size=some.none() | some.tuples(some.integers(0, 99), some.integers(0, 99)),
)
outers = some.builds(
    Outer,
    name=some.text(),
    fraction=numbers,
    flag=some.booleans(),
    count=some.integers(-(1 << 62), 1 << 62),
    parts=some.lists(inners, max_size=3).map(tuple),
    one_of=some.none() | inners | some.builds(Other),
    table=some.dictionaries(some.text(), numbers, max_size=3),
    free=some.dictionaries(some.text(), some.lists(some.booleans() | some.text()), max_size=3),
)


@given(outers)
@settings(max_examples=150)
def test_a_dataclass_round_trips(value: Outer) -> None:
    text = json.dumps(to_plain(value), allow_nan=False)
    assert from_plain(Outer, json.loads(text)) == value


names = some.lists(some.text(), max_size=4).map(tuple)
counts = some.lists(some.integers(0, 1 << 40), max_size=4).map(tuple)
specs = some.builds(
    Spec,
    name=some.text(),
    inputs=some.dictionaries(
        some.text(),
        some.builds(
            Input,
            modality=some.sampled_from(["vector", "image"]),
            dtype=some.just("uint8"),
            shape=some.lists(some.none() | some.integers(1, 999), max_size=3).map(tuple),
            columns=some.lists(
                some.builds(Column, name=some.text(), categories=some.none() | names, fill=some.none() | numbers),
                max_size=2,
            ).map(tuple),
        ),
        max_size=2,
    ),
    target=some.none()
    | some.builds(Classes, names=names, counts=counts)
    | some.builds(Labels, names=names, counts=counts)
    | some.builds(Numbers, names=names, units=names),
    sizes=some.dictionaries(some.text(), some.integers(0, 1 << 40), max_size=3),
)


@given(specs)
@settings(max_examples=100)
def test_a_spec_round_trips_with_the_class_of_its_target(spec: Spec) -> None:
    assert from_plain(Spec, json.loads(json.dumps(to_plain(spec)))) == spec


@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
        lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
        max_leaves=8,
    )
)
@settings(max_examples=300)
def test_anything_else_is_a_data_error(plain: Any) -> None:
    for kind in (Outer, Spec, Preprocessing, Metric):
        for value in (plain, {**to_plain(Outer(name="x")), "parts": plain}, {"name": plain}, {"value": plain}):
            cause = ""
            try:
                assert isinstance(from_plain(kind, value, "file"), kind)
            except DataError as error:
                cause = error.cause
            assert "\n" not in cause
            assert len(cause) < 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new": 1}, "unknown key 'new'"),
        ({"fraction": "0.5"}, "file.fraction: '0.5' is not of type float"),
        ({"fraction": True}, "file.fraction: True is not of type float"),
        ({"flag": 1}, "file.flag: 1 is not of type bool"),
        ({"count": 2.0}, "file.count: 2.0 is not of type int"),
        ({"count": False}, "file.count"),
        ({"count": 1 << 63}, "exceeds the range of int64"),
        ({"fraction": 10**400}, "exceeds the range of a float"),
        ({"name": None}, "file.name: None is not of type str"),
        ({"parts": [{"kind": "c"}]}, r"file.parts\[0\].kind: 'c' is not"),
        ({"parts": [{"size": [1]}]}, r"file.parts\[0\].size"),
        ({"parts": {}}, "expected a list"),
        ({"table": []}, "expected an object"),
        ({"table": {"a": "b"}}, "file.table.a"),
        ({"is": "Inner"}, "'Inner' in place of"),
        ({"one_of": {"is": "os", "kind": "a"}}, "of none of the accepted types"),
        ({"one_of": 3}, "of none of the accepted types"),
    ],
)
def test_errors_name_the_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_plain(Outer, {**to_plain(Outer(name="x")), **change}, "file")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(DataError, match="name"):
        from_plain(Outer, {"fraction": 1.0}, "file")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_non_finite_numbers_are_errors(value: Any) -> None:
    with pytest.raises(ValueError, match="strict JSON has no"):
        to_plain(value)
    with pytest.raises(TypeError, match="not plain data"):
        to_plain(object())


def test_sets_are_written_in_sorted_order() -> None:
    assert to_plain(frozenset({"b", "a", "c"})) == ["a", "b", "c"]
