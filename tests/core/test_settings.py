"""Settings: limits that hold, words of the command line, names that are near, where a value came from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from snellen.core.errors import UsageError
from snellen.core.settings import Limit, Suggestion, flat, make, own, resolve, settings, values


@settings
class Inner:
    lr: Annotated[float, Limit(above=0, most=10)] | None = 0.1
    """The rate."""
    rule: Literal["sgd", "adam"] = "sgd"
    """The rule of each
    update."""


@settings
class Outer:
    hidden: Annotated[tuple[int, ...], Limit(least=1)] = (20,)
    """Units."""
    share: Annotated[float, Limit(least=0, below=1)] = 0.0
    flag: bool = False
    """Whether."""
    name: str = "x"
    inner: Inner = Inner(lr=0.5)


def setting(name: str) -> Any:
    return next(s for s in flat(Outer) if s.name == name)


def test_groups_are_flat_in_the_order_of_definition_with_the_defaults_of_their_place() -> None:
    assert [(s.name, s.default, s.group) for s in flat(Outer)] == [
        ("hidden", (20,), ()),
        ("share", 0.0, ()),
        ("flag", False, ()),
        ("name", "x", ()),
        ("lr", 0.5, ("inner",)),
        ("rule", "sgd", ("inner",)),
    ]
    assert values(Outer(inner=Inner(rule="adam"))) == {
        "hidden": (20,),
        "share": 0.0,
        "flag": False,
        "name": "x",
        "lr": 0.1,
        "rule": "adam",
    }


def test_the_sentence_under_a_field_is_its_help() -> None:
    assert setting("hidden").help == "Units."
    assert setting("rule").help == "The rule of each update."
    assert setting("share").help == ""
    assert setting("share").describes == "a number at least 0 and below 1"
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
        ("share", 1),
        ("share", -0.1),
        ("share", None),
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
    ("name", "value", "becomes"),
    [
        ("lr", 1, 1.0),
        ("lr", 10, 10.0),
        ("lr", None, None),
        ("hidden", 5, (5,)),
        ("hidden", [3, 4], (3, 4)),
        ("share", 0, 0.0),
        ("rule", "adam", "adam"),
    ],
)
def test_values_take_their_type(name: str, value: Any, becomes: Any) -> None:
    made = values(make(Outer, {name: value}))[name]
    assert made == becomes
    assert type(made) is type(becomes)


@pytest.mark.parametrize(
    ("name", "text", "becomes"),
    [
        ("hidden", "3,4", (3, 4)),
        ("hidden", "7", (7,)),
        ("lr", "1e-3", 0.001),
        ("lr", "none", None),
        ("flag", "yes", True),
        ("flag", "FALSE", False),
        ("name", "none", "none"),
        ("rule", "adam", "adam"),
        ("share", "0.25", 0.25),
    ],
)
def test_words_of_the_command_line(name: str, text: str, becomes: Any) -> None:
    assert setting(name).parse(text) == becomes


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
        ("share", ""),
        ("hidden", "0"),
        ("lr", "1" * 5000),
    ],
)
def test_words_that_mean_nothing_are_refused_in_one_line(name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        setting(name).parse(text)
    assert caught.value.cause.startswith(f"--{name} cannot be ")
    assert len(caught.value.cause) < 200


@given(some.floats() | some.integers())
def test_a_limited_number_is_within_its_limits_or_refused(value: float) -> None:
    try:
        lr = make(Inner, {"lr": value}).lr
    except UsageError:
        assert not 0 < value <= 10
    else:
        assert lr is not None
        assert 0 < lr <= 10


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        make(Outer, {"hiden": 3})
    assert caught.value.cause == "Outer has no setting 'hiden'"
    assert caught.value.remedy == "Did you mean hidden?"
    with pytest.raises(UsageError, match="Did you mean sgd"):
        make(Outer, {"rule": "sdg"})


def test_what_is_typed_wins_over_what_the_data_suggests_over_the_default() -> None:
    suggested = {"lr": Suggestion(value=0.2, why="few samples"), "hidden": Suggestion(value=(9,), why="small")}
    made, sources = resolve(Outer, {"lr": 0.3}, suggested)
    assert values(made) == {"hidden": (9,), "share": 0.0, "flag": False, "name": "x", "lr": 0.3, "rule": "sgd"}
    assert sources == {
        "hidden": "small",
        "share": "default",
        "flag": "default",
        "name": "default",
        "lr": "given",
        "rule": "default",
    }


def test_what_is_suggested_beside_another_setting_holds_only_beside_it() -> None:
    suggested = {"lr": Suggestion(value=0.2, why="it has a name", when=lambda others: others.get("name") == "y")}
    assert resolve(Outer, {}, suggested)[1]["lr"] == "default"
    made, sources = resolve(Outer, {"name": "y"}, suggested)
    assert (values(made)["lr"], sources["lr"]) == (0.2, "it has a name")
    assert resolve(Outer, {"name": "y", "lr": 0.3}, suggested)[1]["lr"] == "given"


def test_settings_are_frozen_and_need_defaults() -> None:
    with pytest.raises(AttributeError):
        Outer().share = 0.5  # type: ignore[misc]
    with pytest.raises(UsageError):
        Outer(share=2.0)

    @settings
    class Bare:
        a: int

    with pytest.raises(TypeError, match="needs a default"):
        own(Bare)

    @settings
    class Strange:
        a: Any = None

    with pytest.raises(TypeError, match="cannot be of type"):
        own(Strange)
