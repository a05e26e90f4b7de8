"""Errors: one line of cause and one of remedy, for any names in them."""

from __future__ import annotations

import pytest

from snellen.core.errors import (
    DataError,
    Diverged,
    EnvironmentProblem,
    Mismatch,
    SnellenError,
    Stopped,
    UsageError,
    short_repr,
    suggest_name,
)


def test_exit_codes() -> None:
    codes = {UsageError: 2, DataError: 3, EnvironmentProblem: 4, Diverged: 5, Mismatch: 5}
    assert {kind: kind("x").exit_code for kind in codes} == codes
    assert [Stopped("x", signal=number).exit_code for number in (2, 15)] == [130, 143]
    assert all(issubclass(kind, SnellenError) for kind in codes)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "caf\udce9", "\x00", "\u202eexe"])
def test_names_from_files_are_escaped(name: str) -> None:
    error = DataError(f"{name} is wrong", f"Look at {name}")
    assert len(error.cause.splitlines()) == 1
    assert error.cause.isprintable()
    error.cause.encode()
    assert "Größe 5 µm: 日本" in str(DataError("Größe 5 µm: 日本"))


def test_short_repr_abbreviates_large_values() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for value in ("x" * 10_000, list(range(10_000)), deep, {"a": {"b": "c" * 1000}}, 10**4000):
        assert len(short_repr(value)) < 400
        assert "\n" not in short_repr(value)


def test_suggest_name_gives_similar_names_or_all() -> None:
    assert suggest_name("lenett", ["lenet", "mlp"]) == "Did you mean lenet?"
    assert suggest_name("zzz", ["lenet", "mlp"]) == "Known: lenet, mlp."
    assert suggest_name("zzz", []) == "None is known."
    assert suggest_name("nope", ["sine", "moons"]) == "Known: sine, moons."


def test_suggest_name_omits_names_less_similar_than_the_nearest() -> None:
    assert suggest_name("image_size", ["batch_size", "min_size", "max_size"]) == "Did you mean max_size?"
    assert suggest_name("softmx", ["softmax", "softmix", "sofa"]) == "Did you mean softmix or softmax?"


def test_a_short_repr_is_short_for_nested_values() -> None:
    nested: object = "x" * 99
    for _ in range(6):
        nested = {f"{k}" * 40: nested for k in range(9)}
    text = short_repr(nested)
    assert len(text) == 300
    assert text.endswith("…")
    assert short_repr([1, "a"]) == "[1, 'a']"
