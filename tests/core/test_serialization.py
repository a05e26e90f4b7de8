"""Dataclasses to strict JSON and back; whatever else stands in a file is refused by its place."""

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
    share: float = 0.5
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
    share=numbers,
    flag=some.booleans(),
    count=some.integers(-(1 << 62), 1 << 62),
    parts=some.lists(inners, max_size=3).map(tuple),
    one_of=some.none() | inners | some.builds(Other),
    table=some.dictionaries(some.text(), numbers, max_size=3),
    free=some.dictionaries(some.text(), some.lists(some.booleans() | some.text()), max_size=3),
)


@given(outers)
@settings(max_examples=150, deadline=None)
def test_a_dataclass_comes_back(value: Outer) -> None:
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
@settings(max_examples=100, deadline=None)
def test_a_spec_comes_back_with_the_kind_of_its_target(spec: Spec) -> None:
    assert from_plain(Spec, json.loads(json.dumps(to_plain(spec)))) == spec


@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
        lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
        max_leaves=8,
    )
)
@settings(max_examples=300, deadline=None)
def test_anything_else_is_an_error_of_the_data(plain: Any) -> None:
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
    ("change", "says"),
    [
        ({"new": 1}, "unknown key 'new'"),
        ({"share": "0.5"}, "file.share: '0.5' is not of type float"),
        ({"share": True}, "file.share: True is not of type float"),
        ({"flag": 1}, "file.flag: 1 is not of type bool"),
        ({"count": 2.0}, "file.count: 2.0 is not of type int"),
        ({"count": False}, "file.count"),
        ({"count": 1 << 63}, "beyond what a tensor can count"),
        ({"share": 10**400}, "beyond what a number can hold"),
        ({"name": None}, "file.name: None is not of type str"),
        ({"parts": [{"kind": "c"}]}, r"file.parts\[0\].kind: 'c' is not"),
        ({"parts": [{"size": [1]}]}, r"file.parts\[0\].size"),
        ({"parts": {}}, "a list is needed"),
        ({"table": []}, "an object is needed"),
        ({"table": {"a": "b"}}, "file.table.a"),
        ({"is": "Inner"}, "found 'Inner'"),
        ({"one_of": {"is": "os", "kind": "a"}}, "fits none of the types"),
        ({"one_of": 3}, "fits none"),
    ],
)
def test_strictness_names_the_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        from_plain(Outer, {**to_plain(Outer(name="x")), **change}, "file")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(DataError, match="name"):
        from_plain(Outer, {"share": 1.0}, "file")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_what_is_not_finite_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match="no place in strict JSON"):
        to_plain(value)
    with pytest.raises(TypeError, match="not plain data"):
        to_plain(object())


def test_sets_are_written_in_one_order() -> None:
    assert to_plain(frozenset({"b", "a", "c"})) == ["a", "b", "c"]
