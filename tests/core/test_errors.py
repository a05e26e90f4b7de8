"""An error is one line of cause and one of remedy, whatever the names in it hold."""

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
    nearest,
    shown,
)


def test_exit_codes_are_those_of_the_table() -> None:
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


def test_a_large_value_is_shown_short() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for value in ("x" * 10_000, list(range(10_000)), deep, {"a": {"b": "c" * 1000}}, 10**4000):
        assert len(shown(value)) < 400
        assert "\n" not in shown(value)


def test_what_was_meant_is_guessed_else_all_is_named() -> None:
    assert nearest("lenett", ["lenet", "mlp"]) == "Did you mean lenet?"
    assert nearest("zzz", ["lenet", "mlp"]) == "Known: lenet, mlp."
    assert nearest("zzz", []) == "None is known."
