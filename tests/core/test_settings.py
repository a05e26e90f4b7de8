"""Settings: limits, parsing of the command line, similar names, sources of values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from snellen.core.errors import UsageError
from snellen.core.settings import (
    EffectiveIf,
    Limit,
    Suggestion,
    check_effects,
    direct_settings,
    flatten,
    make,
    resolve,
    settings,
    values,
)


@settings
class Inner:
    lr: Annotated[float, Limit(above=0, max=10)] | None = 0.1
    """The rate."""
    rule: Literal["sgd", "adam"] = "sgd"
    """The rule of each
    update."""


@settings
class Outer:
    hidden: Annotated[tuple[int, ...], Limit(min=1)] = (20,)
    """Units."""
    fraction: Annotated[float, Limit(min=0, below=1)] = 0.0
    flag: bool = False
    """Whether."""
    name: str = "x"
    inner: Inner = Inner(lr=0.5)


def setting(name: str) -> Any:
    return next(s for s in flatten(Outer) if s.name == name)


def test_flatten_keeps_the_order_of_definition_and_the_defaults_of_groups() -> None:
    assert [(s.name, s.default, s.group) for s in flatten(Outer)] == [
        ("hidden", (20,), ()),
        ("fraction", 0.0, ()),
        ("flag", False, ()),
        ("name", "x", ()),
        ("lr", 0.5, ("inner",)),
        ("rule", "sgd", ("inner",)),
    ]
    assert values(Outer(inner=Inner(rule="adam"))) == {
        "hidden": (20,),
        "fraction": 0.0,
        "flag": False,
        "name": "x",
        "lr": 0.1,
        "rule": "adam",
    }


def test_the_docstring_of_a_field_is_its_help() -> None:
    assert setting("hidden").help == "Units."
    assert setting("rule").help == "The rule of each update."
    assert setting("fraction").help == ""
    assert setting("fraction").accepted_values == "a number at least 0 and below 1"
    assert setting("hidden").flag == "--hidden"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0),
        ("lr", 10.1),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr", "0.1"),
        ("lr", True),
        ("lr", 10**400),
        ("fraction", 1),
        ("fraction", -0.1),
        ("fraction", None),
        ("hidden", (0,)),
        ("hidden", (1.5,)),
        ("hidden", "12"),
        ("hidden", (1 << 63,)),
        ("hidden", (10**400,)),
        ("flag", 1),
        ("flag", "yes"),
        ("name", 3),
        ("rule", "rmsprop"),
        ("rule", None),
        ("rule", ["sgd"]),
    ],
)
def test_limits_and_types_are_enforced(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"--{name} cannot be"):
        make(Outer, {name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lr", 1, 1.0),
        ("lr", 10, 10.0),
        ("lr", None, None),
        ("hidden", 5, (5,)),
        ("hidden", [3, 4], (3, 4)),
        ("fraction", 0, 0.0),
        ("rule", "adam", "adam"),
    ],
)
def test_values_are_converted(name: str, value: Any, expected: Any) -> None:
    result = values(make(Outer, {name: value}))[name]
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hidden", "3,4", (3, 4)),
        ("hidden", "7", (7,)),
        ("lr", "1e-3", 0.001),
        ("lr", "none", None),
        ("flag", "yes", True),
        ("flag", "FALSE", False),
        ("name", "none", "none"),
        ("rule", "adam", "adam"),
        ("fraction", "0.25", 0.25),
    ],
)
def test_command_line_values_are_parsed(name: str, text: str, expected: Any) -> None:
    assert setting(name).parse(text) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hidden", "3;4"),
        ("hidden", "1e2"),
        ("lr", "fast"),
        ("lr", "nan"),
        ("lr", "-1"),
        ("flag", "maybe"),
        ("rule", "ADAM"),
        ("fraction", ""),
        ("hidden", "0"),
        ("lr", "1" * 5000),
    ],
)
def test_invalid_command_line_values_are_errors_of_one_line(name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        setting(name).parse(text)
    assert caught.value.cause.startswith(f"--{name} cannot be ")
    assert len(caught.value.cause) < 200


@given(some.floats() | some.integers())
def test_numbers_outside_their_limits_are_errors(value: float) -> None:
    try:
        lr = make(Inner, {"lr": value}).lr
    except UsageError:
        assert not 0 < value <= 10
    else:
        assert lr is not None
        assert 0 < lr <= 10


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        make(Outer, {"hiden": 3})
    assert caught.value.cause == "Outer has no setting 'hiden'"
    assert caught.value.remedy == "Did you mean hidden?"
    with pytest.raises(UsageError, match="Did you mean sgd"):
        make(Outer, {"rule": "sdg"})


def test_typed_values_take_precedence_over_suggested_ones_and_defaults() -> None:
    suggested = {"lr": Suggestion(value=0.2, reason="few samples"), "hidden": Suggestion(value=(9,), reason="small")}
    resolved, sources = resolve(Outer, {"lr": 0.3}, suggested)
    assert values(resolved) == {"hidden": (9,), "fraction": 0.0, "flag": False, "name": "x", "lr": 0.3, "rule": "sgd"}
    assert sources == {
        "hidden": "small",
        "fraction": "default",
        "flag": "default",
        "name": "default",
        "lr": "given",
        "rule": "default",
    }


def test_a_suggestion_with_a_condition_applies_only_under_it() -> None:
    suggested = {
        "lr": Suggestion(value=0.2, reason="it has a name", condition=lambda others: others.get("name") == "y")
    }
    assert resolve(Outer, {}, suggested)[1]["lr"] == "default"
    resolved, sources = resolve(Outer, {"name": "y"}, suggested)
    assert (values(resolved)["lr"], sources["lr"]) == (0.2, "it has a name")
    assert resolve(Outer, {"name": "y", "lr": 0.3}, suggested)[1]["lr"] == "given"


def test_settings_are_frozen_and_need_defaults() -> None:
    with pytest.raises(AttributeError):
        Outer().fraction = 0.5  # type: ignore[misc]
    with pytest.raises(UsageError):
        Outer(fraction=2.0)

    @settings
    class Bare:
        a: int

    with pytest.raises(TypeError, match="needs a default"):
        direct_settings(Bare)

    @settings
    class Unsupported:
        a: Any = None

    with pytest.raises(TypeError, match="cannot be of type"):
        direct_settings(Unsupported)


@settings
class Gated:
    """Settings of which one has an effect only with another."""

    gate: bool = True
    kernel: Literal["rbf", "linear"] = "rbf"
    strength: Annotated[float, Limit(min=0), EffectiveIf("gate", (True,))] = 1.0
    gamma: Annotated[float | None, EffectiveIf("kernel", ("rbf",))] = None


def test_a_typed_setting_without_effect_is_an_error() -> None:
    check_effects(make(Gated, {"strength": 2.0, "gamma": 3.0}), {"strength": 2.0, "gamma": 3.0})
    check_effects(make(Gated, {"gate": False}), {"gate": False})  # its default was not typed
    for typed, cause, remedy in (
        ({"gate": False, "strength": 2.0}, "--strength has no effect with --no-gate", "give --gate"),
        ({"kernel": "linear", "gamma": 1.0}, "--gamma has no effect with --kernel linear", "give --kernel rbf"),
    ):
        with pytest.raises(UsageError, match=cause) as error:
            check_effects(make(Gated, typed), typed)
        assert remedy in error.value.remedy


def test_every_condition_names_a_setting_of_its_class() -> None:
    from snellen.tasks import LEARNERS

    for learners in LEARNERS.values():
        for learner in learners.values():
            known = {one.name: one for one in flatten(learner.settings, help=False)}
            for one in known.values():
                if one.effective_if is not None:
                    other = known[one.effective_if.name]
                    assert all(other.check(value) == value for value in one.effective_if.values)
